"""A reading turns rasters into the same channels wherever it is kept, and pictures show what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_rasters import reflectances, write_product, write_raster

from lightning_tl.earth import BandReading
from lightning_tl.earth.choosing_bands import AskedBands
from lightning_tl.earth.indices import asked_indices

NAMES = ["B02", "B03", "B04", "B08"]


def reading_of(path: Path, **asked: object) -> BandReading:
    reading, ranges = AskedBands(**asked).reading(path)  # type: ignore[arg-type]
    return reading.with_ranges([each or (0.0, 1.0) for each in ranges], [0.5] * len(ranges))


def test_channels_by_hand_and_through_json(tmp_path: Path) -> None:
    values = reflectances(4, 6)
    values[:, 2, 3] = 0
    path = write_raster(tmp_path / "a.tif", values, NAMES)
    indices = asked_indices([{"mine": "nir / (red + green)"}, "ndvi"])
    reading = reading_of(path, bands=("red", "842nm"), indices=indices, sensor="sentinel2")
    assert reading.channels == ("B04", "B08", "mine", "ndvi") and reading.common_names[:2] == ("red", "nir")
    chip = reading.read(path)
    red, green, nir = (values[k] / 1e4 for k in (2, 1, 3))
    with np.errstate(invalid="ignore"):
        expected = [red, nir, (np.clip(nir / (red + green), -1, 1) + 1) / 2, ((nir - red) / (nir + red) + 1) / 2]
    inside = chip.valid
    assert np.flatnonzero(~inside).tolist() == [15] and (chip.pixels[~inside] == 0.5).all()
    for k, plane in enumerate(expected):
        assert chip.pixels[inside, k] == pytest.approx(plane[inside], abs=1e-6)
    again = BandReading.from_json(json.loads(json.dumps(reading.to_json())))
    assert again == reading and np.array_equal(again.read(path).pixels, chip.pixels)
    part = reading.read(path, (1, 2, 4, 3))
    assert np.array_equal(part.pixels, chip.pixels[1:5, 2:5]) and np.array_equal(part.valid, chip.valid[1:5, 2:5])


def test_indices_in_place_of_bands_read_what_they_need(tmp_path: Path) -> None:
    product = write_product(tmp_path)
    reading = reading_of(product, bands=(), indices=asked_indices(["ndvi", "nbr"]), keep_bands=False)
    assert reading.channels == ("ndvi", "nbr") and set(reading.needed) == {"B04", "B08", "B12"}
    assert reading.read(product).pixels.shape == (12, 12, 2)
    with pytest.raises(ValueError, match="no band 'B04'"):
        reading.read(write_raster(tmp_path / "b.tif", reflectances(2, 4), ["B08", "B12"]))


def test_values_whose_meaning_nobody_says(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(4, 6), ["blue", "green", "red", "nir"])
    assert reading_of(path, indices=asked_indices(["ndvi"])).channels[-1] == "ndvi"
    with pytest.raises(ValueError, match=r"evi needs reflectance.*scale"):
        reading_of(path, indices=asked_indices(["evi"]))
    assert reading_of(path, indices=asked_indices(["evi"]), scale=1e-4).channels[-1] == "evi"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"bands": ("B05",)}, "no band 'B05'; did you mean"),
        ({"bands": ("red", "B04")}, "more than once"),
        ({"indices": asked_indices(["nbr"])}, "no band 'B12'"),
        ({"sensor": "sentinel3"}, "no table of a sensor"),
        ({"value_range": (1, 0)}, "higher highest"),
        ({"value_range": "percentiles"}, "'data'"),
        ({"keep_bands": False}, "no channels"),
        ({"scale": 0.0}, "above 0"),
        ({"bands": ()}, "without channels"),
        ({"indices": asked_indices({"red": "nir * 1"})}, "different names"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, asked: dict[str, object], said: str) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(4, 6), NAMES)
    with pytest.raises(ValueError, match=r".") as caught:
        reading_of(path, **{"sensor": "sentinel2", **asked})
    assert said in str(caught.value)


def test_another_sensor_gives_the_same_channels_by_common_name(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(4, 6), NAMES)
    reading = reading_of(path, sensor="sentinel2", indices=asked_indices(["ndvi"])).for_sensor("landsat8")
    assert reading.bands == ("B2", "B3", "B4", "B5")  # not Landsat's B8, which is panchromatic
    edge = reading_of(write_product(tmp_path), bands=("B05",))
    with pytest.raises(ValueError, match="rededge071"):
        edge.for_sensor("naip")


def test_pictures(tmp_path: Path) -> None:
    values = np.stack([np.full((8, 8), level, np.uint16) for level in (400, 600, 500, 3000)])
    values[:, :4] *= 2
    values[:, 0, 0] = 0
    path = write_raster(tmp_path / "a.tif", values, NAMES)
    reading = reading_of(path, sensor="sentinel2")
    chip = reading.read(path)
    true, false = (reading.composite(chip.pixels, kind, chip.valid) for kind in ("true", "false"))
    assert true.dtype == np.uint8 and true.min() == 0 and true.max() == 255  # reflectances of 0.04 to 0.12 are seen
    assert (true[0, 0] == 0).all() and true[4, 4, 1] > true[4, 4, 2]
    assert false[1, 1, 0] == 255 and false[1, 1, 1] < 100
    assert reading.shows("swir") is None
    grey = reading.composite(chip.pixels, "swir", chip.valid)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    even = reading.composite(np.full((4, 4, 4), 0.1, np.float32) + np.float32(1e-4), "true")
    assert np.ptp(even) == 0
    with pytest.raises(ValueError, match="composite must be"):
        reading.composite(chip.pixels, "ultraviolet")
