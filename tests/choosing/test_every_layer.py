"""Means of each layer's output, of all families, against each layer's output by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cli_runs import make_job
from tiny_text import TEXTS, save_text_model
from torch import Tensor

from lightning_tl.backbones import Backbone, HuggingFaceText, HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.choosing.features.every_layer import LAST, EveryLayer


def _vit(folder: Path) -> Backbone:
    make_job(folder)
    return HuggingFaceVision(str(folder / "vit"))


def _timm(name: str, size: int) -> Callable[[Path], Backbone]:
    return lambda folder: TimmBackbone(name, weights=False, image_size=size)


FAMILIES: dict[str, Callable[[Path], Backbone]] = {
    "vit": _vit,
    "torchvision": lambda folder: TorchvisionResNet("resnet18", weights=None, image_size=32),
    "efficientnet": _timm("efficientnet-lite0", 32),
    "swin": _timm("swin_tiny_patch4_window7_224", 64),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_of_images(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = FAMILIES[family](tmp_path)
    every = EveryLayer(backbone)
    inputs = backbone.example_inputs(3)
    with torch.no_grad():
        found = every(inputs)
        assert torch.equal(found[:, every.columns[LAST]], backbone(inputs))
        one_by_one = torch.cat([every(inputs[k : k + 1]) for k in range(3)])
    assert found.shape == (3, every.feature_dim)
    assert torch.allclose(found, one_by_one, atol=1e-4)
    assert list(every.columns) == [group.name for group in backbone.layer_groups()] + [LAST]
    ends = [0, *(part.stop for part in every.columns.values())]
    assert [part.start for part in every.columns.values()] == ends[:-1]
    assert not any(module._forward_hooks for module in backbone.modules()), "nothing stays behind"


def test_widths_are_those_of_channels_wherever_they_stand() -> None:
    every = EveryLayer(TimmBackbone("swin_tiny_patch4_window7_224", weights=False, image_size=64))
    widths = {part.stop - part.start for part in every.columns.values()}
    assert widths == {96, 192, 384, 768}


@pytest.mark.parametrize("family", ["bert", "modernbert", "distilbert"])
def test_padding_is_left_out_of_the_mean(family: str, tmp_path: Path) -> None:
    backbone = HuggingFaceText(str(save_text_model(family, tmp_path))).eval()
    every = EveryLayer(backbone)
    with torch.no_grad():
        found = every(backbone.tokenize(TEXTS))
        alone = torch.cat([every(backbone.tokenize([text])) for text in TEXTS])
        hidden = backbone.model(**backbone.tokenize([TEXTS[0]]), output_hidden_states=True).hidden_states
    assert torch.allclose(found, alone, atol=1e-5)
    assert torch.allclose(found[0, every.columns["block.0"]], hidden[1][0].mean(0), atol=1e-5)


class Odd(HuggingFaceVision):
    """A backbone one of whose layers gives one output for all samples together."""

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Backbone`."""
        self.model.embeddings(inputs[:1])
        return torch.zeros(len(inputs), self.feature_dim)


def test_a_layer_without_one_output_for_each_sample_is_told(tmp_path: Path) -> None:
    make_job(tmp_path)
    with pytest.raises(ValueError, match=r"embeddings of Odd gives .* for 2 samples, which is not one output for each"):
        EveryLayer(Odd(str(tmp_path / "vit")))
    every = EveryLayer(HuggingFaceVision(str(tmp_path / "vit")))
    with pytest.raises(ValueError, match="export the backbone itself"):
        every.export(tmp_path, torch.nn.Identity(), ())
