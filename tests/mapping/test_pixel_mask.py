"""Masks on the scene's grid and on others, against looking at each pixel's middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from tiny_scenes import NORTH, WEST, scene_values, write_raster

from lightning_tl.earth import open_raster
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.mapping.mask_band import CLOUDS_OF_SCL, MaskBand
from lightning_tl.mapping.pixel_mask import PixelMask


def band_of(path: Path) -> MaskBand:
    return MaskBand.of(str(path), path, ReadingOptions())


@pytest.mark.parametrize(("pixel", "values"), [(10, (8, 9)), (20, (8, 9)), (7, (0, 9)), (30, None)])
def test_a_mask_on_any_grid_masks_pixels_by_their_middle(
    pixel: float, values: tuple[int, ...] | None, tmp_path: Path
) -> None:
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(40, 60)))
    rng = np.random.default_rng(0)
    stored = rng.choice([0, 4, 8, 9], (1, 1 + int(400 / pixel), 1 + int(600 / pixel))).astype(np.uint8)
    grid = rasterio.Affine(pixel, 0, WEST, 0, -pixel, NORTH)
    mask = PixelMask(
        raster, band_of(write_raster(tmp_path / "m.tif", stored, descriptions=None, transform=grid)), values
    )
    found = mask.masked((5, 7, 30, 50))
    wanted = (4, 8, 9) if values is None else values
    for row in range(30):
        for column in range(50):
            there = stored[0, int((row + 5.5) * 10 / pixel), int((column + 7.5) * 10 / pixel)]
            assert found[row, column] == (there in wanted)
    assert mask.notes == [f"masked by m.tif: {'all but 0' if values is None else str(values)[1:-1]}"]


def test_a_mask_of_a_part_is_told_and_masks_nothing_else(tmp_path: Path) -> None:
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(40, 60)))
    half = write_raster(tmp_path / "half.tif", np.full((1, 40, 30), 9, np.uint8), descriptions=None)
    mask = PixelMask(raster, band_of(half), (0, 9))
    assert mask.notes[1:] == ["the mask covers 50% of the scene; the rest is not masked"]
    found = mask.masked((0, 0, 40, 60))
    assert found[:, :30].all() and not found[:, 30:].any()
    fractions = write_raster(tmp_path / "f.tif", np.full((1, 40, 60), 0.5, np.float32), descriptions=None)
    with pytest.raises(ValueError, match=r"a mask holds whole numbers, and f.tif holds 0.5"):
        PixelMask(raster, band_of(fractions))
    whole = write_raster(tmp_path / "w.tif", np.full((1, 40, 60), 3, np.float32), descriptions=None)
    assert PixelMask(raster, band_of(whole), (3,)).masked((0, 0, 40, 60)).all()


@pytest.mark.parametrize("step", [10, 20])
def test_named_values_are_masked_even_where_they_are_the_files_no_data(step: int, tmp_path: Path) -> None:
    """As 0 of a scene classification, which collections mark as no-data."""
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(40, 60)))
    stored = np.full((1, 400 // step, 300 // step), 4, np.uint8)
    stored[0, : 100 // step] = 0
    grid = rasterio.Affine(step, 0, WEST, 0, -step, NORTH)
    file = write_raster(tmp_path / "SCL.tif", stored, descriptions=None, transform=grid, nodata=0)
    found = PixelMask(raster, band_of(file)).masked((0, 0, 40, 60))
    assert found[:10, :30].all() and found.sum() == 300  # and what it does not cover is not masked
    other = write_raster(tmp_path / "clouds.tif", stored, descriptions=None, transform=grid, nodata=4)
    assert not PixelMask(raster, band_of(other)).masked((0, 0, 40, 60)).any()


@pytest.mark.parametrize(
    ("name", "scl"),
    [
        ("T33UUP_20200101T101031_SCL_20m.tif", True),
        ("SCL.tif", True),
        ("scl_20m.tif", True),
        ("my-SCL.v2.tif", True),
        ("SCLouds.tif", False),
        ("MUSCLE.tif", False),
        ("clouds.tif", False),
    ],
)
def test_a_classification_is_known_by_a_word_of_its_own(name: str, scl: bool, tmp_path: Path) -> None:
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(20, 30)))
    file = write_raster(tmp_path / name, np.full((1, 20, 30), 4, np.uint8), descriptions=None)
    mask = PixelMask(raster, band_of(file))
    assert mask.values == (CLOUDS_OF_SCL if scl else None)
    assert mask.masked((0, 0, 20, 30)).all() != scl  # 4 is vegetation
    assert ("scene classification" in mask.notes[0]) == scl


def test_a_mask_may_be_a_band_of_the_scene(tmp_path: Path) -> None:
    values = np.concatenate([scene_values(20, 30), np.full((1, 20, 30), 9, np.uint16)])
    names = ("B02", "B03", "B04", "B08", "SCL")
    scene = write_raster(tmp_path / "scene.tif", values, descriptions=names)
    for text in ("SCL", "scl", f"{scene}:5", f"{scene}:SCL"):
        band = MaskBand.of(text, scene, ReadingOptions())
        assert (band.file, band.number, band.called, band.scl) == (scene, 5, "scene.tif:SCL", True)
    bare = write_raster(tmp_path / "bare.tif", values, descriptions=None)
    band = MaskBand.of("clouds", bare, ReadingOptions(band_names=("a", "b", "c", "d", "clouds")))
    assert (band.number, band.scl) == (5, False)
    for text, said in [
        ("SLC", r"there is no file SLC, and scene.tif has no band 'SLC'; did you mean SCL\?"),
        ("nowhere.tif", "there is no file nowhere.tif"),
        ("a/SCL", "there is no file a/SCL"),
    ]:
        with pytest.raises(FileNotFoundError, match=said):
            MaskBand.of(text, scene, ReadingOptions())
    with pytest.raises(ValueError, match=r"has 5 bands \(B02, .*\): say which is the mask.*scene.tif:5"):
        MaskBand.of(str(scene), scene, ReadingOptions())
    with pytest.raises(ValueError, match="has 5 bands, and the mask is to be band 6"):
        MaskBand.of(f"{scene}:6", scene, ReadingOptions())


def test_a_mask_may_be_a_file_of_the_product(tmp_path: Path) -> None:
    product = tmp_path / "S2A_MSIL2A_20170613T101031_N0205_x.SAFE"
    for folder, pixel in (("R60m", 60), ("R20m", 20)):
        (product / "IMG_DATA" / folder).mkdir(parents=True)
        classes = np.full((1, 2400 // pixel, 2400 // pixel), 4, np.uint8)
        grid = rasterio.Affine(pixel, 0, WEST, 0, -pixel, NORTH)
        file = product / "IMG_DATA" / folder / f"T33_SCL_{folder[1:]}.tif"
        write_raster(file, classes, descriptions=None, transform=grid)
    band = MaskBand.of("SCL", product, ReadingOptions())
    assert band.file.name == "T33_SCL_20m.tif" and band.scl and band.number == 1
    with pytest.raises(FileNotFoundError, match=r"none in S2A.* is called after it; did you mean SCL\?"):
        MaskBand.of("SCLL", product, ReadingOptions())
    write_raster(product / "IMG_DATA" / "R20m" / "T34_SCL_20m.tif", classes, descriptions=None)
    with pytest.raises(ValueError, match=r"several files called after SCL: .*T33_SCL.*T34_SCL"):
        MaskBand.of("SCL", product, ReadingOptions())
