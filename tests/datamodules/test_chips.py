"""Chips from a scene and its labels: what is kept, what is refused, and what an interruption leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
from shapely.geometry import Point, shape
from tiny_scenes import NORTH, PIXEL, WEST, box_polygon, scene_values, write_polygons, write_raster

from datamodules.earth.cutting.chip_grid import ChipGrid
from datamodules.earth.cutting.cut_chips import ChipCutter, CuttingOptions
from datamodules.earth.cutting.laid_labels import NONE
from datamodules.earth.space import SplitInSpace

THIRDS = [box_polygon(0, 0, 100, 200), box_polygon(100, 0, 100, 200), box_polygon(200, 0, 100, 200)]
CLASSES = [{"landcover": name, "year": 2020} for name in ("water", "forest", "bare")]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "scene.tif", scene_values(), nodata=0)


@pytest.fixture
def polygons(tmp_path: Path) -> Path:
    return write_polygons(tmp_path / "polygons.geojson", THIRDS, CLASSES)


def _cut(scene: Path, labels: Path, output: Path, **options: Any) -> tuple[pd.DataFrame, ChipCutter]:
    cutter = ChipCutter(scene, labels, output, CuttingOptions(**{"size": 20, **options}))
    table = cutter.cut()
    cutter.close()
    return table, cutter


def test_chips_keep_bands_type_no_data_and_place(scene: Path, polygons: Path, tmp_path: Path) -> None:
    with rasterio.open(scene, "r+") as file:
        file.scales, file.offsets = (0.0001,) * 4, (-0.1,) * 4
        file.update_tags(DATATAKE="S2A")
    table, _ = _cut(scene, polygons, tmp_path / "chips")
    assert len(table) == 10 * 15
    stored = pd.read_parquet(tmp_path / "chips" / "chips.parquet")
    assert list(stored["path"]) == list(table["path"])
    row = stored[(stored["row"] == 40) & (stored["column"] == 120)].iloc[0]
    with rasterio.open(scene) as whole, rasterio.open(tmp_path / "chips" / row["path"]) as chip:
        assert chip.descriptions == whole.descriptions
        assert (chip.dtypes, chip.nodata, chip.crs) == (whole.dtypes, 0, whole.crs)
        assert (chip.scales, chip.offsets) == (whole.scales, whole.offsets)
        assert chip.tags()["DATATAKE"] == "S2A"
        assert chip.bounds == (WEST + 1200, NORTH - 600, WEST + 1400, NORTH - 400)
        assert (chip.read() == whole.read(window=rasterio.windows.Window(120, 40, 20, 20))).all()
    with rasterio.open(tmp_path / "chips" / row["mask"]) as mask:
        assert (mask.read(1) == 1).all()
        assert (mask.nodata, mask.bounds) == (NONE, chip.bounds)
    told = json.loads((tmp_path / "chips" / "classes.json").read_text())
    assert [(each["number"], each["name"]) for each in told["classes"]] == [(0, "bare"), (1, "forest"), (2, "water")]
    assert told["none"] == NONE
    assert (row["label"], row["share"], row["x"], row["y"]) == ("forest", 1.0, WEST + 1300, NORTH - 500)
    assert row["crs"] == "EPSG:32633"


def test_masks_are_what_asking_every_pixel_for_its_polygon_finds(scene: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes, told = [], []
    for number in range(6):
        middle = np.array([rng.uniform(20, 60), 25 + 25 * number])
        ring = middle + np.stack(
            [[np.cos(a) * r, np.sin(a) * r] for a, r in zip(np.arange(7), rng.uniform(4, 12, 7), strict=True)]
        )
        points = [[WEST + x * PIXEL, NORTH - y * PIXEL] for x, y in ring]
        shapes.append([[*points, points[0]]])
        told.append({"class": f"c{number % 3}"})
    file = write_polygons(tmp_path / "p.geojson", shapes, told)
    _cut(scene, file, tmp_path / "chips", size=50)
    masks = np.full((200, 300), NONE)
    for path in (tmp_path / "chips" / "masks").iterdir():
        row, column = int(path.stem[-14:-8]), int(path.stem[-6:])
        masks[row : row + 50, column : column + 50] = rasterio.open(path).read(1)
    areas = [shape({"type": "Polygon", "coordinates": each}) for each in shapes]
    for row in range(0, 200, 3):
        for column in range(0, 100, 3):
            middle = Point(WEST + (column + 0.5) * PIXEL, NORTH - (row + 0.5) * PIXEL)
            want = [number % 3 for number, area in enumerate(areas) if area.contains(middle)]
            assert masks[row, column] == (want[0] if want else NONE), (row, column)


def test_polygons_in_degrees_are_reprojected_and_told(scene: Path, polygons: Path, tmp_path: Path) -> None:
    from pyproj import Transformer

    change = Transformer.from_crs(32633, 4326, always_xy=True).transform
    there = [[[list(change(x, y)) for x, y in ring] for ring in each] for each in THIRDS]
    degrees = write_polygons(tmp_path / "degrees.geojson", there, CLASSES, "EPSG:4326")
    want, _ = _cut(scene, polygons, tmp_path / "a")
    got, cutter = _cut(scene, degrees, tmp_path / "b")
    assert (got["label"] == want["label"]).mean() > 0.99  # straight lines bend a little
    assert "degrees.geojson is in WGS 84, the scene in WGS 84 / UTM zone 33N" in " ".join(cutter.notes)


def test_blocks_lie_in_one_split_and_chips_of_a_gap_are_gone(scene: Path, polygons: Path, tmp_path: Path) -> None:
    split = SplitInSpace(0.4, 0.25, 0.25, seed=1, gap=True)
    table, cutter = _cut(scene, polygons, tmp_path / "chips", split=split)
    assert set(table["split"]) == {"train", "validation", "test"}
    assert table.groupby("block")["split"].nunique().max() == 1
    assert len(table) < 150
    for name in ("images", "masks"):
        assert len(list((tmp_path / "chips" / name).iterdir())) == len(table)
    assert "left out as a gap" in " ".join(cutter.notes)


def test_chips_that_overlap_over_the_edge_of_a_block_are_told(scene: Path, polygons: Path, tmp_path: Path) -> None:
    for gap, told in ((False, 1), (True, 0)):
        options = CuttingOptions(20, 10, split=SplitInSpace(0.4, gap=gap))
        cutter = ChipCutter(scene, polygons, tmp_path / "chips", options)
        assert sum(note.startswith("chips overlap") for note in cutter.notes) == told
        cutter.close()


def test_too_few_blocks_are_refused_before_chips_are_cut(scene: Path, polygons: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"150 tiles lie in \d blocks? of 9 km, and 3 splits need at least 3"):
        _cut(scene, polygons, tmp_path / "chips", split=SplitInSpace(9))
    assert not (tmp_path / "chips.part").exists()


def test_another_split_takes_up_the_chips_that_are_there(scene: Path, polygons: Path, tmp_path: Path) -> None:
    one_class = write_polygons(tmp_path / "p.geojson", [THIRDS[0], box_polygon(280, 180, 20, 20)], CLASSES[:2])
    with pytest.raises(ValueError, match="has only 'water' of 2 classes"):
        _cut(scene, one_class, tmp_path / "chips", split=SplitInSpace(0.4))
    there = next((tmp_path / "chips.part" / "masks").iterdir())
    before = there.stat().st_mtime_ns
    _cut(scene, one_class, tmp_path / "chips")
    assert (tmp_path / "chips" / "masks" / there.name).stat().st_mtime_ns == before
    assert "split" not in pd.read_parquet(tmp_path / "chips" / "chips.parquet")


def test_a_label_raster_on_another_grid_gives_the_nearest_class(scene: Path, tmp_path: Path) -> None:
    values = np.repeat([[10, 30, 20]], 5, 0).astype(np.uint8)[None]  # 1 km pixels, classes by number
    labels = write_raster(
        tmp_path / "labels.tif", values, descriptions=None, transform=rasterio.Affine(1000, 0, WEST, 0, -1000, NORTH)
    )
    table, cutter = _cut(scene, labels, tmp_path / "chips")
    assert cutter.labels.class_names == ("10", "20", "30")
    assert table.groupby("column")["label"].first()[[0, 100, 200]].tolist() == ["10", "30", "20"]
    assert "lies on another grid" in " ".join(cutter.notes)
    assert "is a class of" not in " ".join(cutter.notes)


def test_a_label_raster_covers_a_part_and_its_no_data_is_no_class(scene: Path, tmp_path: Path) -> None:
    values = np.zeros((1, 200, 300), np.uint8)
    values[0, :, 150:] = 7
    values[0, :20] = 99
    labels = write_raster(tmp_path / "labels.tif", values[:, :, :200], descriptions=None, nodata=99)
    table, cutter = _cut(scene, labels, tmp_path / "chips")
    assert cutter.labels.class_names == ("0", "7")
    assert (table["row"].min(), table["column"].max()) == (20, 180)
    plain = write_raster(tmp_path / "plain.tif", values, descriptions=None)
    cutter = ChipCutter(scene, plain, tmp_path / "others", CuttingOptions(20))
    assert "0 is a class of" in " ".join(cutter.notes)
    cutter.close()


def test_names_of_categories_are_the_classes(scene: Path, tmp_path: Path) -> None:
    values = np.zeros((1, 200, 300), np.uint8)
    values[0, :, 150:] = 2
    labels = write_raster(tmp_path / "labels.tif", values, descriptions=None)
    (tmp_path / "labels.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>water</Category><Category>b</Category>"
        "<Category>forest</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert set(_cut(scene, labels, tmp_path / "chips")[0]["label"]) == {"water", "forest"}


def test_chips_without_data_or_labels_are_left_out_and_told(tmp_path: Path) -> None:
    values = scene_values()
    values[:, :100] = 0
    scene = write_raster(tmp_path / "scene.tif", values, nodata=0)
    polygons = write_polygons(tmp_path / "p.geojson", THIRDS[:2], CLASSES[:2])
    table, cutter = _cut(scene, polygons, tmp_path / "chips")
    assert len(table) == 5 * 10
    assert {"50 windows without labels are left out", "50 windows without data are left out"} <= set(cutter.notes)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("outside", {"shapes": [box_polygon(5000, 0, 10, 10)], "told": [{"class": "a"}]}, "no polygon of .* lies over"),
    (
        "points",
        {"shapes": [{"type": "Point", "coordinates": [WEST, NORTH]}], "told": [{"class": "a"}]},
        "no polygons but Point",
    ),
    ("beside", {"shapes": [box_polygon(300, 0, 10, 10)], "told": [{"class": "a"}]}, "no polygon of .* lies over"),
    ("empty", {"shapes": [], "told": []}, "holds no polygons: its layer '.*' is empty"),
    ("no shape", {"shapes": [None], "told": [{"class": "a"}]}, "no polygons but nothing"),
    ("no class", {"shapes": THIRDS[:1], "told": [{"class": None}]}, "has a value in its field 'class'"),
    (
        "overlap",
        {"shapes": [box_polygon(0, 0, 50, 50), box_polygon(40, 0, 50, 50)], "told": [{"class": "a"}, {"class": "b"}]},
        r"1 pairs of polygons of different classes overlap in .* 'a' and 'b' by 500 pixels",
    ),
    (
        "field",
        {"shapes": THIRDS, "told": CLASSES, "class_field": "land_cover"},
        "no field 'land_cover'; nearest: landcover",
    ),
    (
        "fields",
        {"shapes": THIRDS[:1], "told": [{"a": "x", "b": "y"}]},
        "fields a, b; choose the one of classes with --class_field",
    ),
    (
        "classes",
        {"shapes": [box_polygon(k, 0, 1, 1) for k in range(300)], "told": [{"class": f"{k}"} for k in range(300)]},
        "has 300 classes .* a mask holds at most 255",
    ),
    ("layer", {"shapes": THIRDS, "told": CLASSES, "layer": "polygon"}, "has no layer 'polygon' of shapes; nearest: p"),
]


@pytest.mark.parametrize(("name", "given", "text"), BAD, ids=[case[0] for case in BAD])
def test_labels_that_cannot_be_laid_are_refused(
    name: str, given: dict[str, Any], text: str, scene: Path, tmp_path: Path
) -> None:
    given = dict(given)
    file = write_polygons(tmp_path / "p.geojson", given.pop("shapes"), given.pop("told"))
    with pytest.raises(ValueError, match=text):
        _cut(scene, file, tmp_path / "chips", **given)
    assert not (tmp_path / "chips").exists()


def test_scenes_that_cannot_be_cut_are_refused(scene: Path, polygons: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"200 × 300 pixels, and a chip 256 × 256: choose --size 200 or less"):
        _cut(scene, polygons, tmp_path / "chips", size=256)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        bare = write_raster(tmp_path / "bare.tif", scene_values(), crs=None)
        with pytest.raises(ValueError, match="has no georeference"):
            _cut(bare, polygons, tmp_path / "chips")
    empty = write_raster(tmp_path / "empty.tif", scene_values() * 0, nodata=0)
    with pytest.raises(ValueError, match=r"150 too few data .* there is no chip to cut"):
        _cut(empty, polygons, tmp_path / "chips")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match=r"no file in .*nothing is called after a band"):
        _cut(tmp_path / "nothing", polygons, tmp_path / "chips")
    three = write_raster(tmp_path / "labels.tif", scene_values())
    with pytest.raises(ValueError, match="has 4 bands, and labels are one band"):
        _cut(scene, three, tmp_path / "chips")
    fractions = write_raster(tmp_path / "f.tif", np.full((1, 200, 300), 0.5, np.float32), descriptions=None)
    with pytest.raises(ValueError, match=r"values with fractions \(0.5\)"):
        _cut(scene, fractions, tmp_path / "chips")


def test_a_scene_that_is_cut_off_names_its_rows_and_leaves_no_output(polygons: Path, tmp_path: Path) -> None:
    plain = write_raster(tmp_path / "plain.tif", scene_values(), nodata=0)
    scene = tmp_path / "scene.tif"
    rasterio.shutil.copy(plain, scene, driver="COG", blocksize=128)  # its directory lies at the beginning
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size * 2 // 3])
    with pytest.raises(OSError, match=r"cannot be read in rows \d+ to \d+, columns .* damaged or cut off"):
        _cut(scene, polygons, tmp_path / "chips")
    assert not (tmp_path / "chips").exists()


def test_an_interrupted_cut_goes_on_and_an_output_is_not_replaced_unasked(
    scene: Path, polygons: Path, tmp_path: Path
) -> None:
    output = tmp_path / "chips"

    class StoppedError(Exception):
        pass

    def stop(count: int) -> None:
        if len(list((tmp_path / "chips.part" / "masks").iterdir())) == 30:
            raise StoppedError

    cutter = ChipCutter(scene, polygons, output, CuttingOptions(20))
    with pytest.raises(StoppedError):
        cutter.cut(stop)
    cutter.close()
    assert not output.exists()
    first = next((tmp_path / "chips.part" / "masks").iterdir())
    before = first.stat().st_mtime_ns
    with pytest.raises(ValueError, match="unfinished chips of another scene, labels or options"):
        _cut(scene, polygons, output, size=40)
    _cut(scene, polygons, output)
    assert (output / "masks" / first.name).stat().st_mtime_ns == before
    assert len(list((output / "images").iterdir())) == 150
    with pytest.raises(ValueError, match="is there already: take another name, or add --overwrite"):
        _cut(scene, polygons, output)
    cutter = ChipCutter(scene, polygons, output, CuttingOptions(40), overwrite=True)
    assert len(cutter.cut()) == 5 * 7
    cutter.close()


@pytest.mark.parametrize(("size", "stride"), [(20, 20), (20, 7), (64, 32), (200, 1)])
def test_windows_are_those_that_fit(size: int, stride: int) -> None:
    grid = ChipGrid(200, 300, size, stride)
    want = [
        (row, column, size, size)
        for row in range(200)
        for column in range(300)
        if row % stride == column % stride == 0 and row + size <= 200 and column + size <= 300
    ]
    assert grid.windows() == want
    assert grid.rest == (200 - want[-1][0] - size, 300 - want[-1][1] - size)
