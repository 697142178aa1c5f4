"""`ChipGrid`: where in a scene chips are cut."""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.earth.cutting.scene import Window


@dataclass(frozen=True)
class ChipGrid:
    """Squares of `size` pixels, one each `stride` pixels, all inside the scene.

    Args:
        height: rows of the scene.
        width: its columns.
        size: side of a chip in pixels.
        stride: pixels from one chip to the next; below `size` they overlap.

    Raises:
        ValueError: a size or stride that is none, or a scene smaller than a chip.
    """

    height: int
    width: int
    size: int
    stride: int

    def __post_init__(self) -> None:
        if self.size < 1 or self.stride < 1:
            raise ValueError(f"size and stride must be at least 1 pixel, got {self.size} and {self.stride}")
        if self.height < self.size or self.width < self.size:
            raise ValueError(
                f"the scene has {self.height} × {self.width} pixels, and a chip {self.size} × {self.size}: choose "
                f"--size {min(self.height, self.width)} or less"
            )

    def windows(self) -> list[Window]:
        """Row by row."""
        return [
            (row, column, self.size, self.size)
            for row in range(0, self.height - self.size + 1, self.stride)
            for column in range(0, self.width - self.size + 1, self.stride)
        ]

    @property
    def rest(self) -> tuple[int, int]:
        """Rows and columns at the lower and right edge that are in no chip."""
        return (self.height - self.size) % self.stride, (self.width - self.size) % self.stride
