"""A backbone without a head is saved as a folder that opens again, whatever its family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import TinyBackbone
from tiny_dense import FAMILIES, dense_backbone

from lightning_tl.contracts.batches import ImageSpec

BANDS = ("red", "green", "blue", "nir")


@pytest.mark.parametrize("bands", [(), BANDS], ids=["rgb", "four bands"])
@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_bands_come_back(family: str, bands: tuple[str, ...], tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    spec = backbone.input_spec
    assert isinstance(spec, ImageSpec)
    if bands:
        backbone.take_input(ImageSpec(spec.image_size, 4, (0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8), bands))
    backbone.save(tmp_path / "saved")
    opened = type(backbone)(str(tmp_path / "saved"))
    assert opened.input_spec == backbone.input_spec
    images = backbone.example_inputs(2)
    with torch.no_grad():
        torch.testing.assert_close(opened.eval()(images), backbone.eval()(images))


def test_a_family_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TinyBackbone has no folder of its own: it does not override save"):
        TinyBackbone().save(tmp_path)
