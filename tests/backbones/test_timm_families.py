"""Families of timm, each built small: they open, train under every adaptation and export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from lightning_tl.backbones import TimmBackbone
from lightning_tl.backbones.timm_folder import write_timm_folder

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

from families import VISION
from family_checks import check_family
from small_timm import LEFT_OUT, SIDES, SMALL, families, save_small

# Positions with a class token, windows, plain convolutions, several tokens, weights of a classifier alone, no matcher.
ALWAYS = ["cait", "swin_transformer", "resnet", "efficientvim", "efficientnet", "metaformer"]
LATER = [family for family in families() if family not in {*ALWAYS, *LEFT_OUT}]


@pytest.mark.parametrize("family", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.whole) for name in LATER)])
def test_family(family: str, tmp_path: Path) -> None:
    quick = {name: VISION[name] for name in ("Full", "Frozen", "LoRA", "Adapters")} if family in ALWAYS else VISION
    folder = save_small(family, tmp_path / "model")
    row = check_family(family, lambda: TimmBackbone(str(folder)), quick, tmp_path / "out")
    assert row.wrong == {}
    assert row.whole


def test_every_family_has_a_place() -> None:
    assert {*SMALL, *LEFT_OUT} == set(families())
    assert set(SIDES) <= set(SMALL)


def test_layer_groups_of_a_model_without_a_matcher() -> None:
    backbone = TimmBackbone("poolformer_s12", image_size=32, weights=False)
    assert not hasattr(backbone.model, "group_matcher")
    names = [name for group in backbone.layer_groups() for name in group.parameter_names]
    assert sorted(names) == sorted(name for name, _ in backbone.named_parameters())
    assert len(backbone.layer_groups()) > 4
    assert any(name.startswith("model.stem") for name in backbone.layer_groups()[0].parameter_names)


def test_tokens_are_refused(tmp_path: Path) -> None:
    """A folder of a model that pools nothing: its features are no vector."""
    model: Any = timm.create_model("test_vit", num_classes=0, global_pool="", img_size=64)
    write_timm_folder(model, tmp_path, None, {"input_size": (3, 64, 64)})
    with pytest.raises(ValueError, match=r"VisionTransformer gives \[1, 17, 64\] for one image, not one vector"):
        TimmBackbone(str(tmp_path))


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"InceptionV4 takes no images of 16 x 16 pixels and 3 channels .*image_size"):
        TimmBackbone("inception_v4", image_size=16, weights=False)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 4, 12, 13])
def test_folders_with_arguments_and_bands(channels: int, tmp_path: Path) -> None:
    """What a folder's model was built with, and other bands, come back from the exported folder."""
    folder = save_small("beit", tmp_path / "model")
    backbone = TimmBackbone(str(folder), channels=channels).eval()
    head = torch.nn.Linear(backbone.feature_dim, 3)
    backbone.export(tmp_path / "out", head, ["a", "b", "c"])
    x = backbone.example_inputs(2)
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    torch.testing.assert_close(model(x), head(backbone(x)), rtol=1e-4, atol=1e-5)
    assert TimmBackbone(str(tmp_path / "out")).input_spec.channels == channels
