"""SimCLR over every family of backbones, from pretrained weights or none, of three bands or more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tiny_dense import FAMILIES, dense_backbone
from tiny_views import TwoViews

from datamodules.loading.loading import ResumableLoader
from lightning_tl.backbones import Backbone, HuggingFaceVision
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.pretraining import ContrastivePretraining
from lightning_tl.training.schedules import Constant

BANDS = ("nir", "red", "green", "blue", "swir16")


def fitted(backbone: Backbone, spec: ImageSpec, folder: Path, **options: Any) -> ContrastivePretraining:
    module = ContrastivePretraining(backbone, projection=8, schedule=Constant(), **options)
    tiny.tiny_trainer(folder, max_epochs=1).fit(module, datamodule=TwoViews(spec))
    return module


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_trained_and_opens_again(family: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    size = backbone.input_spec.image_size  # type: ignore[union-attr]
    spec = ImageSpec(size, 5, (0.1,) * 5, (0.2,) * 5, BANDS)
    module = fitted(backbone, spec, tmp_path)
    opened = type(backbone)(str(tmp_path / "model")).eval()
    assert opened.input_spec == spec
    images = torch.randn(3, 5, size, size)
    with torch.no_grad():
        torch.testing.assert_close(opened(images), module.eval().features(images))


def test_the_start_is_told(tmp_path: Path) -> None:
    spec = ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)
    fitted(tiny.tiny_vit(tmp_path), spec, tmp_path)
    told = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert told["started_from"] == str(tmp_path / "vit")
    fitted(HuggingFaceVision(str(tmp_path / "vit"), weights=False), spec, tmp_path / "fresh")
    told = json.loads((tmp_path / "fresh" / "model" / "provenance.json").read_text())
    assert told["started_from"] is None


class Few(TwoViews):
    """Fewer images than a batch holds."""

    indices = np.arange(3)

    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(self, self.indices, in_memory=True)


def test_a_step_of_fewer_images_than_a_batch_is_told(tmp_path: Path) -> None:
    module = ContrastivePretraining(tiny.tiny_vit(tmp_path), projection=8, schedule=Constant())
    data = Few(ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3))
    assert data.batch_size == 8
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
    told = json.loads((tmp_path / "model" / "provenance.json").read_text())
    assert told["images_per_step"] == 3 and told["data"] == "Few (3 samples)"


def test_images_of_another_size(tmp_path: Path) -> None:
    spec = ImageSpec(8, 3, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(
        ValueError, match=r"reads images of 4 x 4 pixels, and TwoViews makes them 8 x 8: set image_size"
    ):
        fitted(tiny.tiny_vit(tmp_path), spec, tmp_path)


def test_projection_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="projection must be at least 1, got 0"):
        ContrastivePretraining(tiny.tiny_vit(tmp_path), projection=0)
