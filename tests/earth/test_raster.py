"""Rasters of every kind that GDAL writes, read by names of bands; what is not sound is refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from tiny_rasters import SENTINEL_BANDS, reflectances, write_product, write_raster

from lightning_tl.earth import SENTINEL_2, open_raster, sensor_by_name
from lightning_tl.earth.grid import Grid
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.scaling import ScalingOptions

NAMED = ("B02", "B03", "B04", "B08")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize(
    "options", [{}, {"interleave": "band"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"driver": "COG"}]
)
def test_values_are_those_that_were_written(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    values = (reflectances(4, 40) % 200).astype(dtype)
    path = write_raster(tmp_path / "a.tif", values, NAMED, **options)
    with open_raster(path) as raster:
        read, valid = raster.read(["B08", "B02"])
        assert valid.all() and np.array_equal(read, values[[3, 0]].astype(np.float32))
        part, _ = raster.read(["B03"], (3, 5, 7, 11))
        assert np.array_equal(part[0], values[1, 3:10, 5:16])
        assert raster.georeferenced and raster.footprint()[2] == (300_400.0, 4_999_600.0)


def test_jpeg_2000(tmp_path: Path) -> None:
    values = reflectances(1, 40)
    path = write_raster(tmp_path / "T36_B04.jp2", values, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    with open_raster(path) as raster:
        assert raster.band_names == ("B04",) and np.array_equal(raster.read()[0], values.astype(np.float32))


def test_scale_and_offset_come_from_tags_then_the_sensor(tmp_path: Path) -> None:
    values = reflectances(1, 4)
    for name, options, tags, expected in [
        ("tagged", ReadingOptions(SENTINEL_2), {"scale": 2e-4, "offset": -0.1}, values * 2e-4 - 0.1),
        ("sensor", ReadingOptions(SENTINEL_2), {}, values / 1e4),
        ("asked", ReadingOptions(SENTINEL_2, scaling=ScalingOptions(add_offset=-1000)), {}, (values - 1000.0) / 1e4),
        ("own", ReadingOptions(scaling=ScalingOptions(scale=1e-3)), {"scale": 2.0}, values / 1e3),
        ("none", ReadingOptions(), {}, values * 1.0),
    ]:
        path = write_raster(tmp_path / f"{name}.tif", values, ["B04"], **tags)
        with open_raster(path, options) as raster:
            assert raster.read()[0] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("name", ["S2A_MSIL2A_20220801T101031_B04.tif", "S2B_MSIL1C_20210101T1_N0400_B04.tif"])
def test_an_offset_that_only_the_date_tells_of_is_asked_for(tmp_path: Path, name: str) -> None:
    path = write_raster(tmp_path / name, reflectances(1, 4))
    with pytest.raises(ValueError, match="add_offset"):
        open_raster(path)
    told = ReadingOptions(scaling=ScalingOptions(add_offset=0))
    with open_raster(path, told) as raster:
        assert raster.read()[0].max() < 1


def test_the_offset_in_a_products_metadata_is_read(tmp_path: Path) -> None:
    product = tmp_path / "S2A_MSIL2A_20220801T101031_N0400_R022_T36UYA_20220801T150000.SAFE"
    images = product / "GRANULE" / "L2A_T36UYA" / "IMG_DATA"
    values = reflectances(1, 12, low=1500)
    for metres, size in ((10, 12), (20, 6)):
        for band in ("B02", "B04") if metres == 10 else ("B02", "B11"):
            file = images / f"R{metres}m" / f"T36UYA_20220801T101031_{band}_{metres}m.jp2"
            stored = values[:, :size, :size]
            write_raster(file, stored, pixel=float(metres), driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    write_raster(product / "GRANULE" / "L2A_T36UYA" / "QI_DATA" / "MSK_B04.jp2", values, driver="JP2OpenJPEG")
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{k}">-1000</BOA_ADD_OFFSET>' for k in range(13))
    (product / "MTD_MSIL2A.xml").write_text(
        f'<a><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>{offsets}</a>'
    )
    with open_raster(product) as raster:
        assert raster.band_names == ("B02", "B04", "B11") and (raster.height, raster.width) == (12, 12)
        assert raster.read(["B02"])[0] == pytest.approx((values - 1000.0) / 1e4, abs=1e-6)
        assert raster.notes() == []


def test_bands_at_10_20_and_60_m_come_to_one_grid(tmp_path: Path) -> None:
    product = write_product(tmp_path)
    with open_raster(product) as raster:
        assert set(raster.band_names) == {*SENTINEL_BANDS} - {"B10"} and raster.sensor is SENTINEL_2
        values, valid = raster.read()
        assert values.shape == (12, 12, 12) and valid.all()
        for window in ((0, 0, 5, 12), (5, 3, 7, 9)):  # as cut from one picture
            row, column, height, width = window
            part, _ = raster.read(None, window)
            assert np.array_equal(part, values[:, row : row + height, column : column + width])
        coarse = raster.only(["B05"])
        assert (coarse.height, coarse.width) == (6, 6)
        assert pickle.loads(pickle.dumps(raster)).read(["red"])[0] == pytest.approx(raster.read(["B04"])[0])


def test_what_has_no_data_is_not_valid(tmp_path: Path) -> None:
    values = reflectances(2, 6).astype(np.float32)
    values[0, 0, 0], values[1, 2, 2], values[0, 5, 5] = np.nan, -9999, np.inf
    with open_raster(write_raster(tmp_path / "a.tif", values, ["red", "nir"], nodata=-9999)) as raster:
        read, valid = raster.read()
        assert (~valid).sum() == 3 and np.isfinite(read).all() and (read[:, ~valid] == 0).all()
    zeros = reflectances(2, 6)
    zeros[:, 0, 0], zeros[0, 1, 1] = 0, 0
    path = write_raster(tmp_path / "b.tif", zeros, ["B04", "B08"])
    with open_raster(path, sensor=SENTINEL_2) as raster:  # its table says that 0 is no data: where all bands have it
        assert np.flatnonzero(~raster.read()[1]).tolist() == [0]
    with open_raster(path, ReadingOptions(no_data=0)) as raster:
        assert np.flatnonzero(~raster.read()[1]).tolist() == [0, 7]
    cover = np.full((4, 4, 4), 200, np.uint8)
    cover[3, 0, 0] = 0
    path = write_raster(tmp_path / "c.tif", cover)  # which GDAL marks as red, green, blue and opacity
    with open_raster(path) as raster:
        assert raster.band_names == ("red", "green", "blue") and np.flatnonzero(~raster.read()[1]).tolist() == [0]
    for options in (ReadingOptions(sensor_by_name("naip")), ReadingOptions(band_names=("red", "green", "blue", "nir"))):
        with open_raster(path, options) as raster:
            assert raster.bands[3].common_name == "nir" and raster.read()[1].all()


def test_what_a_coarser_band_does_not_cover_is_not_valid(tmp_path: Path) -> None:
    fine = reflectances(1, 12)
    for name, low in (("masked", 200), ("short", 200), ("marked", 200), ("S2A_MSIL2A_20170613T101031_N0205_x", 0)):
        write_raster(tmp_path / name / "x_B04.tif", fine)
        coarse = reflectances(1, 6, low=max(1, low))
        wanted = np.ones((12, 12), bool)
        if name == "masked":
            file = write_raster(tmp_path / name / "x_B11.tif", coarse, pixel=20.0)
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(file, "r+") as opened:
                opened.write_mask(np.arange(36).reshape(6, 6) >= 12)
            wanted[:4] = False
        elif name == "short":  # as bands of 30 m whose edge lies within a pixel
            write_raster(tmp_path / name / "x_B11.tif", coarse[:, :, :5], pixel=20.0)
            wanted[:, 10:] = False
        else:
            coarse[0, 2, 2] = 0
            write_raster(tmp_path / name / "x_B11.tif", coarse, pixel=20.0, **({"nodata": 0} if low else {}))
            wanted[4:6, 4:6] = low == 0  # where nothing marks it, 0 in one band may be a value
        with open_raster(tmp_path / name) as raster:
            values, valid = raster.read()
            assert np.array_equal(valid, wanted), name
            assert (values[:, valid] > 0).all() or low == 0
            if name.startswith("S2A"):
                assert (values[1, 4:6, 4:6] == 0).all()


def test_the_side_of_a_pixel_of_a_turned_grid() -> None:
    turned = rasterio.Affine.rotation(30) * rasterio.Affine.scale(10, -10)
    assert Grid(4, 4, None, turned).pixel == pytest.approx(10)
    assert Grid(4, 4, None, rasterio.Affine(5, 0, 0, 0, 20, 0)).pixel == 20


def test_names_come_from_the_file_the_user_or_the_sensor(tmp_path: Path) -> None:
    values = reflectances(13, 4)
    bare = write_raster(tmp_path / "bare.tif", values)
    with pytest.raises(ValueError, match=r"13 bands of bare.tif have no names.*band_names.*sensor"):
        open_raster(bare)
    with open_raster(bare, ReadingOptions(band_names=SENTINEL_BANDS)) as raster:
        assert raster.band_names == SENTINEL_BANDS
    with open_raster(bare, sensor=sensor_by_name("eurosat")) as raster:
        assert np.array_equal(raster.read(["B8A"])[0][0], (values[12] / 1e4).astype(np.float32))
    with open_raster(bare, sensor=SENTINEL_2) as raster:  # the same in both orders
        assert raster.read(["B08"])[0][0] == pytest.approx(values[7] / 1e4)
        with pytest.raises(ValueError, match=r"no band 'B11'.*EuroSAT"):
            raster.read(["B11"])
    with pytest.raises(ValueError, match="band_names has 2 names"):
        open_raster(bare, ReadingOptions(band_names=("red", "nir")))
    with pytest.raises(ValueError, match="order is known of files with 12 or 13"):
        open_raster(write_raster(tmp_path / "ten.tif", values[:10]), sensor=SENTINEL_2)
    twice = write_raster(tmp_path / "twice.tif", values[:2], ["B4", "B04"])
    with pytest.raises(ValueError, match="several bands called"):
        open_raster(twice)
    told = write_raster(tmp_path / "told.tif", values[:2], ["B4, central wavelength 665 nm", "Near infrared, 842 nm"])
    with open_raster(told) as raster:
        assert [raster.band_names[raster.place(name)] for name in ("670nm", "B04", "nir")] == [
            "B4",
            "B4",
            raster.band_names[1],
        ]


def test_unsound_files_are_refused_by_name(tmp_path: Path) -> None:
    pages = tmp_path / "pages.tif"
    tifffile.imwrite(pages, reflectances(13, 8), photometric="minisblack", metadata=None)
    with pytest.raises(ValueError, match=r"pages.tif has 13 pages"):
        open_raster(pages)
    cut = write_raster(tmp_path / "cut.tif", reflectances(4, 64), NAMED)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(OSError, match=r"cut.tif.*(damaged|cut off)"), open_raster(cut) as raster:
        raster.read()
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(OSError, match=r"text.tif cannot be opened"):
        open_raster(tmp_path / "text.tif")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_raster(tmp_path / "nowhere.tif")
    with pytest.raises(ValueError, match="complex"):
        open_raster(write_raster(tmp_path / "radar.tif", np.ones((1, 4, 4), np.complex64), ["vv"]))
    whole = write_raster(tmp_path / "whole.tif", reflectances(4, 8), NAMED)
    for window in ((0, 0, 9, 8), (-1, 0, 2, 2), (0, 7, 1, 2), (0, 0, 0, 1)):
        with pytest.raises(ValueError, match="does not lie inside"), open_raster(whole) as raster:
            raster.read(window=window)
    with pytest.raises(ValueError, match="level 1"):
        open_raster(write_raster(tmp_path / "LC08_L1TP_1_20200101_B4.TIF", reflectances(1, 4)))
    with pytest.raises(ValueError, match="uint8"):
        open_raster(write_raster(tmp_path / "T36UYA_20170801T101031_B04.tif", np.ones((1, 4, 4), np.uint8)))
    floats = write_raster(tmp_path / "floats.tif", reflectances(1, 4).astype(np.float32), ["B04"])
    with pytest.raises(ValueError, match=r"no reflectance.*scale"), open_raster(floats, sensor=SENTINEL_2) as raster:
        raster.read()


def test_two_sensors_are_not_mixed_in_silence(tmp_path: Path) -> None:
    landsat = write_raster(tmp_path / "LC08_L2SP_1_20200101_SR_B4.TIF", reflectances(1, 4))
    with pytest.raises(ValueError, match="of landsat8 by its name, and is to be read as sentinel2"):
        open_raster(landsat, sensor=SENTINEL_2)
    with open_raster(landsat) as raster:
        assert raster.read()[0] == pytest.approx(reflectances(1, 4) * 2.75e-5 - 0.2, abs=1e-6)
    with pytest.raises(ValueError, match="uint16, and naip stores 8 bits"):
        open_raster(write_raster(tmp_path / "n.tif", reflectances(4, 4)), sensor=sensor_by_name("naip"))
    exported = write_raster(tmp_path / "exported.tif", reflectances(2, 4), ["SR_B4", "SR_B5"])
    with pytest.raises(ValueError, match="called as those of Landsat"):
        open_raster(exported, sensor=SENTINEL_2)
    old = write_raster(tmp_path / "T36UYA_20170801T101031_B04.tif", reflectances(1, 4))
    with open_raster(old, ReadingOptions(scaling=ScalingOptions(add_offset=-1000))) as raster:
        assert "older than Sentinel-2's offset" in raster.notes()[0]


def test_a_mask_of_the_file_counts(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", reflectances(2, 4), ["red", "nir"])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(16).reshape(4, 4) > 2)
    with open_raster(path) as raster:
        assert np.flatnonzero(~raster.read()[1]).tolist() == [0, 1, 2]


def test_files_of_a_product_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    values = reflectances(1, 12)
    for name, change, said in [
        ("bare", {"corner": None}, "without georeference"),
        ("zone", {"crs": "EPSG:32735"}, "reproject"),
        ("away", {"corner": (400_000.0, 5_000_000.0)}, "one place"),
    ]:
        write_raster(tmp_path / name / "x_B04.tif", values)
        write_raster(tmp_path / name / "x_B11.tif", values[:, :6, :6], **{"pixel": 20.0, **change})
        with pytest.raises(ValueError, match=said):
            open_raster(tmp_path / name)
    write_raster(tmp_path / "twice" / "x_B04.tif", values)
    write_raster(tmp_path / "twice" / "y_B04.tif", values)
    with pytest.raises(ValueError, match="several files of the band B04"):
        open_raster(tmp_path / "twice")
    write_raster(tmp_path / "none" / "mask.tif", values)
    with pytest.raises(ValueError, match="called after a band"):
        open_raster(tmp_path / "none")
