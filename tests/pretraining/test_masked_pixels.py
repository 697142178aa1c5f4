"""Masked pixels: every family with feature maps restores hidden squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from ranks import on_two_ranks
from tiny_crops import CroppedImages
from tiny_dense import dense_backbone
from tiny_steps import FirstStep
from tiny_views import TwoViews
from torch import Tensor, nn

from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.pretraining import MaskedPixels
from lightning_tl.training.schedules import Constant

FAMILIES = ["vit", "swin", "convnext", "timm_vit", "timm_convnext", "timm_efficientnet", "torchvision"]
BANDS = ("nir", "red", "green", "blue", "swir16")


class OneView(TwoViews):
    def fetch(self, indices: Any, epoch: int) -> dict[str, Tensor]:
        batch = super().fetch(indices, epoch)
        return {**batch, "inputs": batch["inputs"][:, 0]}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_trained_on_its_bands_and_opens_again(family: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    size = backbone.input_spec.image_size  # type: ignore[union-attr]
    spec = ImageSpec(size, 5, (0.1,) * 5, (0.2,) * 5, BANDS)
    module = MaskedPixels(backbone, mask_size=4, schedule=Constant())
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=OneView(spec))
    opened = type(backbone)(str(tmp_path / "model")).eval()
    assert opened.input_spec == spec
    images = torch.randn(3, 5, size, size)
    with torch.no_grad():
        torch.testing.assert_close(opened(images), module.eval().features(images))


# -------------------------------------------------------------------- several processes


class SameEverywhere(CroppedImages):
    """One view, whose noise is that of the image whatever batch it comes in."""

    def fetch(self, indices: Any, epoch: int) -> dict[str, Any]:
        batch = super().fetch(indices, epoch)
        return {**batch, "inputs": batch["inputs"][:, 0]}


class HiddenByNumber(MaskedPixels):
    """What is hidden depends on the image alone, so that it is the same in however many processes."""

    def hidden_squares(self, batch: Any) -> Tensor:
        keys = [torch.Generator().manual_seed(int(number)) for number in batch["index"]]
        order = torch.stack([torch.rand(self.side**2, generator=key).argsort() for key in keys])
        return order[:, : self.hidden_count]


def first_step(folder: str, family: str, devices: int) -> tuple[float, dict[str, Tensor], str]:
    seen, strategy = FirstStep(), "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, [seen], max_epochs=1, max_steps=1, devices=devices, strategy=strategy)
    backbone = dense_backbone(family, Path(folder))
    module = HiddenByNumber(backbone, mask_size=4, schedule=Constant())
    spec = backbone.input_spec
    assert isinstance(spec, ImageSpec)
    data = SameEverywhere(spec, views=1, local_views=0, batch_size=8 // devices)
    torch.manual_seed(0)
    module.configure_model()
    trainer.fit(module, datamodule=data)
    return *seen.result, tiny.weights_hash(module)


@pytest.mark.parametrize("family", ["vit", "convnext"])  # in which nothing is dropped at random
def test_two_processes_are_one_with_the_whole_batch(family: str, tmp_path: Path) -> None:
    dense_backbone(family, tmp_path)
    (loss_0, first, weights_0), (loss_1, second, weights_1) = on_two_ranks(
        first_step, tmp_path, str(tmp_path), family, 2, seconds=300
    )
    loss, whole, _ = first_step(str(tmp_path), family, 1)
    assert (loss_0 + loss_1) / 2 == pytest.approx(loss, abs=1e-5) and loss_0 != loss_1
    assert weights_0 == weights_1
    assert first.keys() == whole.keys() and len(whole) > 10 and "hidden_value" in whole
    for name, gradient in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, atol=2e-6, rtol=1e-3)


class Remembering(nn.Module):
    """Keeps the images that the backbone is shown."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.input_spec, self.arguments = inner, inner.input_spec, inner.arguments

    def feature_maps(self, images: Tensor) -> Any:
        self.shown = images.detach()
        return self.inner.feature_maps(images)


def test_loss_and_mask_are_those_of_a_slow_count(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MaskedPixels(dense_backbone("vit", tmp_path), mask_size=8, mask_ratio=0.5).eval()
    module.configure_model()
    module.backbone = watched = Remembering(module.backbone)  # type: ignore[assignment]
    module.hidden_value.data = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    images, hidden = torch.randn(2, 3, 16, 16), torch.tensor([[0, 3], [2, 1]])
    with torch.no_grad():
        loss = float(module.restored(images, hidden))
        assert module.head is not None
        found = module.head(watched.inner.feature_maps(watched.shown)[-1])
    total, count = 0.0, 0
    for row in range(2):
        for y in range(16):
            for x in range(16):
                masked = y // 8 * 2 + x // 8 in hidden[row].tolist()
                expected = torch.tensor([1.0, 2.0, 3.0]) if masked else images[row, :, y, x]
                assert torch.equal(watched.shown[row, :, y, x], expected)
                if masked:
                    total += float((found[row, :, y, x] - images[row, :, y, x]).abs().sum())
                    count += 3
    assert loss == pytest.approx(total / count, rel=1e-5) and module.hidden_count == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": 1}, r"mask_ratio must be in \(0, 1\), got 1"),
        ({"mask_ratio": 0.01}, "mask_ratio 0.01 hides all or none of the 4 squares"),
        ({"mask_size": 0}, "mask_size must be at least 1 pixel, got 0"),
        ({"mask_size": 3}, "images of 4 pixels are no two or more squares of 3: set mask_size"),
        ({"mask_size": 4}, "images of 4 pixels are no two or more squares of 4"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        MaskedPixels(tiny.tiny_vit(tmp_path), **options).configure_model()


def test_views_that_it_does_not_take(tmp_path: Path) -> None:
    spec = ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match=r"inputs must be \[batch, channels, height, width\].*set views: 1"):
        tiny.tiny_trainer(tmp_path).fit(MaskedPixels(tiny.tiny_vit(tmp_path)), datamodule=TwoViews(spec))
