"""Feature maps of every family, and every adaptation with a decoder over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TinyBackbone
from tiny_dense import FAMILIES, MAPS, dense_backbone, dense_batch
from torch import nn

from lightning_tl.adaptation import (
    Adaptation,
    Adapters,
    AdaptThenThaw,
    Frozen,
    Full,
    LoRA,
    Reinitialised,
    TopGroups,
    VisualPrompts,
)
from lightning_tl.backbones import ColourStatistics, LinearDecoder, PixelDecoder, PyramidDecoder
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.dense.give_maps import give_maps
from lightning_tl.backbones.dense.token_grids import grid_of_tokens
from lightning_tl.contracts.feature_maps import FeatureMaps
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import FineTune
from lightning_tl.tasks import OneLabel, PixelLabels

ADAPTATIONS: dict[str, Callable[[], Adaptation]] = {
    "frozen": Frozen,
    "full": Full,
    "top": lambda: TopGroups(1),
    "fresh": Reinitialised,
    "lora": lambda: LoRA(r=2),
    "adapters": lambda: Adapters(size=2),
    "prompts": lambda: VisualPrompts(3),
    "thaw": lambda: AdaptThenThaw(LoRA(r=2), 1),
}
_OF_ATTENTION = ("lora", "thaw", "adapters", "prompts")
# refused with one label a sample as well
BEYOND = {
    "swin": ("prompts",),
    "convnext": ("prompts",),
    "timm_convnext": ("prompts",),
    "timm_efficientnet": _OF_ATTENTION,
    "torchvision": _OF_ATTENTION,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dense")


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_fine_to_coarse(family: str, folder: Path) -> None:
    backbone = dense_backbone(family, folder).eval()
    batch = dense_batch(backbone)
    pooled = backbone(batch["inputs"])
    assert torch.equal(backbone.read(batch["inputs"]), pooled)  # a vector until maps are asked for
    give_maps(backbone)
    read = backbone.read(batch["inputs"])
    assert isinstance(read, FeatureMaps) and read.size == tuple(batch["inputs"].shape[2:])
    dims, sides = MAPS[family]
    assert [tuple(found.shape[1:]) for found in read.maps] == [(d, s, s) for d, s in zip(dims, sides, strict=True)]
    assert backbone.map_dims == dims
    assert backbone.map_strides == tuple(read.size[0] / side for side in sides)
    assert torch.equal(backbone(batch["inputs"]), pooled)  # constants are still read where they were


@pytest.mark.parametrize("family", FAMILIES)
def test_a_place_of_the_map_is_that_place_of_the_image(family: str, folder: Path) -> None:
    """Without mixing, so on the patches: what changes most lies where the image was changed."""
    backbone = dense_backbone(family, folder).eval()
    give_maps(backbone)
    images = dense_batch(backbone)["inputs"]
    side = images.shape[-1]
    changed = images.clone()
    changed[:, :, side // 2 :, : side // 2] += 3 * torch.randn(1, 3, side - side // 2, side // 2)  # lower left
    before, after = (backbone.read(each).maps[0] for each in (images, changed))
    moved = (after - before).detach().abs().mean((0, 1))
    half = moved.shape[0] // 2
    quarters = {
        (r, c): float(part.mean())
        for r, row in enumerate((moved[:half], moved[half:]))
        for c, part in enumerate((row[:, :half], row[:, half:]))
    }
    assert max(quarters, key=quarters.__getitem__) == (1, 0)


@pytest.mark.parametrize("name", ADAPTATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_trainable_parameter_is_in_one_group_and_learns(family: str, name: str, folder: Path) -> None:
    if name in BEYOND.get(family, ()):
        with pytest.raises(ValueError):
            ADAPTATIONS[name]().apply(dense_backbone(family, folder))
        return
    module = FineTune(
        dense_backbone(family, folder),
        adaptation=ADAPTATIONS[name](),
        num_classes=3,
        task=PixelLabels(),
        decoder=PyramidDecoder(8, stride=2),
    )
    module.configure_model()
    check_partition(module, module.layer_groups())
    listed = [n for g in module.layer_groups() if g.name in module.trainable_groups for n in g.parameter_names]
    trained = {n for n, parameter in module.named_parameters() if parameter.requires_grad}
    assert trained <= set(listed) and len(listed) == len(set(listed))
    output = module.step(dense_batch(module.backbone))  # type: ignore[arg-type]
    assert output.predictions.shape == (2, 3, *output.target.shape[1:])
    output.loss.backward()
    # a parameter that gets no gradient stops DDP
    assert [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None] == []


def test_prompts_leave_no_token_in_the_map(folder: Path) -> None:
    backbone = dense_backbone("vit", folder).eval()
    give_maps(backbone)
    VisualPrompts(5).apply(backbone)
    seen: list[torch.Tensor] = []
    last: Any = backbone.layer_groups()[-1].modules[0]
    last.register_forward_hook(lambda _, __, out: seen.append(out if isinstance(out, torch.Tensor) else out[0]))
    found = backbone.read(dense_batch(backbone)["inputs"]).maps[0]
    norm = backbone.model.layernorm  # type: ignore[union-attr]
    assert seen[0].shape[1] == 1 + 5 + 16
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), norm(seen[0])[:, 6:])


def test_tokens_become_a_grid_row_by_row() -> None:
    tokens = torch.arange(2 * 7 * 1.0).view(2, 7, 1)
    assert grid_of_tokens(tokens, 2, 3)[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert grid_of_tokens(tokens[:, :4], 4, 4)[0, 0].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="5 tokens are no grid"):
        grid_of_tokens(tokens[:, :5], 4, 4)


class Nowhere(TinyBackbone):
    """Has no maps, as a user's own backbone may have none."""


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: ColourStatistics(), "ColourStatistics .*no feature maps"), (Nowhere, "Nowhere tiny has no feature maps")],
)
def test_a_backbone_without_maps_is_refused(make: Callable[[], Backbone], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FineTune(make(), num_classes=2, task=PixelLabels()).configure_model()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": PixelLabels(), "head_hidden": 8}, "head_hidden is of a head over one vector"),
        ({"task": OneLabel(), "decoder": LinearDecoder()}, "decoder is for labels of pixels"),
    ],
)
def test_options_of_another_head(arguments: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message):
        FineTune(dense_backbone("vit", folder), num_classes=2, **arguments).configure_model()


