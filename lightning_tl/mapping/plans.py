"""Where windows lie in a scene, and which of them make which block of the map: the same for any number of processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Window = tuple[int, int, int, int]  # first row, first column, height, width


class MapPlan(Protocol):
    """What a map is made of."""

    @property
    def height(self) -> int:
        """Rows of the scene."""
        ...

    @property
    def width(self) -> int:
        """Its columns."""
        ...

    @property
    def window(self) -> int:
        """Side of the square that the model sees, in pixels of the scene."""
        ...

    @property
    def side(self) -> int:
        """Of a block of the map, in pixels."""
        ...

    def windows(self, block: Window) -> list[Window]:
        """The windows that say something of a block, row by row, all inside the scene."""
        ...

    def told(self, pixel_m: float | None) -> str:
        """How fine the map is, for people.

        Args:
            pixel_m: side of a pixel in metres; None where it is not known.
        """
        ...


def blocks(plan: MapPlan) -> list[Window]:
    """The parts of a map, row by row; together they are the scene, and none overlap."""
    return [
        (row, column, min(plan.side, plan.height - row), min(plan.side, plan.width - column))
        for row in range(0, plan.height, plan.side)
        for column in range(0, plan.width, plan.side)
    ]


def region(windows: list[Window]) -> Window:
    """The smallest rectangle that holds some windows."""
    top, left = min(each[0] for each in windows), min(each[1] for each in windows)
    bottom, right = max(each[0] + each[2] for each in windows), max(each[1] + each[3] for each in windows)
    return top, left, bottom - top, right - left


def check_window(height: int, width: int, window: int) -> None:
    """A window must lie inside the scene.

    Raises:
        ValueError: it is larger, or none.
    """
    if window < 1:
        raise ValueError(f"the window must be at least 1 pixel, got {window}")
    if height < window or width < window:
        raise ValueError(
            f"the scene has {height} × {width} pixels, and the model reads windows of {window} × {window}: it is too "
            "small for a map"
        )


@dataclass(frozen=True)
class TilePlan:
    """For a classifier of tiles: the class of a window is painted in its middle, on a cell of `stride` pixels.

    At the border windows are moved into the scene, so that the cell of one lies nearer to its edge.

    Args:
        height: rows of the scene.
        width: its columns.
        window: side of a window in pixels.
        stride: side of a cell: the resolution of the map.
        most: of a block's side; it is a multiple of the stride.

    Raises:
        ValueError: cells larger than windows, or a scene smaller than a window.
    """

    height: int
    width: int
    window: int
    stride: int
    most: int = 1024

    def __post_init__(self) -> None:
        check_window(self.height, self.width, self.window)
        if not 1 <= self.stride <= self.window:
            raise ValueError(
                f"stride must be from 1 to the window of {self.window} pixels, got {self.stride}: with larger steps "
                "parts of the scene would not be looked at"
            )

    @property
    def side(self) -> int:
        """See `MapPlan`."""
        return max(1, self.most // self.stride) * self.stride

    def windows(self, block: Window) -> list[Window]:
        """One for each cell of the block."""
        rows = self._starts(block[0], block[2], self.height)
        columns = self._starts(block[1], block[3], self.width)
        return [(row, column, self.window, self.window) for row in rows for column in columns]

    def cells(self, block: Window) -> tuple[int, int]:
        """Rows and columns of cells in a block."""
        return -(-block[2] // self.stride), -(-block[3] // self.stride)

    def told(self, pixel_m: float | None) -> str:
        """See `MapPlan`."""
        metres = "" if pixel_m is None else f" ({self.stride * pixel_m:g} m)"
        return (
            f"the map is as fine as its cells of {self.stride} × {self.stride} pixels{metres}, though its file has the "
            f"scene's pixels: each cell has the class of the window of {self.window} × {self.window} pixels around it"
        )

    def _starts(self, first: int, length: int, whole: int) -> list[int]:
        middles = range(first + self.stride // 2, first + -(-length // self.stride) * self.stride, self.stride)
        return [max(0, min(middle - self.window // 2, whole - self.window)) for middle in middles]


@dataclass(frozen=True)
class DensePlan:
    """For a model that gives every pixel a class: windows overlap, and where they do their answers are blended.

    Args:
        height: rows of the scene.
        width: its columns.
        window: side of a window in pixels.
        overlap: pixels that neighbours share.
        most: of a block's side; it is a multiple of the step from one window to the next.

    Raises:
        ValueError: an overlap as large as a window, or a scene smaller than one.
    """

    height: int
    width: int
    window: int
    overlap: int
    most: int = 1024

    def __post_init__(self) -> None:
        check_window(self.height, self.width, self.window)
        if not 0 <= self.overlap < self.window:
            raise ValueError(f"overlap must be from 0 to below the window of {self.window} pixels, got {self.overlap}")

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        return self.window - self.overlap

    @property
    def side(self) -> int:
        """See `MapPlan`."""
        return max(1, self.most // self.step) * self.step

    def windows(self, block: Window) -> list[Window]:
        """Those that overlap the block."""
        rows = self._starts(block[0], block[2], self.height)
        columns = self._starts(block[1], block[3], self.width)
        return [(row, column, self.window, self.window) for row in rows for column in columns]

    def told(self, pixel_m: float | None) -> str:
        """See `MapPlan`."""
        return (
            f"every pixel has a class of its own; windows of {self.window} × {self.window} pixels overlap by "
            f"{self.overlap}, and their answers are blended"
        )

    def _starts(self, first: int, length: int, whole: int) -> list[int]:
        last = whole - self.window
        starts = [*range(0, last, self.step), last]
        return [start for start in starts if start < first + length and start + self.window > first]

    def weights(self) -> NDArray[np.float32]:
        """What each pixel of a window counts in the blend: [window, window], 1 inside and less towards its edges."""
        away = np.minimum(np.arange(1, self.window + 1), np.arange(self.window, 0, -1))
        ramp = np.minimum(1.0, away / (self.overlap + 1))
        return np.outer(ramp, ramp).astype(np.float32)
