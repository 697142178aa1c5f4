"""Rasters without labels: read as labelled ones are, with views that a backbone of any bands is pretrained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_trainer, tiny_vit
from tiny_rasters import reflectances, write_product, write_raster

from datamodules import Augmentation, EarthDataModule, UnlabelledEarthDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.contracts.notice import Notice
from lightning_tl.pretraining import ContrastivePretraining

NAMES = ["B02", "B03", "B04", "B08"]


def tiles(root: Path, count: int = 6, names: Any = NAMES, **options: Any) -> Path:
    for k in range(count):
        write_raster(root / f"{'ab'[k % 2]}/{k}.tif", reflectances(len(names), 8, seed=k), names, **options)
    return root


def unlabelled(root: Path, **options: Any) -> UnlabelledEarthDataModule:
    given = {"image_size": 8, "sensor": "sentinel2", "num_workers": 0, "batch_size": 4, "seed": 2, **options}
    data = UnlabelledEarthDataModule(root, **given)
    data.setup("fit")
    return data


def test_pixels_are_those_of_labelled_rasters(tmp_path: Path) -> None:
    tiles(tmp_path, 12)
    reading: dict[str, Any] = {"bands": ["red", "B08"], "indices": ["ndvi"], "sensor": "sentinel2", "image_size": 8}
    data = unlabelled(tmp_path, bands=["red", "B08"], indices=["ndvi"], area=[1, 1], augmentation=Augmentation())
    labelled = EarthDataModule(tmp_path, **reading, num_workers=0)
    labelled.setup("fit")
    assert data.input_spec is not None and data.input_spec.bands == ("red", "nir", "ndvi") and data.channels == 3
    for index, name in enumerate(data.sample_ids(range(12))):
        same = data.pixels(index), labelled.pixels(labelled.records.ids.index(name))
        np.testing.assert_array_equal(same[0][..., :2], same[1][..., :2])
    every = np.stack([data.pixels(k) for k in range(12)]).reshape(-1, 3).astype(np.float64)
    assert data.input_spec.mean == pytest.approx(every.mean(0)) and data.input_spec.std == pytest.approx(every.std(0))
    inputs = data.samples.fetch(np.arange(12), 0)["inputs"]
    assert inputs.mean((0, 2, 3)).numpy() == pytest.approx([0, 0, 0], abs=1e-4)
    assert data.image(0).shape == (8, 8, 3)


def test_folders_of_one_file_a_band_are_samples(tmp_path: Path) -> None:
    for k in range(3):
        write_product(tmp_path / ("test" if k == 2 else "deep"), seed=k, name=f"S2A_MSIL2A_20170613T101031_{k}_48")
    data = unlabelled(tmp_path, bands=["B02", "B05", "B01"], sensor=None, views=2, local_views=2, image_size=12)
    assert len(data.indices) == 2 and data.dropped == {"images in folders of validation or test": 1}
    batch = next(iter(data.train_dataloader()))
    assert batch["inputs"].shape == (2, 2, 3, 12, 12) and batch["local"].shape == (2, 2, 3, 6, 6)


def test_pixels_without_data_have_the_mean(tmp_path: Path) -> None:
    for k in range(3):
        values = reflectances(4, 8, seed=k)
        values[:, :2] = 0
        write_raster(tmp_path / f"{k}.tif", values, NAMES, nodata=0)
    write_raster(tmp_path / "empty.tif", np.zeros((4, 8, 8), np.uint16), NAMES, nodata=0)
    with pytest.raises(ValueError, match=r"no data in all of its pixels.*set on_bad_image to skip"):
        unlabelled(tmp_path)
    with pytest.warns(Notice, match="skipped 1 of 4 images"):
        data = unlabelled(tmp_path, on_bad_image="skip", area=[1, 1], augmentation=Augmentation())
    inputs = data.samples.fetch(data.indices, 0)["inputs"]
    assert inputs[:, :, :2].abs().max() < 1e-4 and inputs[:, :, 2:].std() > 0.9


def test_a_backbone_is_pretrained_on_its_bands(tmp_path: Path) -> None:
    """The folder then names the bands."""
    data = UnlabelledEarthDataModule(
        tiles(tmp_path / "tiles"), sensor="sentinel2", views=2, batch_size=3, num_workers=0, seed=0
    )
    module = ContrastivePretraining(tiny_vit(tmp_path), projection=4)
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
    assert data.samples.clean_workers, "forks of a process that used GDAL may wait without end"
    opened = HuggingFaceVision(str(tmp_path / "model"))
    assert opened.input_spec == data.input_spec and opened.input_spec.bands == ("blue", "green", "red", "nir")
    assert opened(torch.randn(2, 4, 4, 4)).shape == (2, opened.feature_dim)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"composite": "pink"}, "composite must be true, false, swir, got 'pink'"),
        ({"bands": ["swir16"]}, "swir16"),
        ({"most_missing": 2}, r"most_missing must be in \[0, 1\]"),
        ({"sensor": "none"}, "sensor"),
        ({"views": 3}, "views must be 1 or 2, got 3"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        unlabelled(tiles(tmp_path, 2), **options)
