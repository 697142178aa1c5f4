"""What stored values mean: from the user, the file's tags, the product's metadata or the sensor's table, in this order.

Products of Sentinel-2 carry an offset of 1,000 since processing baseline 04.00 (2022-01-25), which a value alone does
not show. It is read where it is written, and asked for where only the date tells of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_tl.earth.bands import Band
from lightning_tl.earth.sensors import Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError

_OFFSET_SINCE = 20220125
_HIGHEST_REFLECTANCE = 20.0  # above it a float is no reflectance, clouds and fires included


@dataclass(frozen=True)
class Scaling:
    """From stored to physical values: `stored * scale + offset`.

    Args:
        scale: factor.
        offset: added after it.
        known: whether somebody said so; else stored values are taken as they are, whatever they mean.
        assumed: floats, taken for physical values as they are.
        told: what the user should know.
    """

    scale: float = 1.0
    offset: float = 0.0
    known: bool = False
    assumed: bool = False
    told: str = ""


@dataclass(frozen=True)
class ScalingOptions:
    """What the user says of stored values.

    Args:
        scale: physical value of a stored 1, such as 0.0001; default what file, product or sensor say.
        add_offset: added to stored values before that, such as -1000 for Sentinel-2 since 2022; 0 where it has been
            taken off already.
    """

    scale: float | None = None
    add_offset: float | None = None


def scaling_of(
    band: Band,
    sensor: Sensor | None,
    options: ScalingOptions,
    tags: tuple[float, float],
    dtype: str,
    file_name: str,
    product: Mapping[str, tuple[float, float]] | None = None,
) -> Scaling:
    """How one band of a file is to be understood.

    Args:
        band: which one.
        sensor: whose; None where nobody says.
        options: what the user says, which goes first.
        tags: scale and offset of the file's tags, 1 and 0 where it has none.
        dtype: of stored values.
        file_name: or the product's, whose date may tell of an offset.
        product: scale and offset by name of band, from a product's metadata.

    Raises:
        UnfitImageError: the sensor's table does not fit these values, or nobody says whether there is an offset.
    """
    if options.scale is not None:
        return Scaling(options.scale, (options.add_offset or 0.0) * options.scale, True)
    if tags != (1.0, 0.0):
        scale, offset = tags
        if options.add_offset is not None:
            offset = options.add_offset * scale
        return Scaling(scale, offset, True)
    if product and band.name in product:
        scale, offset = product[band.name]
        return Scaling(scale, offset if options.add_offset is None else options.add_offset * scale, True)
    if sensor is None:
        return Scaling(1.0, options.add_offset or 0.0)
    if dtype.startswith("float"):
        if options.add_offset:
            raise UnfitImageError(
                f"{file_name} holds floats, which are taken for reflectance as they are: give scale beside add_offset"
            )
        return Scaling(1.0, 0.0, known=True, assumed=True)
    if sensor.bits == 8 and dtype != "uint8":
        raise UnfitImageError(
            f"{file_name} holds {dtype}, and {sensor.name} stores 8 bits: give scale, or another sensor"
        )
    if dtype in ("uint8", "int8") and sensor.bits > 8:
        raise UnfitImageError(
            f"{file_name} holds {dtype}, and {sensor.name} stores {sensor.bits} bits: it is a picture made of a "
            "product, not its values. Give scale (for 8 bits that mean 0…1: 0.00392157), or leave the sensor out and "
            "name the bands with band_names"
        )
    scale = sensor.scale if band.scale is None else band.scale
    if options.add_offset is not None:
        return Scaling(scale, options.add_offset * scale, True, told=_too_early(file_name, options.add_offset))
    if sensor.name == "landsat8" and re.search(r"L[COT]0[89]_L1", file_name):
        raise UnfitImageError(
            f"{file_name} is a product of level 1, and the table of {sensor.name} is that of level 2: give its scale "
            "and add_offset (top-of-atmosphere reflectance: scale 0.00002, add_offset -5000)"
        )
    told = _sentinel_offset(file_name) if sensor.name == "sentinel2" else ""
    return Scaling(scale, sensor.offset if band.offset is None else band.offset, True, told=told)


_BASELINE = re.compile(r"_N(\d{4})_")
_DATE = re.compile(r"(?<!\d)(20[1-3]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?:T\d{6})?(?!\d)")


def _too_early(name: str, add_offset: float) -> str:
    """What to tell of an offset for products whose date says that they have none, unless they were processed anew."""
    baseline, date = _BASELINE.search(name), _DATE.search(name)
    early = int(baseline[1]) < 400 if baseline else bool(date) and int(date[1]) < _OFFSET_SINCE  # type: ignore[index]
    if not early or add_offset == 0:
        return ""
    return (
        f"add_offset {add_offset:g} is also added to products that are older than Sentinel-2's offset (baseline 04.00, "
        "2022-01-25): right only where they were processed anew"
    )


def _sentinel_offset(name: str) -> str:
    """What to tell of the offset that no metadata name; refused where the name tells that there is one."""
    baseline, date = _BASELINE.search(name), _DATE.search(name)
    later = int(baseline[1]) >= 400 if baseline else int(date[1]) >= _OFFSET_SINCE if date else None
    if later:
        why = (
            f"processing baseline {baseline[1][:2]}.{baseline[1][2:]}"
            if baseline
            else f"date {date[1]}"
            if date
            else ""
        )
        raise UnfitImageError(
            f"{name} ({why}) may carry the offset of 1,000 that Sentinel-2 has since baseline 04.00 (2022-01-25), and "
            "neither tags nor product metadata say: set add_offset to -1000, or to 0 where it has been taken off "
            "already (harmonised collections)"
        )
    if later is None:
        return (
            "no metadata say whether Sentinel-2's offset of 1,000 (processing since 2022-01-25) is in these values: "
            "taken as not (EuroSAT, BigEarthNet, harmonised collections); else set add_offset to -1000"
        )
    return ""


def check_reflectance(highest: float, scaling: Scaling, band: Band, where: str) -> None:
    """Refuse floats that were taken for reflectance and are none.

    Raises:
        UnfitImageError: with the value, and how to give the scale.
    """
    limit = _HIGHEST_REFLECTANCE if band.value_range is None else 2 * band.value_range[1]
    if scaling.assumed and highest > limit:
        raise UnfitImageError(
            f"{where} holds floats up to {highest:g} in {band.name}, which are no reflectance: give scale (reflectance "
            "× 10,000: 0.0001)"
        )
