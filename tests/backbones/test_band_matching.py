"""First layers fitted to other bands: by what they are, and said; bands that a backbone cannot read are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from lightning_tl.backbones import Backbone, ColourStatistics, HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.backbones.opening.band_matching import RGB, BandMatching, NewBands
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.layer_groups import check_partition

Make = Callable[..., Backbone]
BANDS = ("nir", "blue", "ndvi", "red", "green")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of weights for red, green and blue, one for each family."""
    root = tmp_path_factory.mktemp("weights")
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(**sizes, intermediate_size=32, image_size=16, patch_size=8)
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(root / "hf")
    small = TimmBackbone("test_efficientnet.r160_in1k", weights=False, image_size=32)
    small.export(root / "timm", nn.Linear(small.feature_dim, 2), ["a", "b"])
    TorchvisionResNet("resnet18", weights=None, image_size=32).export(root / "tv", nn.Linear(512, 2), ["a", "b"])
    return {name: str(root / name) for name in ("hf", "timm", "tv")}


def _families(folders: dict[str, str]) -> list[tuple[Make, str]]:
    makes: list[Make] = [HuggingFaceVision, TimmBackbone, TorchvisionResNet]
    return list(zip(makes, folders.values(), strict=True))


def _slow(weight: Tensor, known: tuple[str, ...], wanted: tuple[str, ...], how: str) -> Tensor:
    """An own account of the weights: one number after the other."""
    found = torch.zeros(weight.shape[0], len(wanted), *weight.shape[2:])
    for out in range(weight.shape[0]):
        for place, band in enumerate(wanted):
            for i in range(weight.shape[2]):
                for j in range(weight.shape[3]):
                    column = [float(weight[out, k, i, j]) for k in range(len(known))]
                    mean = sum(column) / len(column)
                    if how == "repeat":
                        value = column[place % len(known)] * len(known) / len(wanted)
                    else:
                        value = column[known.index(band)] if band in known else (mean if how == "mean" else 0.0)
                        if how == "mean" and set(wanted) - set(known):
                            value *= len(known) / len(wanted)
                    found[out, place, i, j] = value
    return found


