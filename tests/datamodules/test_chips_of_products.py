"""Chips from the folder of a product, with a file for each band, and of what is refused or told anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import tifffile
from tiny_scenes import NORTH, WEST, box_polygon, scene_values, write_polygons, write_raster

from datamodules import EarthSegmentationDataModule
from datamodules.earth.cutting.cut_chips import ChipCutter, CuttingOptions
from lightning_tl.earth import SENTINEL_2, open_raster

NAME = "S2A_MSIL2A_20220801T101031_N0400_R022_T33UUP_20220801T150000.SAFE"
HALVES = [box_polygon(0, 0, 30, 40), box_polygon(30, 0, 30, 40)]
CLASSES = [{"landcover": name} for name in ("water", "forest")]


@pytest.fixture
def polygons(tmp_path: Path) -> Path:
    return write_polygons(tmp_path / "polygons.geojson", HALVES, CLASSES)


def _cut(scene: Path, labels: Path, output: Path, **options: Any) -> tuple[pd.DataFrame, ChipCutter]:
    cutter = ChipCutter(scene, labels, output, CuttingOptions(**{"size": 20, **options}))
    table = cutter.cut()
    cutter.close()
    return table, cutter


def _product(folder: Path, metadata: bool = True) -> Path:
    """Bands of 10 and 20 m and a classification of 40 × 60 pixels of 10 m, without data in its first column."""
    images = folder / NAME / "GRANULE" / "L2A" / "IMG_DATA"
    values = scene_values(40, 60)
    values[:, :, 0] = 0
    for name, metres, plane in (("B02", 10, values[0]), ("B08", 10, values[3]), ("B11", 20, values[1, ::2, ::2])):
        (images / f"R{metres}m").mkdir(parents=True, exist_ok=True)
        grid = rasterio.Affine(metres, 0, WEST, 0, -metres, NORTH)
        file = images / f"R{metres}m" / f"T33UUP_20220801T101031_{name}_{metres}m.jp2"
        write_raster(file, plane[None], descriptions=None, transform=grid)
    write_raster(
        images / "R20m" / "T33UUP_20220801T101031_SCL_20m.jp2", np.full((1, 20, 30), 4, np.uint8), descriptions=None
    )
    if metadata:
        offsets = "".join(f'<BOA_ADD_OFFSET band_id="{k}">-1000</BOA_ADD_OFFSET>' for k in range(13))
        (folder / NAME / "MTD_MSIL2A.xml").write_text(
            f'<a><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>{offsets}</a>'
        )
    return folder / NAME


def test_chips_of_a_folder_lie_on_the_finest_grid_and_say_what_their_values_mean(
    polygons: Path, tmp_path: Path
) -> None:
    product = _product(tmp_path)
    table, _ = _cut(product, polygons, tmp_path / "chips")
    assert len(table) == 6 and set(table["label"]) == {"water", "forest"}
    with open_raster(product) as whole:
        for row in table.itertuples():
            with rasterio.open(tmp_path / "chips" / row.path) as chip:
                assert (chip.descriptions, chip.dtypes) == (("B02", "B08", "B11"), ("uint16",) * 3)
                assert chip.scales == (1e-4,) * 3 and np.allclose(chip.offsets, -0.1)
                assert chip.transform == rasterio.Affine(10, 0, WEST + 10 * row.column, 0, -10, NORTH - 10 * row.row)
            want, valid = whole.read(None, (row.row, row.column, 20, 20))
            with open_raster(tmp_path / "chips" / row.path, sensor=SENTINEL_2) as read:
                found, there = read.read()
            assert np.array_equal(valid, there) and np.allclose(found, want, atol=1e-6)
            with rasterio.open(tmp_path / "chips" / row.mask) as mask:
                classes = mask.read(1)
            assert np.array_equal(classes == 255, ~valid)
            middles = np.arange(row.column, row.column + 20)[None].repeat(20, 0)
            assert (classes == np.where(middles < 30, 1, 0))[valid].all()  # "forest" is 0
    assert f"{NAME}_r000000_c000000.tif" in table["path"].iloc[0]


def test_a_folder_whose_values_nobody_explains_keeps_what_is_stored(polygons: Path, tmp_path: Path) -> None:
    table, _ = _cut(_product(tmp_path, metadata=False), polygons, tmp_path / "chips")
    chip = tmp_path / "chips" / table["path"].iloc[0]
    with rasterio.open(chip) as file:
        assert (file.scales, file.offsets) == ((1.0,) * 3, (0.0,) * 3)
    with pytest.raises(ValueError, match="may carry the offset of 1,000"):  # training asks, as of the product
        open_raster(chip, sensor=SENTINEL_2)


def test_a_scene_or_labels_of_several_pages_are_refused(polygons: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    with tifffile.TiffFile(scene) as file:
        found = file.pages[0].tags
        place = [(k, int(found[k].dtype), found[k].count, found[k].value, True) for k in (33550, 33922, 34735)]
    for name, values in (("pages.tif", scene_values(40, 60)), ("labels.tif", np.ones((2, 40, 60), np.uint8))):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for plane in values:
                writer.write(plane, photometric="minisblack", metadata=None, extratags=place)
    with pytest.raises(ValueError, match=r"pages.tif has 4 pages"):
        _cut(tmp_path / "pages.tif", polygons, tmp_path / "chips")
    with pytest.raises(ValueError, match=r"labels.tif has 2 pages"):
        _cut(scene, tmp_path / "labels.tif", tmp_path / "chips")


def test_an_output_that_holds_the_scene_or_the_labels_is_not_replaced(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    polygons = write_polygons(tmp_path / "p.geojson", HALVES, CLASSES)
    _cut(scene, polygons, tmp_path / "chips")
    inside = tmp_path / "chips" / "p.geojson"
    inside.write_bytes(polygons.read_bytes())
    with pytest.raises(ValueError, match=r"the labels .*p.geojson lies in .*chips, which would be replaced"):
        ChipCutter(scene, inside, tmp_path / "chips", CuttingOptions(20), overwrite=True)
    assert inside.is_file()


def test_attributes_that_change_beside_a_file_of_shapes_are_other_labels(tmp_path: Path) -> None:
    """The classes of a shapefile lie in its .dbf, and those of a virtual raster in others."""
    import pyogrio

    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    shapes = write_polygons(tmp_path / "p.geojson", HALVES, CLASSES)
    meta, _, found, columns = pyogrio.raw.read(shapes)
    labels = tmp_path / "p2.shp"
    told = {"fields": meta["fields"], "geometry_type": "Polygon", "crs": meta["crs"]}
    pyogrio.raw.write(labels, found, columns, **told)

    class StoppedError(Exception):
        pass

    def stop(count: int) -> None:
        raise StoppedError

    cutter = ChipCutter(scene, labels, tmp_path / "chips", CuttingOptions(20))
    with pytest.raises(StoppedError):
        cutter.cut(stop)
    cutter.close()
    shape = (labels.stat().st_size, labels.stat().st_mtime_ns)
    pyogrio.raw.write(tmp_path / "q.shp", found, [columns[0][::-1]], **told)
    (tmp_path / "q.dbf").replace(tmp_path / "p2.dbf")
    assert shape == (labels.stat().st_size, labels.stat().st_mtime_ns)
    with pytest.raises(ValueError, match="unfinished chips of another scene, labels or options"):
        _cut(scene, labels, tmp_path / "chips")


def test_rings_that_are_none_are_told(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    broken = [[[WEST, NORTH], [WEST + 1000, NORTH - 1000]]]
    labels = write_polygons(tmp_path / "p.geojson", [broken, HALVES[1]], CLASSES)
    with pytest.raises(ValueError, match=r"p.geojson has shapes that are none, such as rings of fewer than"):
        _cut(scene, labels, tmp_path / "chips")


def test_classes_that_differ_in_case_are_told_and_numbers_are_in_order(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    labels = write_polygons(tmp_path / "p.geojson", HALVES, [{"c": "Forest"}, {"c": "forest "}])
    _, cutter = _cut(scene, labels, tmp_path / "a")
    assert "Forest, forest are classes of their own, though they differ in case alone" in " ".join(cutter.notes)
    labels = write_polygons(tmp_path / "q.geojson", HALVES, [{"c": 10}, {"c": 2}])
    _, cutter = _cut(scene, labels, tmp_path / "b")
    assert cutter.labels.class_names == ("2", "10")


# ---------------------------------------------------------------- several scenes


def _of_another_scene(folder: Path) -> Path:
    """Labels whose classes would have other numbers: water is the only one."""
    return write_polygons(folder / "other.geojson", [box_polygon(0, 0, 60, 40)], CLASSES[:1])


def _joined(folder: Path) -> Path:
    """A table of the chips in `a` and `b`."""
    tables = []
    for name in ("a", "b"):
        table = pd.read_parquet(folder / name / "chips.parquet")
        tables.append(table.assign(path=f"{name}/" + table["path"], mask=f"{name}/" + table["mask"]))
    pd.concat(tables).to_parquet(folder / "both.parquet")
    return folder / "both.parquet"


def _masks_of(manifest: Path) -> EarthSegmentationDataModule:
    data = EarthSegmentationDataModule(manifest=manifest, image_size=20, num_workers=0, sensor="sentinel2")
    data.setup("fit")
    return data


def test_classes_that_are_given_have_the_same_numbers_in_every_scene(polygons: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    listed = ("water", "forest", "urban")
    _cut(scene, polygons, tmp_path / "a", classes=listed)
    table, _ = _cut(scene, _of_another_scene(tmp_path), tmp_path / "b", classes=listed)
    with rasterio.open(tmp_path / "b" / table["mask"][0]) as mask:
        assert set(np.unique(mask.read(1))) == {0}
    with rasterio.open(tmp_path / "a" / "masks" / Path(table["mask"][0]).name) as mask:
        assert set(np.unique(mask.read(1))) == {0} and set(table["label"]) == {"water"}
    data = _masks_of(_joined(tmp_path))
    assert data.class_names == listed
    counted = data.records.pixels.sum(0)
    assert counted.tolist() == [40 * 30 + 40 * 60, 40 * 30, 0]


def test_chips_of_several_scenes_with_other_numbers_are_refused(polygons: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    _cut(scene, polygons, tmp_path / "a")
    _cut(scene, _of_another_scene(tmp_path), tmp_path / "b")
    both = _joined(tmp_path)
    message = r"masks of several folders are numbered otherwise: 0 is 'water' in .*b.classes\.json, and 'forest' in .*a"
    with pytest.raises(ValueError, match=message):
        _masks_of(both)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (
            ("water", "urban"),
            r"--classes \(water, urban\) lacks forest, which .*polygons\.geojson has: list all",
        ),
        (("water", "forest", "water"), "--classes names a class twice: water, forest, water"),
    ],
)
def test_classes_that_do_not_fit(listed: tuple[str, ...], message: str, polygons: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60))
    with pytest.raises(ValueError, match=message):
        _cut(scene, polygons, tmp_path / "chips", classes=listed)
