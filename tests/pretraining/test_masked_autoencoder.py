"""The masked autoencoder: any vision transformer sees the visible patches alone, and restores the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from ranks import on_two_ranks
from tiny_dense import dense_backbone
from torch import Tensor, nn

from datamodules import UnlabelledLandCoverDataModule
from lightning_tl.backbones import Backbone, HuggingFaceVision, TimmBackbone
from lightning_tl.backbones.visible_tokens import VisibleTokens
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.pretraining import MaskedAutoencoder
from lightning_tl.pretraining.patch_decoder import PatchDecoder, patches_of
from lightning_tl.training.schedules import Constant

DECODER: dict[str, Any] = {"decoder_hidden_size": 16, "decoder_layers": 1, "decoder_heads": 2}
TRANSFORMERS = ["vit", "dinov2", "dinov2_registers", "timm_vit"]
OTHERS = ["swin", "convnext", "timm_swin", "timm_convnext", "timm_efficientnet", "torchvision"]


def images_for(backbone: Backbone, count: int = 3) -> Tensor:
    return backbone.example_inputs(count)  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_visible_tokens_know_their_places(family: str, tmp_path: Path) -> None:
    """All patches in another order are what the whole model gives, in that order; hidden ones play no part at all."""
    backbone = dense_backbone(family, tmp_path).eval()
    visible, images = VisibleTokens(backbone), images_for(backbone)
    count = visible.side**2
    order = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(k)) for k in range(3)])
    with torch.no_grad():
        grid = backbone.feature_maps(images)[0].flatten(2).transpose(1, 2)  # [batch, patches, dim]
        tokens = visible(images, order)
        assert tokens.shape == (3, visible.prefix + count, visible.dim) and visible.prefix >= 1
        for row in range(3):
            torch.testing.assert_close(tokens[row, visible.prefix :], grid[row, order[row]], atol=1e-5, rtol=1e-4)
        kept = order[:, : count // 2]
        half = visible(images, kept)
        hidden = torch.ones(3, count, dtype=torch.bool).scatter(1, kept, False)
        side, patch = visible.side, visible.patch
        mask = hidden.view(3, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
        torch.testing.assert_close(visible(torch.where(mask, torch.randn_like(images), images), kept), half)
        assert not torch.allclose(half[:, visible.prefix :], tokens[:, visible.prefix :][:, : count // 2], atol=1e-4)


@pytest.mark.parametrize("family", OTHERS)
def test_models_that_cannot_leave_patches_out(family: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    with pytest.raises(ValueError, match=r"on some of its patches alone \(.*\): take a ViT, DeiT or DINO"):
        MaskedAutoencoder(backbone, **DECODER)


class Given(nn.Module):
    """A decoder that knows what it will say."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        return self.pixels


def test_as_the_masked_autoencoder_of_transformers(tmp_path: Path) -> None:
    """The same weights and mask: the same tokens; and the loss is that of their formula."""
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    decoder = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    config = transformers.ViTMAEConfig(
        **size, **decoder, image_size=16, patch_size=4, mask_ratio=0.6, norm_pix_loss=True
    )
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    theirs.vit.embeddings.position_embeddings.data.normal_()
    theirs.vit.save_pretrained(tmp_path)
    module = MaskedAutoencoder(HuggingFaceVision(str(tmp_path)), **DECODER, normalise_patches=True).eval()
    module.configure_model()
    images, noise = torch.randn(5, 3, 16, 16), torch.rand(5, 16)
    kept = noise.argsort(1)[:, : module.kept_count]
    with torch.no_grad():
        expected = theirs(images, noise=noise)
        tokens = theirs.vit(images, noise=noise).last_hidden_state
        torch.testing.assert_close(module.visible(images, kept), tokens, atol=1e-5, rtol=1e-4)
        # their prediction in our decoder's place, its numbers in our order: channels first in a patch
        pixels = expected.logits.view(5, 16, 4, 4, 3).permute(0, 1, 4, 2, 3).reshape(5, 16, 48)
        module.decoder = Given(pixels)  # type: ignore[assignment]
    assert float(module.restored(images, kept)) == pytest.approx(float(expected.loss), rel=1e-4)


def slow_loss(module: MaskedAutoencoder, images: Tensor, kept: Tensor) -> float:
    """Patch by patch, pixel by pixel."""
    assert module.decoder is not None
    patch, side, total, count = module.visible.patch, module.visible.side, 0.0, 0
    found = module.decoder(module.visible(images, kept), kept)
    for row, image in enumerate(images):
        for place in range(side**2):
            if place in kept[row].tolist():
                continue
            top, left = place // side * patch, place % side * patch
            wanted = image[:, top : top + patch, left : left + patch].flatten()
            if module.normalise_patches:
                wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6).sqrt()
            total += float((found[row, place] - wanted).square().mean())
            count += 1
    return total / count