@pytest.mark.parametrize("how", ["mean", "zero", "repeat"])
@pytest.mark.parametrize(
    "wanted", [BANDS, ("blue", "green", "red"), ("nir", "swir16"), ("green",), ("red", "green", "blue", "nir")]
)
def test_the_weights_of_each_band(how: NewBands, wanted: tuple[str, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 2, 2, generator=generator)
    fresh = torch.randn(2, len(wanted), 2, 2, generator=generator)
    found = BandMatching(RGB, wanted, how).weight(weight, fresh)
    assert torch.allclose(found, _slow(weight, RGB, wanted, how), atol=1e-6)


def test_fresh_weights_are_those_that_were_drawn() -> None:
    weight, fresh = torch.ones(2, 3, 1, 1), torch.full((2, 4, 1, 1), 7.0)
    found = BandMatching(RGB, ("nir", *RGB), "fresh").weight(weight, fresh)
    assert found[0, :, 0, 0].tolist() == [7.0, 1.0, 1.0, 1.0]


def test_new_bands_at_zero_change_no_feature(folders: dict[str, str]) -> None:
    for make, folder in _families(folders):
        plain, fitted = make(folder), make(folder, bands=BANDS, new_bands="zero")
        spec = fitted.input_spec
        assert isinstance(spec, ImageSpec)
        assert spec.bands == BANDS
        assert spec.channels == 5
        images = torch.randn(2, 5, spec.image_size, spec.image_size)
        rgb = images[:, [BANDS.index(band) for band in RGB]]
        assert torch.allclose(fitted.eval()(images), plain.eval()(rgb), atol=1e-5)
        check_partition(fitted, fitted.layer_groups())


def test_the_order_of_bands_changes_no_feature(folders: dict[str, str]) -> None:
    for make, folder in _families(folders):
        plain, turned = make(folder), make(folder, bands=("blue", "green", "red"))
        spec = turned.input_spec
        assert isinstance(spec, ImageSpec)
        images = torch.randn(2, 3, spec.image_size, spec.image_size)
        assert torch.allclose(turned.eval()(images), plain.eval()(images.flip(1)), atol=1e-5)


def test_what_the_data_say_is_taken_and_built_again(folders: dict[str, str]) -> None:
    for make, folder in _families(folders):
        backbone = make(folder)
        size = backbone.input_spec.image_size  # type: ignore[union-attr]
        spec = ImageSpec(size, 5, (0.1, 0.2, 0.3, 0.4, 0.5), (0.2,) * 5, BANDS)
        backbone.take_input(spec)
        assert backbone.input_spec == spec
        again = make(**backbone.arguments)
        assert again.input_spec == spec
        images = torch.randn(1, 5, size, size)
        assert torch.equal(again.eval()(images), backbone.eval()(images))


def test_an_export_keeps_the_order_of_bands_and_the_statistics_of_the_data(
    folders: dict[str, str], tmp_path: Path
) -> None:
    for number, (make, folder) in enumerate(_families(folders)):
        backbone = make(folder)
        size = backbone.input_spec.image_size  # type: ignore[union-attr]
        backbone.take_input(ImageSpec(size, 5, (0.1, 0.2, 0.3, 0.4, 0.5), (0.25,) * 5, BANDS))
        written = tmp_path / str(number)
        backbone.export(written, nn.Linear(backbone.feature_dim, 2), ["a", "b"])
        inner = written / "backbone" if (written / "backbone").is_dir() else written
        again = make(str(inner))
        assert again.input_spec == backbone.input_spec
        images = torch.randn(1, 5, size, size)
        assert torch.allclose(again.eval()(images), backbone.eval()(images), atol=1e-5)


def test_weights_with_bands_of_their_own(folders: dict[str, str], tmp_path: Path) -> None:
    thirteen = tuple(f"b{number:02}" for number in range(13))
    wide = HuggingFaceVision(folders["hf"], channels=13)
    wide.export(tmp_path / "wide", nn.Linear(16, 2), ["a", "b"])
    folder = tmp_path / "wide"

    def other(*bands: str, **more: Any) -> HuggingFaceVision:
        backbone = HuggingFaceVision(str(folder), **more)
        backbone.take_input(ImageSpec(16, len(bands), (0.5,) * len(bands), (0.5,) * len(bands), bands))
        return backbone

    with pytest.raises(ValueError, match="the weights do not say which bands they were trained with: name them"):
        other(*thirteen)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "bands": list(thirteen)}))
    turned = other(*thirteen[::-1])
    images = torch.randn(2, 13, 16, 16)
    assert torch.allclose(turned.eval()(images), wide.eval()(images.flip(1)), atol=1e-5)
    with pytest.raises(ValueError, match=": without b12 and with nir"):
        other(*thirteen[:12], "nir")
    assert other(*thirteen[:12], "nir", new_bands="mean").input_spec.channels == 13  # type: ignore[union-attr]
    assert other(*thirteen[::-1], weight_bands=thirteen).input_spec.channels == 13  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": ("red", "nir"), "channels": 3}, "channels is 3, but bands names 2: leave channels out"),
        ({"bands": ("red", "red")}, "bands must have different names, got red, red"),
        (
            {"new_bands": "zeros"},
            "new_bands must be one of mean, zero, fresh, repeat, got 'zeros'; did you mean 'zero'?",
        ),
        ({"weight_bands": ("red", "nir")}, "weight_bands names 2 bands, but the weights read 3 channels"),
    ],
)
def test_what_is_refused(folders: dict[str, str], arguments: dict[str, Any], message: str) -> None:
    for make, folder in _families(folders):
        with pytest.raises(ValueError) as caught:
            make(folder, **arguments)
        assert message in str(caught.value)


def test_what_was_done_is_said() -> None:
    told = BandMatching(RGB, ("nir", "red", "ndvi")).told()
    start = "The first layer is matched by band: red keep their weights; new bands (nir, ndvi) start from the mean; "
    assert told == f"{start}those of green, blue are dropped"
    told = BandMatching(RGB, ("B2", "B3")).told()
    assert told.startswith("None of the bands red, green, blue that the weights know is among B2, B3: ")


def test_an_adapted_backbone_keeps_its_bands(folders: dict[str, str]) -> None:
    backbone = HuggingFaceVision(folders["hf"])
    backbone.was_trained = True
    with pytest.raises(ValueError, match="cannot change to nir, red: build it anew"):
        backbone.take_input(ImageSpec(16, 2, (0.5,) * 2, (0.5,) * 2, ("nir", "red")))


def test_colours_of_any_bands() -> None:
    backbone = ColourStatistics()
    backbone.take_input(ImageSpec(32, 5, (0.5,) * 5, (0.5,) * 5, BANDS))
    assert backbone(torch.randn(2, 5, 32, 32)).shape == (2, backbone.feature_dim)
    assert ColourStatistics(**backbone.arguments).feature_dim == backbone.feature_dim