@pytest.mark.parametrize("decoder", [LinearDecoder(), PyramidDecoder(16, 2)], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("family", ["vit", "convnext"])
def test_decoders_give_logits_of_the_size_of_the_image(family: str, decoder: PixelDecoder, folder: Path) -> None:
    backbone = dense_backbone(family, folder)
    give_maps(backbone)
    head = decoder.head(backbone.map_dims, backbone.map_strides, 5, 0.1)
    images = dense_batch(backbone)["inputs"]
    assert head(backbone.read(images)).shape == (2, 5, *images.shape[2:])


def test_linear_head_is_a_linear_layer_on_maps_side_by_side(folder: Path) -> None:
    backbone = dense_backbone("convnext", folder).eval()
    give_maps(backbone)
    read = backbone.read(dense_batch(backbone)["inputs"])
    head: Any = LinearDecoder().head(backbone.map_dims, backbone.map_strides, 4, 0.0)
    size = read.maps[0].shape[2:]
    grown = [nn.functional.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in read.maps]
    weight = torch.cat([layer.weight for layer in head.layers], 1)
    wanted = nn.functional.conv2d(torch.cat(grown, 1), weight, head.layers[0].bias)
    wanted = nn.functional.interpolate(wanted, size=read.size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(read), wanted)


@pytest.mark.parametrize(("width", "stride", "message"), [(12, 4, "multiple of 8"), (8, 0, "at least 1 pixel")])
def test_pyramid_arguments(width: int, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidDecoder(width, stride)