@pytest.mark.parametrize("normalise", [False, True])
def test_loss_is_that_of_a_slow_count(normalise: bool, tmp_path: Path) -> None:
    module = MaskedAutoencoder(tiny.tiny_vit(tmp_path), **DECODER, mask_ratio=0.5, normalise_patches=normalise).eval()
    module.configure_model()
    images = torch.randn(3, 3, 4, 4)
    kept = torch.rand(3, 4).argsort(1)[:, : module.kept_count]
    assert kept.shape == (3, 2)
    with torch.no_grad():
        assert float(module.restored(images, kept)) == pytest.approx(slow_loss(module, images, kept), rel=1e-5)


def test_patches_are_squares_of_the_image() -> None:
    images = torch.arange(2 * 3 * 8 * 8).view(2, 3, 8, 8).float()
    cut = patches_of(images, 4)
    assert cut.shape == (2, 4, 48)
    assert torch.equal(cut[1, 2], images[1, :, 4:, :4].flatten())


def test_hidden_patches_have_places() -> None:
    torch.manual_seed(0)
    decoder = PatchDecoder(8, 4, 12, 16, 1, 2).eval()
    with torch.no_grad():
        found = decoder(torch.randn(1, 1 + 4, 8), torch.tensor([[0, 5, 9, 15]]))
    assert found.shape == (1, 16, 12)
    apart = torch.cdist(found[0], found[0]) + 9 * torch.eye(16)
    assert apart.min() > 1e-3


class Tiles(UnlabelledLandCoverDataModule):
    def __init__(self, spec: ImageSpec, batch_size: int = 8) -> None:
        super().__init__(tiles_per_epoch=16, batch_size=batch_size, seed=1)
        self.wanted = spec

    def setup(self, stage: str) -> None:
        self.input_spec = self.wanted

    def fetch(self, indices: Any, epoch: int) -> Any:
        shape = (self.wanted.channels, self.wanted.image_size, self.wanted.image_size)
        images = [torch.randn(shape, generator=torch.Generator().manual_seed(int(k))) for k in indices]
        return {"inputs": torch.stack(images), "index": torch.from_numpy(indices)}


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_every_family_is_trained_on_its_bands_and_opens_again(family: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    size = backbone.input_spec.image_size  # type: ignore[union-attr]
    bands = ("nir", "red", "green", "blue", "swir16")
    spec = ImageSpec(size, 5, (0.1,) * 5, (0.2,) * 5, bands)
    module = MaskedAutoencoder(backbone, **DECODER, mask_ratio=0.5, schedule=Constant(), lr=1e-2)
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "proj" not in name}
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=Tiles(spec))
    after = backbone.state_dict()
    assert sum(not torch.equal(value, after[name]) for name, value in before.items()) > 10
    opened = type(backbone)(str(tmp_path / "model")).eval()
    assert opened.input_spec == spec
    images = torch.randn(3, 5, size, size)
    with torch.no_grad():
        torch.testing.assert_close(opened(images), module.eval().features(images))


def first_step(folder: str, devices: int) -> dict[str, Tensor]:
    """Under DDP no parameter may be without a gradient: this model has a norm behind its pooling."""
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit", image_size=32, weights=False)
    module = MaskedAutoencoder(backbone, **DECODER, mask_ratio=0.5, schedule=Constant())
    spec = ImageSpec(32, 3, (0.5,) * 3, (0.5,) * 3)
    strategy = "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, max_epochs=1, devices=devices, strategy=strategy)
    trainer.fit(module, datamodule=Tiles(spec, 8 // devices))
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    first, second = on_two_ranks(first_step, tmp_path, str(tmp_path), 2, seconds=300)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 1}, r"mask_ratio must be in \(0, 1\), got 1"),
        ({"mask_ratio": 0}, r"mask_ratio must be in \(0, 1\), got 0"),
        ({"mask_ratio": 0.9}, "mask_ratio 0.9 hides all or none of the 4 patches of an image"),
        ({"decoder_hidden_size": 15}, r"decoder_hidden_size must be divisible by decoder_heads \(2\), got 15"),
        ({"decoder_hidden_size": 18}, "decoder_hidden_size must be divisible by 4, got 18"),
        ({"decoder_layers": 0}, "decoder_layers must be at least 1, got 0"),
        ({"decoder_heads": 0}, "decoder_heads must be at least 1, got 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedAutoencoder(tiny.tiny_vit(tmp_path), **(DECODER | options)).configure_model()
