"""What the values of pixels mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.inputs.tiff_files import UnfitImageError

Pixels = NDArray[np.uint8] | NDArray[np.float32]
LITTLE = 0.05  # of the range of 16-bit values or floats, below which a picture is nearly one grey


class PixelValues:
    """Checks what was read of an image, and brings its values to 8 bits, or to floats in 0…1.

    8-bit values are kept, 16-bit values are divided by 65,535, and floats must lie in 0…1 already; with `value_range`
    all are scaled from that range, and what lies outside becomes its ends.

    Args:
        value_range: lowest and highest value that mean something.

    Raises:
        ValueError: no range.
    """

    def __init__(self, value_range: Sequence[float] | None = None) -> None:
        if value_range is not None:
            ends = [float(value) for value in value_range]
            if len(ends) != 2 or not (np.isfinite(ends).all() and ends[0] < ends[1]):
                raise ValueError(f"value_range must be a lowest and a higher highest value, got {list(value_range)}")
            self.low, self.high = ends
        self.value_range = None if value_range is None else (self.low, self.high)

    def __call__(self, values: NDArray[Any], channels: int) -> Pixels:
        """[height, width, channels] uint8, or float32 in 0…1.

        Args:
            values: what `read_image` returned.
            channels: how many the backbone takes.

        Raises:
            UnfitImageError: another shape or kind of numbers, or values that could mean anything.
        """
        array = np.asarray(values)
        _check_shape(array, channels)
        if array.dtype == np.uint8 and self.value_range is None:
            return array
        if array.dtype.kind not in "uif":
            raise UnfitImageError(f"read_image gave {array.dtype}, and must give numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise UnfitImageError(
                f"read_image gave {count:,} values that are missing (NaN values or infinite), as where there is "
                "no data: fill them, for "
                "example with 0, in read_image of a data module of your own, or leave such images out with "
                "on_bad_image: skip"
            )
        if self.value_range is not None:
            scaled = (array.astype(np.float64) - self.low) / (self.high - self.low)
            return scaled.clip(0, 1).astype(np.float32)
        if array.dtype == np.uint16:
            return (array.astype(np.float64) / 65535).astype(np.float32)
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        if array.dtype.kind == "f" and low >= 0 and high <= 1:
            return array.astype(np.float32)
        kind = "floats" if array.dtype.kind == "f" else f"{array.dtype} values"
        raise UnfitImageError(
            f"read_image gave {kind} from {low:g} to {high:g}, and may give uint8, uint16, or floats in 0…1; for "
            f"others say what they range from with value_range (--data.value_range=[{low:g},{high:g}])"
        )


def _check_shape(array: NDArray[Any], channels: int) -> None:
    if array.ndim == 3 and array.shape[2] == channels and 0 not in array.shape:
        return
    first = array.ndim == 3 and array.shape[0] == channels
    remedy = "; channels come last: transpose it with (1, 2, 0)" if first else ""
    raise UnfitImageError(
        f"read_image gave {list(array.shape)}, and must give [height, width, {channels}], as the backbone takes "
        f"{channels} channels{remedy}"
    )


def eight_bits(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels as a screen shows them."""
    return np.round(pixels * 255).astype(np.uint8) if pixels.dtype.kind == "f" else pixels  # type: ignore[return-value]


def little_range(kind: str, low: float, high: float, value_range: tuple[float, float] | None) -> str | None:
    """What to tell of images of more than 8 bits that use little of their range; None where they use enough.

    Args:
        kind: of their numbers: "i" for integers, "f" for floats.
        low: lowest value of all images.
        high: highest.
        value_range: as given for `PixelValues`; with one, nothing is told.
    """
    top, name = (1, "float") if kind == "f" else (65535, "16-bit")
    if value_range is not None or high - low >= LITTLE * top:
        return None
    if low == high:
        return f"all values of the {name} images are {low:g}: they show nothing"
    return (
        f"{name} images use values from {low:g} to {high:g} only, {(high - low) / top:.2%} of 0…{top}, and are "
        f"nearly one grey; --data.value_range=[{low:g},{high:g}] makes them range from black to white"
    )
