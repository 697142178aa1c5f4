"""Fine-tuning and training from scratch: what is trained, at which rate, and on which loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from torch import nn

from lightning_tl.adaptation import Frozen, TopGroups
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.strategies import FineTune, FromScratch
from lightning_tl.training.schedules import Constant
from lightning_tl.training.transfer_module import TransferModule

GROUPS = ["embeddings", "block.0", "block.1", "head"]
PIECES = ("cls_token", "position_embeddings", "norm", "bias")  # what weight decay leaves alone


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=4,
        patch_size=2,
    )
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def fitted(module: TransferModule, folder: Path, **trainer: Any) -> TransferModule:
    options = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    tiny.tiny_trainer(folder, **(options | trainer)).fit(module, datamodule=tiny.TinyData())
    return module


def optimizer_groups(module: TransferModule) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for group in module.trainer.optimizers[0].param_groups:
        found.setdefault(group["group"], []).append(group)
    return found


# -------------------------------------------------------------------- rates and weight decay


@pytest.mark.parametrize(
    ("strategy", "options", "rates"),
    [
        (FineTune, {"lr": 0.01}, [0.001, 0.001, 0.001, 0.01]),
        (FineTune, {"lr": 0.01, "backbone_lr": 0.004}, [0.004, 0.004, 0.004, 0.01]),
        (FineTune, {"lr": 0.01, "layer_decay": 0.5}, [0.00025, 0.0005, 0.001, 0.01]),
        (FineTune, {"lr": 0.01, "layer_decay": 0.5, "adaptation": TopGroups(2)}, [None, 0.0005, 0.001, 0.01]),
        (FineTune, {"lr": 0.01, "adaptation": Frozen()}, [None, None, None, 0.01]),
        (FromScratch, {"lr": 0.01}, [0.01, 0.01, 0.01, 0.01]),
        (FromScratch, {"lr": 0.01, "backbone_lr": 0.002}, [0.002, 0.002, 0.002, 0.01]),
    ],
)
def test_rate_of_each_group(
    strategy: type[TransferModule], options: dict[str, Any], rates: list[float | None], vit: str, tmp_path: Path
) -> None:
    module = fitted(strategy(HuggingFaceVision(vit), schedule=Constant(), **options), tmp_path)
    expected = {name: rate for name, rate in zip(GROUPS, rates, strict=True) if rate is not None}
    found = optimizer_groups(module)
    assert {name: group["lr"] for name, groups in found.items() for group in groups} == pytest.approx(expected)
    assert module.reachable_groups == module.trainable_groups == list(expected)


def test_norms_biases_class_token_and_positions_do_not_decay(vit: str, tmp_path: Path) -> None:
    module = fitted(FineTune(HuggingFaceVision(vit), weight_decay=0.3), tmp_path)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    decay = {
        names[id(parameter)]: group["weight_decay"]
        for group in module.trainer.optimizers[0].param_groups
        for parameter in group["params"]
    }
    assert set(decay) == set(names.values()), "every parameter has its place in the optimizer"
    for name, value in decay.items():
        assert value == (0.0 if any(piece in name for piece in PIECES) else 0.3), name
    assert all(any(piece in name for name in decay) for piece in PIECES)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_top_groups_train_and_the_others_stay_to_the_bit(count: int, vit: str, tmp_path: Path) -> None:
    module = FineTune(HuggingFaceVision(vit), TopGroups(count), lr=0.1, schedule=Constant())
    before = {name: parameter.detach().clone() for name, parameter in module.backbone.named_parameters()}
    fitted(module, tmp_path)
    trained = GROUPS[:3][-count:]
    for group in module.backbone.layer_groups():
        after = dict(module.backbone.named_parameters())
        moved = [name for name in group.parameter_names if not torch.equal(before[name], after[name])]
        if group.name in trained:
            assert len(moved) > 0.8 * len(group.parameter_names), group.name
        else:
            assert not moved, group.name


# -------------------------------------------------------------------- the loss


def test_label_smoothing_and_class_weights_reach_the_loss(vit: str, tmp_path: Path) -> None:
    weights = (1.0, 4.0, 0.5)
    module = fitted(FineTune(HuggingFaceVision(vit), label_smoothing=0.2, class_weights=weights), tmp_path)
    batch = next(iter(tiny.TinyData().val_dataloader()))
    module.eval()
    output = module.step(batch)
    total = 0.0
    for logits, target in zip(output.predictions.log_softmax(1).tolist(), batch["target"].tolist(), strict=True):
        wanted = [0.8 * (k == target) + 0.2 / 3 for k in range(3)]
        total -= sum(w * wish * value for w, wish, value in zip(weights, wanted, logits, strict=True))
    divisor = sum(weights[target] for target in batch["target"].tolist())
    assert output.loss.item() == pytest.approx(total / divisor, rel=1e-5)


@pytest.mark.parametrize(("hidden", "dropout", "layers"), [(None, 0.0, 1), (None, 0.2, 2), (5, 0.0, 3), (5, 0.2, 5)])
def test_head(hidden: int | None, dropout: float, layers: int, vit: str, tmp_path: Path) -> None:
    module = fitted(FineTune(HuggingFaceVision(vit), head_hidden=hidden, dropout=dropout), tmp_path)
    head = module.head
    assert isinstance(head, nn.Module)
    assert (len(head) if isinstance(head, nn.Sequential) else 1) == layers
    assert head(torch.randn(4, 8)).shape == (4, 3)


# -------------------------------------------------------------------- from scratch


def test_from_scratch_forgets_the_pretrained_weights_and_follows_the_seed(vit: str, tmp_path: Path) -> None:
    modules = []
    for seed in (0, 0, 1):
        module = FromScratch(HuggingFaceVision(vit))
        trainer = tiny.tiny_trainer(tmp_path, max_epochs=0)
        torch.manual_seed(seed)
        trainer.fit(module, datamodule=tiny.TinyData())
        modules.append(module)
    fresh, again, other = ({n: p.detach() for n, p in m.backbone.named_parameters()} for m in modules)
    pretrained = dict(HuggingFaceVision(vit).named_parameters())
    drawn = [name for name, value in pretrained.items() if value.ndim >= 2]
    assert len(drawn) > 10
    for name in drawn:
        assert torch.equal(fresh[name], again[name]), name
        if not name.endswith("cls_token") or fresh[name].abs().max() > 0:
            assert not torch.equal(fresh[name], pretrained[name]), name
            assert not torch.equal(fresh[name], other[name]), name


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("strategy", [FineTune, FromScratch])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr must be above 0, got 0"),
        ({"lr": float("nan")}, "lr must be above 0, got nan"),
        ({"backbone_lr": 0.0}, "backbone_lr must be above 0, got 0.0; use LinearProbe to keep it frozen"),
        ({"layer_decay": 1.3}, r"layer_decay must be in \(0, 1\], got 1.3"),
        ({"layer_decay": 0}, r"layer_decay must be in \(0, 1\], got 0"),
        ({"label_smoothing": 1}, r"label_smoothing must be in \[0, 1\), got 1"),
        ({"label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"class_weights": [1.0, -1.0]}, r"class_weights must be at least 0, and one above 0, got \[1.0, -1.0\]"),
        ({"class_weights": [0.0, 0.0]}, r"class_weights must be at least 0, and one above 0, got \[0.0, 0.0\]"),
        ({"class_weights": [1.0, float("nan")]}, "class_weights must be at least 0, and one above 0"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
    ],
)
def test_arguments(strategy: type[TransferModule], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strategy(tiny.TinyBackbone(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 5}, r"num_classes is 5, but the data has 3 classes \(a, b, c\); leave num_classes out"),
        ({"class_weights": (1.0, 2.0)}, "class_weights must have 3 values, got 2"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"head_hidden": 0}, "the head's hidden width must be at least 1, got 0"),
        ({"adaptation": TopGroups(4)}, "TopGroups got n=4, but the backbone has 3 layer groups: embeddings, block.0"),
    ],
)
def test_what_the_data_or_the_backbone_rule_out(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(FineTune(tiny.TinyBackbone(), **options), tmp_path)


def test_top_groups_of_none() -> None:
    with pytest.raises(ValueError, match="TopGroups needs n of at least 1, got 0; use Frozen"):
        TopGroups(0)


class NoNames(tiny.TinyData):
    class_names = ()  # type: ignore[assignment]


def test_data_without_class_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_classes is not known: the data module has no class_names"):
        tiny.tiny_trainer(tmp_path).fit(FineTune(tiny.TinyBackbone()), datamodule=NoNames())
    module = FineTune(tiny.TinyBackbone(), num_classes=3)
    tiny.tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=NoNames())
    assert module.class_names == ("0", "1", "2")


class Broken(FineTune):
    def step(self, batch: Any) -> Any:
        output = super().step(batch)
        return type(output)(output.loss * float("nan"), output.predictions, output.target)


def test_a_loss_that_is_no_number_names_the_samples(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss is nan at epoch 0, batch 0; samples: tile-\d+, tile-\d+"):
        fitted(Broken(tiny.TinyBackbone()), tmp_path)
