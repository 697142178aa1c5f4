"""What a look at all rasters of a data set found, and what to tell of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.labelled.records import listed
from lightning_tl.earth.needed_libraries import rasterio_module

Box = tuple[float, float, float, float]  # lowest x and y, highest x and y


@dataclass(frozen=True)
class SeenRaster:
    """One raster.

    Args:
        size: height and width in pixels.
        missing: how many of its pixels have no data in some band.
        pixel: side of a pixel, in units of its coordinates.
        crs: coordinate reference system; None where it has no georeference.
        box: where it lies in it.
        left_out: how many bands it has that are not read.
        notes: of how its values are understood.
    """

    size: tuple[int, int]
    missing: int
    pixel: float
    crs: str | None
    box: Box | None
    left_out: int
    notes: tuple[str, ...] = ()


def usual_size(seen: Sequence[SeenRaster]) -> dict[str, float]:
    """The median shorter side of rasters, `tile_size` in pixels, and where all have one in metres their `pixel_m`.

    So that whoever reads windows of a whole scene for the same model takes as much ground as it was trained on.
    """
    if not seen:
        return {}
    sides = sorted(min(each.size) for each in seen)
    units = {crs: _metres(crs) for crs in {each.crs for each in seen}}
    pixels = sorted(each.pixel * (units[each.crs] or 0.0) for each in seen)
    known = {"pixel_m": pixels[len(pixels) // 2]} if all(units.values()) else {}
    return {"tile_size": sides[len(sides) // 2], **known}


def _metres(crs: str | None) -> float | None:
    """Metres in a unit of a projection's coordinates; None for degrees and where nothing is known."""
    if crs is None:
        return None
    found = rasterio_module().crs.CRS.from_user_input(crs)
    return float(found.linear_units_factor[1]) if found.is_projected else None


def told_of(seen: Sequence[SeenRaster], every_band: bool, middle: bool = True) -> list[str]:
    """What the user should know of a set of rasters.

    Args:
        seen: all of them.
        every_band: whether all bands were asked for, those of the first raster.
        middle: whether the middle is kept of one that is no square.
    """
    notes = list(dict.fromkeys(note for each in seen for note in each.notes))
    sizes = Counter(each.size for each in seen)
    if len(sizes) > 1:
        told = [f"{height} × {width} ({count:,})" for (height, width), count in sizes.most_common()]
        notes.append(
            f"images have {len(sizes)} sizes in pixels, {listed(told)}: each is brought to the model's size"
            + (" by its shorter side, and its middle is kept" if middle else "")
        )
    samples = Counter(round(each.pixel, 6) for each in seen if each.crs is not None)
    if len(samples) > 1:
        told = [f"{pixel:g} ({count:,})" for pixel, count in samples.most_common()]
        notes.append(
            f"pixels have {len(samples)} sizes on the ground, {listed(told)}: the same thing shows at several scales"
        )
    zones = Counter(each.crs for each in seen)
    if len(zones) > 1:
        told = [f"{'none' if crs is None else _short(crs)} ({count:,})" for crs, count in zones.most_common()]
        notes.append(f"images are in {len(zones)} coordinate systems, as those of several zones are: {listed(told)}")
    if every_band and len({each.left_out for each in seen}) > 1:
        more = sum(each.left_out > 0 for each in seen)
        notes.append(f"{more:,} images have bands that the first one lacks; they are left out")
    if gaps := [each for each in seen if each.missing]:
        pixels = sum(each.size[0] * each.size[1] for each in seen)
        share = sum(each.missing for each in gaps) / pixels
        notes.append(
            f"{len(gaps):,} of {len(seen):,} images have pixels without data, {share:.2%} of all pixels: they are "
            "filled with the channel's mean in training"
        )
    return notes


def _short(crs: str) -> str:
    return crs if len(crs) <= 40 else f"{crs[:39]}…"
