"""Images of another size than a backbone's own: read as by a backbone that was opened for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_clip import save_clip
from tiny_dense import dense_backbone

from lightning_tl.backbones import Backbone, HuggingFaceCLIP, HuggingFaceVision, TimmBackbone


def timm_vit(folder: Path, image_size: int | None) -> Backbone:
    torch.manual_seed(0)
    if not (folder / "timm").exists():
        TimmBackbone("test_vit", image_size=64, weights=False).save(folder / "timm")
    return TimmBackbone(str(folder / "timm"), image_size=image_size)


def hugging_face(family: str, **options: str) -> Callable[[Path, int | None], Backbone]:
    def opened(folder: Path, image_size: int | None) -> Backbone:
        dense_backbone(family, folder)
        return HuggingFaceVision(str(folder / family), image_size=image_size, **options)  # type: ignore[arg-type]

    return opened


# how a family is opened at a size, and another size than its own
CASES: dict[str, tuple[Callable[[Path, int | None], Backbone], int]] = {
    "vit": (hugging_face("vit"), 8),
    "vit, larger": (hugging_face("vit"), 24),
    "vit, mean": (hugging_face("vit", pooling="mean"), 8),
    "dinov2": (hugging_face("dinov2"), 14),
    "convnext": (hugging_face("convnext"), 16),
    "timm": (timm_vit, 32),
}


@pytest.mark.parametrize("name", CASES)
def test_as_a_backbone_of_that_size(name: str, tmp_path: Path) -> None:
    opened, side = CASES[name]
    backbone, of_the_size = opened(tmp_path, None).eval(), opened(tmp_path, side).eval()
    own = backbone.example_inputs(2)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = backbone(own)
        backbone.take_sizes([side])
        torch.testing.assert_close(backbone(images), of_the_size(images), atol=1e-5, rtol=1e-4)
        assert torch.equal(backbone(own), before)


def test_registers_are_no_patches(tmp_path: Path) -> None:
    dense_backbone("dinov2_registers", tmp_path)
    backbone = HuggingFaceVision(str(tmp_path / "dinov2_registers"), pooling="mean").eval()
    backbone.take_sizes([14])
    images = torch.randn(2, 3, 14, 14)
    with torch.no_grad():
        tokens = backbone.model(images).last_hidden_state  # class token, 4 registers, 4 patches
        torch.testing.assert_close(backbone(images), tokens[:, 5:].mean(1))


def test_clip_reads_other_sizes(tmp_path: Path) -> None:
    backbone = HuggingFaceCLIP(str(save_clip("clip", tmp_path))).eval()
    with torch.no_grad():
        before = backbone(backbone.example_inputs(2))
        with pytest.raises(ValueError, match="doesn't match model"):
            backbone(torch.zeros(2, 3, 12, 12))
        backbone.take_sizes([12, 4])
        assert backbone(torch.zeros(2, 3, 12, 12)).shape == before.shape
        assert torch.equal(backbone(backbone.example_inputs(2)), before)


@pytest.mark.parametrize(("side", "message"), [(0, "at least 1 pixel, got 0"), (6, "do not tile 6 x 6: take 4 or 8")])
def test_sides_that_cannot_be(side: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        dense_backbone("vit", tmp_path).take_sizes([side])
