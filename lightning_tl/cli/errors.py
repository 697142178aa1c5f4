"""What a user's mistake looks like: one line, and exit code 2."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

SHOW_TRACEBACK = "LIGHTNING_TL_TRACEBACK"
"""Environment variable; with the value 1 every error comes with its traceback."""

_ROOT = Path(__file__).resolve().parents[2]
_OWN = tuple(f"{_ROOT / package}{os.sep}" for package in ("lightning_tl", "datamodules"))


class UserError(ValueError):
    """A mistake in what was asked for; its text is all that the user sees."""


def nearest(name: str, names: Iterable[str]) -> str:
    """` (nearest: …)` with up to three names that look like `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f" (nearest: {', '.join(close)})" if close else ""


def fail(message: str) -> NoReturn:
    """Print one message and leave with exit code 2."""
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    sys.stdout.flush()
    print(f"error{'' if rank == '0' else f' on rank {rank}'}: {message}", file=sys.stderr)
    raise SystemExit(2)


def own_cause(error: Exception) -> Exception:
    """What went wrong: the parser wraps an error in a class that it builds into a report about types."""
    while isinstance(error.__cause__, Exception) and error.__traceback__ is not None:
        module = traceback.extract_tb(error.__traceback__)[-1].filename
        if f"{os.sep}jsonargparse{os.sep}" not in module:
            break
        error = error.__cause__
    return error


def message_of(error: Exception) -> str:
    """The text of an error, without the number that the operating system gives it, or a data worker's traceback."""
    if told := _unfit_weights(error):
        return told
    if "in DataLoader worker process" in str(error).partition("\n")[0]:
        return str(error).rpartition(f"\n{type(error).__name__}: ")[2].strip()
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) and error.strerror == os.strerror(error.errno)
        return f"{error.strerror}{'; free some space, or write to another disk' if full else ''}"
    return str(error) or type(error).__name__


def is_users_mistake(error: Exception) -> bool:
    """Whether the error's own text is enough for the user, so that a traceback would only hide it.

    What our own code raises on purpose counts, and missing files or full disks, diverged training, and what Lightning
    calls a misconfiguration. Everything else, a `ValueError` from inside a library too, may be a defect of ours.
    """
    if isinstance(error, (UserError, FloatingPointError, OSError)):
        return True
    if type(error).__name__ == "MisconfigurationException" or _unfit_weights(error) is not None:
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not isinstance(error, (ValueError, TypeError, ImportError)):
        return False
    source = frames[-1]
    return os.path.abspath(source.filename).startswith(_OWN) and (source.line or "").startswith("raise ")


def _unfit_weights(error: Exception) -> str | None:
    """What to tell where a checkpoint's weights are those of another model; None for other errors."""
    lines = str(error).splitlines()
    if not isinstance(error, RuntimeError) or not lines or not lines[0].startswith("Error(s) in loading state_dict"):
        return None
    first = next((line.strip() for line in lines[1:] if "size mismatch" in line), lines[-1].strip())
    return (
        f"the checkpoint is of another model than the one that is built ({_shortened(first)}): give the checkpoint of "
        "the run itself, and model options and classes as they were in training"
    )


def _shortened(text: str, most: int = 160) -> str:
    """A text with its middle left out where it is long."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"
