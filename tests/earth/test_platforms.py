"""Files that tell of a satellite are not read by another one's table."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from tiny_rasters import reflectances, write_raster

from lightning_tl.earth import SENTINEL_2, open_raster, sensor_by_name

NUMBERED = [f"B{k}" for k in range(1, 8)]  # as Landsat calls them, and exports of Sentinel-2 too


@pytest.mark.parametrize(
    ("name", "sensor", "said"),
    [
        ("LC08_L2SP_1_20200101.tif", "sentinel2", "is of landsat8 by its name"),
        ("lc09_x.tif", "sentinel2", "is of landsat8 by its name"),
        ("subset_LC08_L2SP_1_20200101.tif", "sentinel2", "is of landsat8 by its name"),
        ("LE07_L2SP_1_20000101.tif", "sentinel2", "is of landsat7 by its name"),
        ("LT05_L2SP_1_19900101.tif", "sentinel2", "is of landsat7 by its name"),
        ("LM02_L1TP_1_19800101.tif", "landsat7", "of which there is no table"),
        ("HLS.L30.T10SEH.2020001.v2.0.tif", "sentinel2", "is of HLS L30 by its name"),
        ("LC08_L2SP_1_20200101/cut.tif", "sentinel2", "is of landsat8 by its name"),
        ("S2A_MSIL2A_20170613T101031.tif", "landsat8", "is of sentinel2 by its name"),
        ("LT05_L2SP_1_19900101.tif", "landsat7", ""),
        ("HLS.S30.T10SEH.2020001.v2.0.tif", "sentinel2", ""),
        ("plain.tif", "sentinel2", ""),
        ("lt05/cut.tif", "sentinel2", ""),  # a class may be called so
    ],
)
def test_names_of_files_and_folders(name: str, sensor: str, said: str, tmp_path: Path) -> None:
    path = write_raster(tmp_path / name, reflectances(7, 4), NUMBERED)
    if not said:
        open_raster(path, sensor=sensor_by_name(sensor)).close()
        return
    with pytest.raises(ValueError, match=rf"{said}.*, and is to be read as {sensor}: set sensor to its own"):
        open_raster(path, sensor=sensor_by_name(sensor))


@pytest.mark.parametrize(
    ("tag", "sensor", "refused"),
    [
        ({"SPACECRAFT_ID": "LANDSAT_8"}, "sentinel2", True),
        ({"SPACECRAFT_ID": "LANDSAT_8"}, "landsat8", False),
        ({"SATELLITE": "Landsat 5"}, "landsat8", True),
        ({"SATELLITE": "Landsat 5"}, "landsat7", False),
        ({"SATELLITE": "LANDSAT_2"}, "landsat7", True),
        ({"platform": "sentinel-2b"}, "landsat8", True),
        ({"platform": "sentinel-2b"}, "eurosat", False),
        ({"TITLE": "Landsat 8 beside Sentinel-2"}, "sentinel2", False),
        ({"platform": "a drone"}, "sentinel2", False),
    ],
)
def test_tags(tag: dict[str, str], sensor: str, refused: bool, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(3, 4), ["B2", "B3", "B4"])
    with rasterio.open(path, "r+") as file:
        file.update_tags(**tag)
    if not refused:
        open_raster(path, sensor=sensor_by_name(sensor)).close()
        return
    key, value = next(iter(tag.items()))
    with pytest.raises(ValueError, match=f"of another satellite by its tag {key}={value}, and is to be read as"):
        open_raster(path, sensor=sensor_by_name(sensor))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B5, central wavelength 865 nm", None),
        ("B5 (nir)", None),
        ("B4, NIR", None),
        ("B6 SWIR 1", None),
        ("B5, central wavelength 705 nm", "B05"),
        ("B8, central wavelength 842 nm", "B08"),
        ("B8A - narrow NIR", "B8A"),
        ("B05 - vegetation red edge", "B05"),
        ("B11 SWIR 1", "B11"),
        ("B4 - red", "B04"),
    ],
)
def test_a_description_that_tells_of_another_band_than_its_name(text: str, name: str | None, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(1, 4), [text])
    if name is None:
        with pytest.raises(ValueError, match=r"the band 'B.*' is none of sentinel2, whose B0\d is .* at [\d.]+ nm"):
            open_raster(path, sensor=SENTINEL_2)
        return
    with open_raster(path, sensor=SENTINEL_2) as raster:
        assert raster.band_names == (name,)


def test_the_head_of_a_product_that_has_a_folder_names_it(tmp_path: Path) -> None:
    import tifffile

    head = tmp_path / "S2A_X.SAFE" / "MTD_MSIL2A.tif"  # as GDAL's driver of Sentinel-2, which lists data sets
    head.parent.mkdir()
    tifffile.imwrite(head, reflectances(3, 8), photometric="minisblack", metadata=None)
    with pytest.raises(ValueError, match=r"has 3 pages or data sets.*give the folder of the product, S2A_X.SAFE"):
        open_raster(head)
