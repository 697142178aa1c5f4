"""Reading and writing checkpoint files safely."""

from __future__ import annotations

import difflib
import errno
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from lightning_tl.compat.for_torch import leaves
from lightning_tl.storage.partial_file import fresh_file

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _tensor_bytes(checkpoint: dict[str, Any]) -> int:
    """Bytes of all tensors, shared storages counted once."""
    storages = [leaf.untyped_storage() for leaf in leaves(checkpoint) if isinstance(leaf, Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _forbidden_object(error: pickle.UnpicklingError) -> str:
    text = str(error)
    found = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"nsupported (?:class|operand) `?([\w.]+)", text)
    return found.group(1) if found else "an object"


class _RememberingFile:
    """A file that keeps the error of a failed write: torch's writer reports only that there was one."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return int(self.raw.write(data))
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        if self.error is None:
            self.raw.flush()


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoint files that are whole or not there, and that cannot run code.

    A checkpoint is written beside its place, flushed to the disk and moved there in one step, so that the one before
    survives a full disk, a crash and a power cut. Files are read with `weights_only=True` always, after their
    checksums were compared. Use it as `Trainer(plugins=[SafeCheckpointIO()])`. Paths that are not local (`s3://…`)
    are written as Lightning does.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            OSError: when there is not enough space.
            ValueError: when the checkpoint holds objects that `weights_only=True` would refuse to read.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        needed = _tensor_bytes(checkpoint)
        if needed > shutil.disk_usage(target.parent).free:
            raise self._no_space(target, needed, errno.ENOSPC)
        temporary = target.with_name(f".{target.name}.partial")
        try:
            self._write(checkpoint, temporary)
            self._check_readable(temporary)
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)  # before the free space is told
            if error.errno in _FULL:
                raise self._no_space(target, needed, error.errno or errno.ENOSPC) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @staticmethod
    def _write(checkpoint: dict[str, Any], path: Path) -> None:
        with fresh_file(path) as raw:
            file = _RememberingFile(raw)
            try:
                torch.save(checkpoint, file)  # type: ignore[arg-type]
            except Exception as error:
                if file.error is not None:
                    raise file.error from error
                raise
            raw.flush()
            os.fsync(raw.fileno())

    @staticmethod
    def _check_readable(path: Path) -> None:
        try:
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"the checkpoint would hold a Python object ({_forbidden_object(error)}), which no safe reader loads; "
                "keep only numbers, strings, lists, dicts and tensors in state_dict() and save_hyperparameters()"
            ) from error

    @staticmethod
    def _no_space(target: Path, needed: int, code: int) -> OSError:
        free = shutil.disk_usage(target.parent).free
        kept = f"the previous {target.name} is untouched" if target.exists() else "no file was changed"
        others = "" if target.exists() else _others(target)
        return OSError(
            code,
            f"no space left for the checkpoint {target}: it needs about {needed / 2**20:.4g} MiB, "
            f"{free / 2**20:.4g} MiB are free; {kept}{others}. Free some space, or choose a folder on another disk, "
            "and resume",
        )

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read the checkpoint at `path`; `weights_only` is True whatever is asked for.

        Raises:
            FileNotFoundError: with the nearest name in the folder.
            ValueError: when the file is empty, half written, damaged, no checkpoint, or holds objects.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(_missing(file))
        _check_whole(file)
        try:
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"the checkpoint {file} holds a Python object ({_forbidden_object(error)}), which could run code when "
                f"it is loaded; only numbers, strings and tensors are{_others(file)}"
            ) from error
        except Exception as error:
            what = str(error).splitlines()[0]
            raise ValueError(f"the checkpoint {file} cannot be read: {what}{_others(file)}") from error
        if not isinstance(checkpoint, dict) or not {"state_dict", "pytorch-lightning_version"} <= checkpoint.keys():
            raise ValueError(f"{file} is no checkpoint of a training run (no 'state_dict' in it){_others(file)}")
        return checkpoint


def _check_whole(file: Path) -> None:
    size = file.stat().st_size
    if size == 0:
        raise ValueError(f"the checkpoint {file} is empty{_others(file)}")
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # torch itself compares no checksums
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(
            f"{file} ({size} bytes) is half written, damaged or no checkpoint at all{_others(file)}"
        ) from error
    if damaged is not None:
        raise ValueError(f"the checkpoint {file} is damaged: the checksum of {damaged} is wrong{_others(file)}")


def _others(file: Path) -> str:
    """The other checkpoints beside `file`, newest first, as the end of a message."""
    others = [p for p in file.parent.glob("*.ckpt") if p != file and p.is_file() and p.stat().st_size > 0]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    if not others:
        return ""
    return "; other checkpoints beside it, newest first: " + ", ".join(str(p) for p in others[:5])


def _missing(file: Path) -> str:
    if file.is_dir():
        return f"{file} is a folder; name a checkpoint file{_others(file / 'x.ckpt')}"
    if not file.parent.is_dir():
        return f"no checkpoint {file}: there is no folder {file.parent}"
    names = [p.name for p in file.parent.glob("*.ckpt")]
    nearest = difflib.get_close_matches(file.name, names, n=1, cutoff=0.3)
    hint = f"; did you mean {file.parent / nearest[0]}?" if nearest else f"; {file.parent} holds no .ckpt file"
    return f"no checkpoint {file}{hint if nearest or not names else _others(file)}"
