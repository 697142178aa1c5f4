"""`attempt`: what may fail without losing a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

from lightning_tl.contracts.notice import Notice

T = TypeVar("T")


def attempt(what: str, make: Callable[[], T]) -> T | None:
    """Make it, or warn and return None: a run of hours must not be lost to a picture.

    Args:
        what: it is, for the warning.
        make: does it.
    """
    try:
        return make()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"{what} could not be made ({reason}); the rest of the run is complete", stacklevel=2, category=Notice
        )
        return None
