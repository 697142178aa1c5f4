"""What raster files look like from outside, so that a job that goes on sees which of them changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lightning_tl.earth.layers import opened


def looks_of(files: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Size and time of change in nanoseconds by path, of files and of those that they consist of.

    Those are masks and metadata beside a file, and the files of which a virtual raster is made, whose own file does not
    change with them.

    Args:
        files: rasters that GDAL opens.

    Raises:
        OSError: one cannot be opened.
    """
    found: dict[str, tuple[int, int]] = {}
    left = [path.resolve() for path in files]
    while left:
        path = left.pop()
        if str(path) in found or not path.is_file():
            continue
        state = path.stat()
        found[str(path)] = state.st_size, state.st_mtime_ns
        if path.suffix.lower() in (".xml", ".msk", ".ovr"):
            continue
        with opened(path) as file:
            left += [Path(part).resolve() for part in file.files]
    return dict(sorted(found.items()))
