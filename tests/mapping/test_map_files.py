"""The files of a map, as GDAL reads them; and a disk that is full."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from lightning_tl.contracts.class_colours import class_colours
from lightning_tl.earth.layers import Grid
from lightning_tl.mapping.block_parts import BlockParts
from lightning_tl.mapping.map_files import MapFiles
from lightning_tl.mapping.map_summary import MapSummary
from lightning_tl.mapping.painted_block import NO_CLASS, PaintedBlock
from lightning_tl.mapping.plans import TilePlan, blocks

NAMES = ("Forest & wood", "water", "<urban>")
COLOURS = class_colours(NAMES)


@pytest.fixture
def made(tmp_path: Path) -> tuple[MapFiles, BlockParts, list[tuple[int, int, int, int]], np.ndarray]:
    plan = TilePlan(700, 900, 8, 4, 256)
    places = blocks(plan)
    rng = np.random.default_rng(0)
    classes = np.repeat(np.repeat(rng.integers(0, 3, (88, 113)), 8, 0), 8, 1)[:700, :900].astype(np.uint8)
    classes[:50] = NO_CLASS
    parts = BlockParts(tmp_path / "map.tif", {"sha256": "x"}, len(places), {})
    parts.begin(False)
    for number, (row, column, height, width) in enumerate(places):
        part = classes[row : row + height, column : column + width]
        found = np.stack([np.where(part == k, 0.8, 0.1) for k in range(3)]).astype(np.float32)
        parts.keep(number, PaintedBlock.of(found, part != NO_CLASS, True), "digest")
    grid = Grid(700, 900, rasterio.crs.CRS.from_epsg(32633), rasterio.Affine(10, 0, 500_000, 0, -10, 5_500_000))
    return MapFiles(tmp_path / "map.tif", grid, NAMES, COLOURS, True, {"SCENE": "s.tif"}), parts, places, classes


def test_gdal_reads_colours_names_and_place_from_a_cog(made: tuple, tmp_path: Path) -> None:
    files, parts, places, classes = made
    files.write(parts, places)
    summary = MapSummary.of(parts, places, files.grid, (NAMES, COLOURS), {"scene": "s.tif"})
    summary.write(files.output)
    with rasterio.open(files.output) as file:
        assert (file.read(1) == classes).all()
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2]
        assert (file.nodata, file.crs, file.descriptions) == (NO_CLASS, files.grid.crs, ("class",))
        assert file.transform == files.grid.transform
        assert [file.colormap(1)[k][:3] for k in range(3)] == COLOURS
        assert file.tags()["CLASS_2"] == "<urban>" and file.tags()["SCENE"] == "s.tif"
    rasterio.shutil.copy(files.output, tmp_path / "map.vrt", driver="VRT")  # shows what GDAL knows of names
    names = [each.text for each in ET.parse(tmp_path / "map.vrt").iter("Category")]
    assert names == list(NAMES)
    with rasterio.open(files.confidence) as file:
        found = file.read(1)
        assert set(np.unique(found[classes != NO_CLASS])) == {80} and (found[classes == NO_CLASS] == 255).all()
        assert file.scales == (0.01,)
    with rasterio.open(tmp_path / "map.probabilities.tif") as file:
        assert file.descriptions == NAMES and file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (file.read()[:, 100, 100] == np.where(np.arange(3) == classes[100, 100], 8000, 1000)).all()
    assert summary.pixels.tolist() == [int((classes == k).sum()) for k in range(3)]
    assert summary.missing == 50 * 900
    assert summary.km2 is not None and summary.km2.sum() == pytest.approx(650 * 900 * 1e-4, rel=1e-2)
    assert "| Forest & wood |" in (tmp_path / "map.md").read_text(encoding="utf-8")
    assert (tmp_path / "map.png").stat().st_size > 5_000


def test_a_disk_that_is_full_is_told_and_leaves_the_blocks(made: tuple, tmp_path: Path) -> None:
    files, parts, places, _ = made
    code = f"""
        import resource, signal
        from pathlib import Path
        import rasterio
        from lightning_tl.earth.layers import Grid
        from lightning_tl.mapping.block_parts import BlockParts
        from lightning_tl.mapping.map_files import MapFiles
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # no file may grow further
        grid = Grid(700, 900, rasterio.crs.CRS.from_epsg(32633), rasterio.Affine(10, 0, 5e5, 0, -10, 55e5))
        output = Path({str(tmp_path / "map.tif")!r})
        parts = BlockParts(output, {{"sha256": "x"}}, {len(places)}, {{}})
        try:
            MapFiles(output, grid, {NAMES!r}, {COLOURS!r}, False, {{}}).write(parts, {places!r})
        except OSError as error:
            print("told:", error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert "told:" in done.stdout, done.stderr
    assert "could not be written" in done.stdout and "is the disk full" in done.stdout
    assert not files.output.exists() and not files.confidence.exists()
    assert parts.missing(range(len(places))) == []
    files.write(parts, places)  # with room again
    assert files.output.is_file()


@pytest.mark.parametrize(
    "names",
    [("forest", "deciduous forest", "pine forest"), tuple(f"class {k}" for k in range(255)), ("water", "water body")],
)
def test_colours_of_classes_differ(names: tuple[str, ...]) -> None:
    colours = class_colours(names)
    assert len(set(colours)) == len(names) and all(0 <= value <= 255 for colour in colours for value in colour)


def test_parts_of_files_that_changed_are_not_taken_for_fresh(tmp_path: Path) -> None:
    block = PaintedBlock.of(np.full((2, 4, 4), 0.5, np.float32), np.ones((4, 4), bool), False)
    parts = BlockParts(tmp_path / "a.tif", {"sha256": "x"}, 2, {"scene": [1, 2]})
    parts.begin(False)
    parts.keep(0, block, "digest")
    assert parts.fresh(0) and not parts.has(1)
    other = BlockParts(tmp_path / "a.tif", {"sha256": "x"}, 2, {"scene": [1, 3]})
    other.begin(False)
    assert not other.fresh(0) and other.has(0) and other.pixels(0) == "digest"
    with pytest.raises(ValueError, match="holds parts of another job"):
        BlockParts(tmp_path / "a.tif", {"sha256": "y"}, 2, {}).begin(False)
