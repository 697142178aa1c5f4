"""Bands are found by what they are called, and what is not there is answered with the nearest."""

from __future__ import annotations

import pytest

from lightning_tl.earth import LANDSAT_8_9, NAIP, SENTINEL_2, sensor_by_name
from lightning_tl.earth.sensors import EUROSAT, SENSORS


@pytest.mark.parametrize(
    ("sensor", "asked", "found"),
    [
        (SENTINEL_2, "B04", "B04"),
        (SENTINEL_2, "b4", "B04"),
        (SENTINEL_2, "Band 4", "B04"),
        (SENTINEL_2, "red", "B04"),
        (SENTINEL_2, "b8a", "B8A"),
        (SENTINEL_2, "842nm", "B08"),
        (SENTINEL_2, "0.842 µm", "B08"),
        (SENTINEL_2, "865 nm", "B8A"),
        (SENTINEL_2, "SWIR 1", "B11"),
        (SENTINEL_2, "red edge 2", "B06"),
        (LANDSAT_8_9, "SR_B4", "B4"),
        (LANDSAT_8_9, "nir", "B5"),
        (LANDSAT_8_9, "ST_B10", "B10"),
        (NAIP, "nir", "N"),
    ],
)
def test_a_band_is_found(sensor: object, asked: str, found: str) -> None:
    assert sensor.band(asked).name == found  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("B13", "or B12?"),
        ("nri", "B08 (nir)"),
        ("900nm", "the nearest is B8A at 864.7 nm"),
        ("", "has no band ''"),
        ("5000nm", "within 3%"),
    ],
)
def test_a_band_that_is_not_there_is_answered_with_the_nearest(asked: str, said: str) -> None:
    with pytest.raises(ValueError, match="sensor sentinel2") as caught:
        SENTINEL_2.band(asked)
    assert said in str(caught.value)


def test_sensors_by_name() -> None:
    assert sensor_by_name("Sentinel-2") is SENTINEL_2 and sensor_by_name("landsat 9") is LANDSAT_8_9
    with pytest.raises(ValueError, match="did you mean landsat8"):
        sensor_by_name("landsatt8")
    for sensor in SENSORS:
        assert len({band.name for band in sensor.bands}) == len(sensor.bands)
        assert len({band.common_name for band in sensor.bands}) == len(sensor.bands)


def test_orders_of_files_without_names() -> None:
    """EuroSAT's 13 bands end with 8A; where its order and that of wavelength differ, neither is taken."""
    assert [band.name for band in EUROSAT.order(13) if band][-3:] == ["B11", "B12", "B8A"]
    unsure = [None if band is None else band.name for band in SENTINEL_2.order(13)]
    assert unsure == ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", *[None] * 5]
    assert [band.name for band in SENTINEL_2.order(12) if band][8:] == ["B8A", "B09", "B11", "B12"]
    assert SENTINEL_2.order(4) == []
