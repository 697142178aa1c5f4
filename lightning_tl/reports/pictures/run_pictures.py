"""`draw_in_run`: a picture of a run, which may fail without losing the run, and which nobody has to want."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lightning_tl.reports.attempt import attempt

PICTURES = "LIGHTNING_TL_PICTURES"


def draw_in_run(path: Path, draw: Callable[[Path], object]) -> None:
    """Draw a picture, unless the environment variable `LIGHTNING_TL_PICTURES` is 0: of a thousand short runs.

    Args:
        path: of the PNG file; one from before is removed where nothing is drawn.
        draw: writes the file.
    """
    wanted = os.environ.get(PICTURES) != "0"
    attempt(path.name, lambda: draw(path) if wanted else path.unlink(missing_ok=True))
