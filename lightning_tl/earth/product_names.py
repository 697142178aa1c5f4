"""What the names of products and their files tell: the sensor, and the band that a file holds."""

from __future__ import annotations

import re

from lightning_tl.earth.bands import Band, common_name_of, named
from lightning_tl.earth.sensors import LANDSAT_7, LANDSAT_8_9, SENTINEL_2, Sensor

_SENSORS = (
    (
        re.compile(
            r"(?:^|[\W_])S2[A-D]_(?:MSIL|OPER_MSI|USER_MSI)|^L[12][AC]_T\d\d[A-Z]{3}_|^T\d\d[A-Z]{3}_\d{8}T\d{6}", re.I
        ),
        SENTINEL_2,
    ),
    (re.compile(r"(?:^|[\W_])L[CO]0[89]_", re.I), LANDSAT_8_9),
    (re.compile(r"(?:^|[\W_])(?:LE07|LT0[45])_", re.I), LANDSAT_7),
)
_BAND = re.compile(r"B\d{1,2}A?", re.IGNORECASE)
_RESOLUTION = re.compile(r"^(\d+)m$", re.IGNORECASE)


def sensor_of_product(name: str) -> Sensor | None:
    """The sensor of a product, by the form of its name or of its files' names; None where it tells nothing."""
    return next((sensor for form, sensor in _SENSORS if form.search(name)), None)


def band_of_file(stem: str, sensor: Sensor | None) -> tuple[Band, int | None] | None:
    """The band that a file of a product holds, and its pixel size in metres where the name says.

    Args:
        stem: the file's name without its ending, such as "T36UYA_20200101T101031_B02_10m".
        sensor: whose bands are known by name.

    Returns:
        None for what is no band by its name, such as masks and previews.
    """
    parts = re.split(r"[_.\s-]+", stem)
    metres = _RESOLUTION.match(parts[-1])
    size = int(metres[1]) if metres else None
    parts = parts[:-1] if metres else parts
    if not parts:
        return None
    # Landsat's quality bands end in QA_PIXEL, ST_QA, SR_QA_AEROSOL: a name of a band must be the last part, or stand
    # before a plain "band".
    last = parts[-2] if len(parts) > 1 and parts[-1].casefold() == "band" else parts[-1]
    if len(parts) > 1 and parts[-2].casefold() == "qa":
        return None
    if _BAND.fullmatch(last):
        band = sensor.knows(last) if sensor is not None else None
        return (band or named(last.upper()), size)
    if len(last) > 1 and common_name_of(last):
        known = sensor.knows(last) if sensor is not None else None
        return (known or named(last), size)
    return None


def sample_of_file(stem: str) -> str | None:
    """What the names of the files of one sample share, where a file is called after a band; None where it is not."""
    if band_of_file(stem, None) is None:
        return None
    parts = re.split(r"[_.\s-]+", stem)
    while _RESOLUTION.match(parts[-1]) or parts[-1].casefold() == "band":
        parts.pop()
    return "_".join(parts[:-1])
