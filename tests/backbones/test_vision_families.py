"""Families of transformers that read images, each built small: they open, train under every adaptation and export."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lightning_tl.adaptation import LoRA
from lightning_tl.backbones import HuggingFaceVision, load_exported
from lightning_tl.backbones.hugging_face.images.hugging_face_export import logits_of

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

from families import VISION
from family_checks import CLASSES, check_family
from small_vision import LEFT_OUT, SMALL, families, save_small

WIDE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
# One of each way of building: positions that are interpolated, a classifier taken whole, blocks found by structure,
# an image tower, patches instead of images, several classes of classifiers.
ALWAYS = ["beit", "cvt", "efficientnet", "levit", "poolformer", "siglip2"]
REFUSED = {
    "imagegpt": "is a 'imagegpt' model, which does not read images as pixels",
    "metaclip_2": "is a 'metaclip_2' model of images and texts, and transformers opens no .* alone",
    "timm_wrapper": "is a timm folder, not a Hugging Face one; open it with TimmBackbone",
}
ABSENT = {"dinat"}  # needs a library that has no wheel for this torch
LATER = [family for family in families() if family not in {*ALWAYS, *REFUSED, *ABSENT, *LEFT_OUT}]


def small(family: str, folder: Path, kind: int = 0) -> Path:
    return save_small(family, families()[family][kind], folder)


@pytest.mark.parametrize("family", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.whole) for name in LATER)])
def test_family(family: str, tmp_path: Path) -> None:
    quick = {name: VISION[name] for name in ("Full", "Frozen", "LoRA", "Adapters")} if family in ALWAYS else VISION
    folder = small(family, tmp_path / "model")
    row = check_family(family, lambda: HuggingFaceVision(str(folder)), quick, tmp_path / "out")
    assert row.wrong == {}
    assert row.whole
    for said in row.refused.values():
        assert "\n" not in said and "Traceback" not in said
        assert not said.endswith("all-linear") or any("linear" in known for known in said.split()[:-1])


@pytest.mark.parametrize("family", REFUSED)
def test_refused(family: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=REFUSED[family]):
        HuggingFaceVision(str(small(family, tmp_path)))


def test_every_family_has_a_place() -> None:
    assert {*ALWAYS, *LATER, *REFUSED, *ABSENT, *LEFT_OUT} == set(families())
    assert set(SMALL) <= set(families())


# ---------------------------------------------------------------- features are what the family's classifier reads


@torch.no_grad()
@pytest.mark.parametrize(
    "family", ["cvt", "poolformer", "swiftformer", "levit", "beit", "data2vec-vision", "hiera", "textnet", "hgnet_v2"]
)
def test_features_are_what_the_classifier_reads(family: str, tmp_path: Path) -> None:
    folder = small(family, tmp_path / "model")
    backbone = HuggingFaceVision(str(folder)).eval()
    model: Any = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    read: list[torch.Tensor] = []
    heads = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer.out_features == 5]
    for head in heads:
        head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    x = backbone.example_inputs(2)
    logits_of(model, x)
    assert heads
    torch.testing.assert_close(backbone(x), read[0].flatten(1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_image_towers_of_whole_models(tmp_path: Path) -> None:
    """CLIP and SigLIP of images and texts: the features are those of their image tower, opened by transformers."""
    pair = {"vision_config": {**WIDE, "image_size": 32, "patch_size": 8}, "text_config": {**WIDE, "vocab_size": 50}}
    for kind, config in (("CLIP", transformers.CLIPConfig(**pair)), ("Siglip", transformers.SiglipConfig(**pair))):
        torch.manual_seed(0)
        whole = getattr(transformers, f"{kind}Model")(config).eval()
        whole.save_pretrained(tmp_path / kind)
        backbone = HuggingFaceVision(str(tmp_path / kind)).eval()
        x = backbone.example_inputs(2)
        torch.testing.assert_close(backbone(x), whole.vision_model(pixel_values=x).pooler_output)
        assert backbone.input_spec.std[0] < 0.6  # CLIP's own or a half, where the folder says nothing
        names = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
        with torch.enable_grad():
            backbone(x).sum().backward()
        assert [name for name in names if backbone.get_parameter(name).grad is None] == []


# ---------------------------------------------------------------- other sizes of images


@torch.no_grad()
@pytest.mark.parametrize("family", ["siglip", "clip", "beit"])
@pytest.mark.parametrize("size", [16, 48])
def test_positions_are_interpolated_as_transformers_does(family: str, size: int, tmp_path: Path) -> None:
    folder = small(family, tmp_path / "model")
    backbone = HuggingFaceVision(str(folder), image_size=size).eval()
    assert backbone.input_spec.image_size == size
    x = backbone.example_inputs(2)
    known = HuggingFaceVision(str(folder)).eval().model
    asked = {} if family == "beit" else {"interpolate_pos_encoding": True}
    torch.testing.assert_close(backbone(x), known(pixel_values=x, **asked).pooler_output, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_positions_of_one_patch_more_stay_where_they_are(tmp_path: Path) -> None:
    """A control of the test above: positions of the wrong size would not go unseen."""
    folder = small("siglip", tmp_path / "model")
    backbone = HuggingFaceVision(str(folder), image_size=48).eval()
    x = backbone.example_inputs(2)
    other = copy.deepcopy(backbone)
    table = dict(other.model.named_parameters())["embeddings.position_embedding.weight"]
    table.copy_(table.flip(0))
    assert not torch.allclose(backbone(x), other(x), atol=1e-3)


@pytest.mark.parametrize(
    ("family", "settings", "size", "told"),
    [
        ("convnext", {"size": {"shortest_edge": 384}, "crop_pct": 1.0}, 384, None),
        ("convnext", {"size": {"shortest_edge": 384}, "crop_pct": 0.875}, 384, None),  # warped, not cropped
        ("convnext", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 224, "88%"),
        ("resnet", {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224, "88%"),
        ("resnet", {"size": 288}, 288, None),
        ("resnet", {"size": [96, 96]}, 96, None),
        ("resnet", {"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, 256, None),
        ("vit", {"size": {"height": 64, "width": 64}}, 32, None),  # its positions are for 32
        ("poolformer", {}, 224, None),
    ],
)
def test_size_of_the_preparation(
    family: str,
    settings: dict[str, Any],
    size: int,
    told: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = small(family, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    if family != "vit":
        config.pop("image_size", None)  # ConvNeXt's configuration then says 224, the others' nothing
        (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    logger = "lightning.pytorch.utilities.rank_zero"  # whose level an earlier test may have changed
    with caplog.at_level("INFO"), caplog.at_level("INFO", logger):
        assert HuggingFaceVision(str(folder)).input_spec.image_size == size
    said = [record.message for record in caplog.records if "middle" in record.message]
    assert [told in message for message in said if told] == [True] * bool(told) and bool(said) == bool(told)


def test_oblong_preparation_is_refused(tmp_path: Path) -> None:
    folder = small("resnet", tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 32, "width": 64}}))
    with pytest.raises(ValueError, match="only square images are supported"):
        HuggingFaceVision(str(folder))


@pytest.mark.parametrize("written", ["[]", '{"crop_pct": "x"}', "{"])
def test_damaged_preparation(written: str, tmp_path: Path) -> None:
    folder = small("resnet", tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(written)
    with pytest.raises(ValueError, match=r"preprocessor_config.json is damaged"):
        HuggingFaceVision(str(folder))


def test_a_family_without_an_encoder_gives_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a 'hgnet_v2' model of transformers has no encoder of its own; leave pooling"
    ):
        HuggingFaceVision(str(small("hgnet_v2", tmp_path)), pooling="mean")


# ---------------------------------------------------------------- what a first run leaves behind


@torch.no_grad()
def test_opening_leaves_nothing_behind(tmp_path: Path) -> None:
    """BEiT keeps the positions of its first run for all later ones, of every model of the size in the process."""
    folder = small("beit", tmp_path / "model")
    state = torch.get_rng_state()
    backbone = HuggingFaceVision(str(folder)).eval()
    assert torch.equal(torch.get_rng_state(), state)
    x = backbone.example_inputs(3)
    plain: Any = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    torch.testing.assert_close(plain.classifier(backbone(x)), plain(pixel_values=x).logits)
    torch.testing.assert_close(torch.cat([backbone(x[k : k + 1]) for k in range(3)]), backbone(x))


def test_lora_of_a_network_of_convolutions_offers_no_linear_layers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"these could be named: convolution \(\d+\)$"):
        LoRA().apply(HuggingFaceVision(str(small("resnet", tmp_path))))


@torch.no_grad()
def test_two_parts_of_a_classifier_taken_whole(tmp_path: Path) -> None:
    """A head that PoolFormer's classifier cannot hold lies beside it, and the classifier's own folder stays whole."""
    backbone = HuggingFaceVision(str(small("poolformer", tmp_path / "model"))).eval()
    width = backbone.feature_dim
    head = torch.nn.Sequential(torch.nn.Linear(width, 8), torch.nn.GELU(), torch.nn.Linear(8, 3)).eval()
    backbone.export(tmp_path / "out", head, CLASSES)
    x = backbone.example_inputs(2)
    torch.testing.assert_close(load_exported(tmp_path / "out")(x), head(backbone(x)))
    assert transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out" / "backbone") is not None
