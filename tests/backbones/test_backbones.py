"""Backbones of every family: features, layer groups, other image sizes and channels, parameter counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from lightning_tl.adaptation import Adaptation, Frozen, Full, Reinitialised, TopGroups
from lightning_tl.backbones import Backbone, HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.contracts.layer_groups import check_partition, frozen_to_eval
from lightning_tl.strategies.fine_tune import FineTune

VIT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TINY: dict[str, tuple[Any, Any]] = {
    "vit": (transformers.ViTForImageClassification, transformers.ViTConfig(**VIT, image_size=16, patch_size=4)),
    "dinov2": (
        transformers.Dinov2ForImageClassification,
        transformers.Dinov2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7
        ),
    ),
    "swin": (
        transformers.SwinForImageClassification,
        transformers.SwinConfig(
            embed_dim=16, depths=[1, 2], num_heads=[2, 2], window_size=2, image_size=16, patch_size=2
        ),
    ),
    "dinov2_registers": (
        transformers.Dinov2WithRegistersForImageClassification,
        transformers.Dinov2WithRegistersConfig(**VIT, image_size=28, patch_size=7),
    ),
    "resnet": (
        transformers.ResNetForImageClassification,
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"),
    ),
    "convnext": (
        transformers.ConvNextForImageClassification,
        transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, image_size=32),
    ),
    "vit_mae": (
        transformers.ViTMAEForPreTraining,
        transformers.ViTMAEConfig(
            **VIT,
            image_size=16,
            patch_size=4,
            decoder_hidden_size=16,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=32,
        ),
    ),
}
GROUPS = {"vit": 3, "dinov2": 3, "swin": 4, "convnext": 4, "vit_mae": 3, "dinov2_registers": 3, "resnet": 4}
WIDTHS = {family: 16 if family in ("convnext", "resnet") else 32 for family in TINY}
OTHERS: dict[str, tuple[Callable[[], Backbone], int, int]] = {  # constructor, width, number of groups
    "timm_vit": (lambda: TimmBackbone("vit_tiny_patch16_224", image_size=32, weights=False), 192, 13),
    "timm_resnet": (lambda: TimmBackbone("resnet18", image_size=32, weights=False), 512, 9),
    "timm_efficientnet": (lambda: TimmBackbone("efficientnet-lite0", image_size=32, weights=False), 1280, 17),
    "torchvision": (lambda: TorchvisionResNet("resnet18", weights=None, image_size=32), 512, 9),
}
FAMILIES = [*TINY, *OTHERS]


def save_tiny(family: str, folder: Path) -> Path:
    """A folder as `save_pretrained` of the whole model writes it, with random weights that no zeros hide."""
    torch.manual_seed(0)
    model, config = TINY[family]
    saved = model(config)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    saved.save_pretrained(folder / family)
    return folder / family


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {family: str(save_tiny(family, root)) for family in TINY}


def build(family: str, folders: dict[str, str]) -> Backbone:
    return HuggingFaceVision(folders[family]) if family in TINY else OTHERS[family][0]()


def images(backbone: Backbone, batch: int = 2) -> torch.Tensor:
    spec = backbone.input_spec
    return torch.randn(
        batch, spec.channels, spec.image_size, spec.image_size, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_groups(family: str, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    width, count = (WIDTHS[family], GROUPS[family]) if family in TINY else OTHERS[family][1:]
    assert backbone.feature_dim == width
    assert backbone.eval()(images(backbone)).shape == (2, width)
    names = [group.name for group in backbone.layer_groups()]
    assert names == ["embeddings", *(f"block.{k}" for k in range(count - 1))]
    backbone.train()
    backbone(images(backbone)).square().sum().backward()
    # a parameter that gets no gradient stops DDP
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_modules_of_groups_are_disjoint_and_complete(family: str, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    groups = backbone.layer_groups()
    listed = [id(inner) for group in groups for module in group.modules for inner in module.modules()]
    assert len(listed) == len(set(listed))
    backbone.train()
    frozen_to_eval(groups, ())
    leaves = [module for module in backbone.modules() if not list(module.children())]
    assert not any(leaf.training for leaf in leaves)
    backbone.train()
    frozen_to_eval(groups, {groups[-1].name})
    trained = {name for name, module in backbone.named_modules() if module.training and not list(module.children())}
    own = {name.rpartition(".")[0] for name in groups[-1].parameter_names}
    assert own - {""} >= {name for name in trained if any(True for _ in backbone.get_submodule(name).parameters())}


@pytest.mark.parametrize(
    "adaptation",
    [Frozen(), Full(), Reinitialised(), TopGroups(1), TopGroups(2)],
    ids=lambda adaptation: type(adaptation).__name__,
)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_in_one_group(family: str, adaptation: Adaptation, folders: dict[str, str]) -> None:
    module = FineTune(build(family, folders), adaptation=adaptation, num_classes=3)
    module.configure_model()
    check_partition(module, module.layer_groups())
    by_group = {
        name
        for group in module.layer_groups()
        if group.name in module.trainable_groups
        for name in group.parameter_names
    }
    assert {name for name, parameter in module.named_parameters() if parameter.requires_grad} == by_group


@pytest.mark.parametrize("family", FAMILIES)
def test_reinitialise(family: str, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    before = {name: value.clone() for name, value in backbone.named_parameters() if value.ndim > 1}
    torch.manual_seed(3)
    backbone.reinitialise()
    first = {name: value.clone() for name, value in backbone.named_parameters()}
    changed = [name for name in before if not torch.equal(before[name], first[name])]
    assert len(changed) > len(before) / 2
    torch.manual_seed(3)
    backbone.reinitialise()
    assert all(torch.equal(value, first[name]) for name, value in backbone.named_parameters())


def test_downsampling_goes_with_the_next_block(folders: dict[str, str]) -> None:
    for family in ("swin", "convnext"):
        groups = {group.name: group.parameter_names for group in build(family, folders).layer_groups()}
        holders = {name for name, members in groups.items() if any("downsampl" in member for member in members)}
        assert holders == {"block.1"}
        assert any(member == "model.layernorm.weight" for member in groups["block.2"])


def test_timm_norm_before_the_blocks_goes_with_the_stem() -> None:
    with torch.device("meta"):
        groups = TimmBackbone("vit_base_patch16_clip_224", weights=False).layer_groups()
    assert "model.norm_pre.weight" in groups[0].parameter_names
    assert "model.norm.weight" in groups[-1].parameter_names


# ---------------------------------------------------------------- pooling


def reference(family: str, folders: dict[str, str]) -> Any:
    return transformers.AutoModelForImageClassification.from_pretrained(folders[family]).eval()


@torch.no_grad()
def test_pooling_is_that_of_the_family(folders: dict[str, str]) -> None:
    for family, inner in (("vit", "vit"), ("dinov2", "dinov2"), ("swin", "swin"), ("convnext", "convnext")):
        backbone = HuggingFaceVision(folders[family]).eval()
        x = images(backbone)
        full = reference(family, folders)
        hidden = getattr(full, inner)(x)
        if family in ("vit", "dinov2"):
            torch.testing.assert_close(backbone(x), hidden.last_hidden_state[:, 0])
            mean = HuggingFaceVision(folders[family], pooling="mean").eval()(x)
            torch.testing.assert_close(mean, hidden.last_hidden_state[:, 1:].mean(1))
        else:
            torch.testing.assert_close(full.classifier(backbone(x)), full(x).logits)


def test_pooling_cls_needs_a_class_token(folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="pooling 'cls' needs a class token, which swin has not"):
        HuggingFaceVision(folders["swin"], pooling="cls")
    with pytest.raises(ValueError, match="pooling must be auto, cls or mean, got 'max'"):
        HuggingFaceVision(folders["vit"], pooling="max")  # type: ignore[arg-type]


@torch.no_grad()
def test_masked_autoencoder_opens_as_plain_vit(folders: dict[str, str]) -> None:
    backbone = HuggingFaceVision(folders["vit_mae"]).eval()
    assert type(backbone.model) is transformers.ViTModel
    mae: Any = transformers.ViTMAEModel.from_pretrained(folders["vit_mae"], mask_ratio=0.0)
    mae.eval()
    x = images(backbone)
    # without masking the autoencoder only shuffles patches, to which the class token is blind
    torch.testing.assert_close(backbone(x), mae(x).last_hidden_state[:, 0], rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- image size and channels


@torch.no_grad()
@pytest.mark.parametrize(("family", "size"), [("vit", 24), ("vit", 8), ("dinov2", 42), ("swin", 32), ("convnext", 64)])
def test_other_image_size_against_transformers(family: str, size: int, folders: dict[str, str]) -> None:
    backbone = HuggingFaceVision(folders[family], image_size=size).eval()
    assert backbone.input_spec.image_size == backbone.model.config.image_size == size
    original = HuggingFaceVision(folders[family]).eval().model
    interpolate = {"interpolate_pos_encoding": True} if family == "vit" else {}  # the others do it unasked
    out = original(pixel_values=images(backbone), **interpolate)
    expected = out.pooler_output if family in ("swin", "convnext") else out.last_hidden_state[:, 0]
    torch.testing.assert_close(backbone(images(backbone)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: HuggingFaceVision(f["vit"], image_size=18), "multiple of the patch size 4, got 18; try 16 or 20"),
        (lambda f: HuggingFaceVision(f["swin"], image_size=17), "multiple of the patch size 2, got 17"),
        (
            lambda f: TimmBackbone("vit_tiny_patch16_224", image_size=100, weights=False),
            "multiple of the patch size 16, got 100; try 96 or 112",
        ),
    ],
)
def test_image_size_not_divisible(make: Any, message: str, folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=message):
        make(folders)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 5, 6])
@pytest.mark.parametrize("family", ["vit", "dinov2", "swin", "convnext"])
def test_channels(family: str, channels: int, folders: dict[str, str]) -> None:
    original = HuggingFaceVision(folders[family]).eval()
    backbone = HuggingFaceVision(folders[family], channels=channels).eval()
    spec = backbone.input_spec
    assert (spec.channels, len(spec.mean), len(spec.std)) == (channels, channels, channels)
    assert spec.mean[-1] == pytest.approx(sum(original.input_spec.mean) / 3)
    assert backbone(images(backbone)).shape == (2, backbone.feature_dim)
    if channels == 5:
        return
    # one band summed, or two copies of RGB halved: the same features on an image repeated likewise
    x = images(original)[:, :1] if channels == 1 else images(original)
    seen, shown = (x, x.repeat(1, 3, 1, 1)) if channels == 1 else (x.repeat(1, 2, 1, 1), x)
    torch.testing.assert_close(backbone(seen), original(shown), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_of_timm_and_torchvision(channels: int, tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    made = [
        TorchvisionResNet("resnet18", weights=str(tmp_path / "resnet18.pth"), channels=channels, image_size=32),
        TimmBackbone("resnet18", weights=False, channels=channels, image_size=32),
        TimmBackbone("vit_tiny_patch16_224", weights=False, channels=channels, image_size=32),
    ]
    for backbone in made:
        assert backbone.input_spec.channels == len(backbone.input_spec.mean) == channels
        assert backbone.eval()(images(backbone)).shape == (2, backbone.feature_dim)


def test_given_statistics(folders: dict[str, str]) -> None:
    spec = HuggingFaceVision(folders["vit"], channels=2, mean=(0.1, 0.2), std=(0.3, 0.4)).input_spec
    assert (spec.mean, spec.std) == ((0.1, 0.2), (0.3, 0.4))
    with pytest.raises(ValueError, match=r"mean must have one value per channel \(3\), got 2"):
        HuggingFaceVision(folders["vit"], mean=(0.1, 0.2))
    with pytest.raises(ValueError, match="std must be above 0"):
        HuggingFaceVision(folders["vit"], std=(0.1, 0.0, 0.2))


# ---------------------------------------------------------------- counts and BatchNorm


def parameters(*modules: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad or not trainable)


def test_parameter_counts(tmp_path: Path) -> None:
    transformers.ViTConfig(image_size=224, patch_size=16).save_pretrained(tmp_path)  # google/vit-base-patch16-224's
    with torch.device("meta"):
        vit = HuggingFaceVision(str(tmp_path), weights=False)
        resnet = TorchvisionResNet("resnet50", weights=None)
    for backbone, classes, total, trainable in ((vit, 6, 85_803_270, 4_614), (resnet, 10, 23_528_522, 20_490)):
        module = FineTune(backbone, adaptation=Frozen(), num_classes=classes)
        module.configure_model()
        assert (parameters(module), parameters(module, trainable=True)) == (total, trainable)


@pytest.mark.parametrize("family", ["timm_resnet", "timm_efficientnet", "torchvision"])
@pytest.mark.parametrize("adapt", [False, True])
def test_frozen_batch_norm_statistics(family: str, adapt: bool, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    groups = backbone.layer_groups()
    backbone.train()
    frozen_to_eval(groups, {groups[-1].name}, adapt_batch_norm=adapt)
    before = {name: value.clone() for name, value in backbone.named_buffers() if name.endswith("running_mean")}
    backbone(images(backbone, batch=4) + 1)
    after = dict(backbone.named_buffers())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    thawed = {name for name in before if name.removesuffix("running_mean") + "weight" in groups[-1].parameter_names}
    assert moved == (set(before) if adapt else thawed)
