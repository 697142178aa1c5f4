"""Masks on the scene's grid and on others, against looking at each pixel's middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from tiny_scenes import NORTH, WEST, scene_values, write_raster

from lightning_tl.earth import open_raster
from lightning_tl.mapping.pixel_mask import PixelMask


@pytest.mark.parametrize(("pixel", "values"), [(10, (8, 9)), (20, (8, 9)), (7, (0, 9)), (30, None)])
def test_a_mask_on_any_grid_masks_pixels_by_their_middle(
    pixel: float, values: tuple[int, ...] | None, tmp_path: Path
) -> None:
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(40, 60)))
    rng = np.random.default_rng(0)
    stored = rng.choice([0, 4, 8, 9], (1, 1 + int(400 / pixel), 1 + int(600 / pixel))).astype(np.uint8)
    grid = rasterio.Affine(pixel, 0, WEST, 0, -pixel, NORTH)
    mask = PixelMask(raster, write_raster(tmp_path / "m.tif", stored, descriptions=None, transform=grid), 1, values)
    found = mask.masked((5, 7, 30, 50))
    wanted = (4, 8, 9) if values is None else values
    for row in range(30):
        for column in range(50):
            there = stored[0, int((row + 5.5) * 10 / pixel), int((column + 7.5) * 10 / pixel)]
            assert found[row, column] == (there in wanted)
    assert mask.notes == []


def test_a_mask_of_a_part_is_told_and_masks_nothing_else(tmp_path: Path) -> None:
    raster = open_raster(write_raster(tmp_path / "scene.tif", scene_values(40, 60)))
    half = write_raster(tmp_path / "half.tif", np.full((1, 40, 30), 9, np.uint8), descriptions=None)
    mask = PixelMask(raster, half, 1, (0, 9))
    assert mask.notes == ["the mask covers 50% of the scene; the rest is not masked"]
    found = mask.masked((0, 0, 40, 60))
    assert found[:, :30].all() and not found[:, 30:].any()
    fractions = write_raster(tmp_path / "f.tif", np.full((1, 40, 60), 0.5, np.float32), descriptions=None)
    with pytest.raises(ValueError, match=r"a mask holds whole numbers, and .* holds float32"):
        PixelMask(raster, fractions)
