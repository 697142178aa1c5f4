"""What a file says of the satellite that it comes from, so that its bands are not read by another one's table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lightning_tl.earth.product_names import sensor_of_product
from lightning_tl.earth.sensors import LANDSAT_7, LANDSAT_8_9, SENTINEL_2, Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError

# Satellites of which there is no table, though their bands are called like those of others.
_OTHERS = (
    (re.compile(r"(?:^|[\W_])LM0[1-5]_", re.I), "a Landsat multispectral scanner"),
    (re.compile(r"(?:^|[\W_])HLS[._]L30(?:$|[\W_])", re.I), "HLS L30"),
)
_LANDSATS = {"4": LANDSAT_7, "5": LANDSAT_7, "7": LANDSAT_7, "8": LANDSAT_8_9, "9": LANDSAT_8_9}
_KEYS = ("satellite", "satelliteid", "satellitename", "spacecraft", "spacecraftid", "spacecraftname", "platform")
_SATELLITE = re.compile(r"(landsat|lc|lo|le|lt)[\W_]*0?(\d)(?!\d)|(sentinel[\W_]*|s)2[abcd]?(?![a-z0-9])", re.I)


def sensor_in_file(asked: Sensor | None, name: str, file: Any) -> Sensor | None:
    """The sensor that the user names, or that a file tells of by its name.

    Args:
        asked: by the user.
        name: of the file, behind the names of folders that may be a product's.
        file: opened by rasterio.

    Raises:
        UnfitImageError: these are two; or its tags or the names of its bands tell of another than the user.
    """
    parts = name.split("/")
    told = next((found for part in parts if (found := sensor_of_product(part))), None)
    if asked is None:
        return told
    if told is not None and told.bands != asked.bands:
        raise _refused(name, f"is of {told.name} by its name", asked)
    for form, called in _OTHERS:
        if any(form.search(part) for part in parts):
            raise _refused(name, f"is of {called} by its name, of which there is no table", asked)
    landsat = next((text for text in file.descriptions if text and text.startswith(("SR_B", "ST_B"))), None)
    if landsat and not asked.name.startswith("landsat"):
        raise _refused(name, f"has bands called as those of Landsat ({landsat})", asked)
    tag, other = _in_tags([file.tags(), file.tags(ns="IMAGERY")])
    if tag and (other is None or other.bands != asked.bands):
        raise _refused(name, f"is of another satellite by its tag {tag}", asked)
    return asked


def _refused(name: str, why: str, asked: Sensor) -> UnfitImageError:
    return UnfitImageError(
        f"{name} {why}, and is to be read as {asked.name}: set sensor to its own, or to null and name the bands "
        "(band_names)"
    )


def _in_tags(every: Sequence[dict[str, str]]) -> tuple[str, Sensor | None]:
    """The tag that names a satellite, and its table; an empty text where none does."""
    for tags in every:
        for key, value in tags.items():
            found = _SATELLITE.match(value.strip()) if re.sub(r"[\W_]", "", key.casefold()) in _KEYS else None
            if found is not None:
                sensor = SENTINEL_2 if found[3] else _LANDSATS.get(found[2])
                return f"{key}={value.strip()[:40]}", sensor
    return "", None
