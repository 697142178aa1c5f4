"""Adapters on backbones of several families: where they sit, what they compute, how they are kept."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from cli_runs import error_of, make_job
from ranks import on_two_ranks
from safetensors.torch import load_file, save_file
from tiny import TinyBackbone, TinyData, check_resumes, tiny_trainer, tiny_vit, weights_hash
from tiny_text import TINY_TEXT
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.adaptation import Adaptation, Adapters, Frozen, LoRA, load_adapted
from lightning_tl.backbones import (
    HuggingFaceText,
    HuggingFaceVision,
    TimmBackbone,
    TorchvisionResNet,
    load_exported,
    load_peft_base,
)
from lightning_tl.backbones.base import Backbone
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import AdapterFineTune, FineTune, LoRAFineTune, PromptTuning

# ends of the names of the layers behind which adapters sit
PLACES = {
    "bert": ("attention.output.dense", "output.dense"),
    "minilm": ("attention.output.dense", "output.dense"),
    "distilbert": ("attention.out_lin", "ffn.lin2"),
    "roberta": ("attention.output.dense", "output.dense"),
    "mpnet": ("attention.attn.o", "output.dense"),
    "deberta": ("attention.output.dense", "output.dense"),
    "modernbert": ("attn.Wo", "mlp.Wo"),
    "electra": ("attention.output.dense", "output.dense"),
    "vit": ("attention.o_proj", "mlp.fc2"),
    "timm": ("attn.proj", "mlp.fc2"),
}


@pytest.fixture
def folder(saved_models: Path) -> Path:
    return saved_models


def build(family: str, folder: Path) -> Backbone:
    if family == "timm":
        torch.manual_seed(0)
        return TimmBackbone("vit_tiny_patch16_224", image_size=32, weights=False)
    return HuggingFaceVision(str(folder / "vit")) if family == "vit" else HuggingFaceText(str(folder / family))


def trained(backbone: nn.Module) -> set[str]:
    return {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def lively(backbone: nn.Module) -> None:
    """Adapters as training would leave them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("family", PLACES)
def test_nothing_changes_at_first_and_every_block_learns(family: str, folder: Path) -> None:
    backbone = build(family, folder).eval()
    inputs = backbone.example_inputs(3)
    with torch.no_grad():
        before = backbone(inputs)
        Adapters(size=4).apply(backbone)
        assert torch.equal(backbone(inputs), before)
    groups = backbone.layer_groups()
    check_partition(backbone, groups)
    blocks = len(groups) - 1
    names = [name.removesuffix(".adapter") for name, _ in backbone.named_modules() if name.endswith(".adapter")]
    assert len(names) == 2 * blocks
    assert all(name.endswith(PLACES[family]) for name in names)
    trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert all(".adapter." in name for name in trained) and len(trained) == 8 * blocks
    lively(backbone)
    backbone(inputs).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in trained.values())


def test_the_formula() -> None:
    """One layer written out: the residual is taken from before the adapter's sublayer, as in figure 2 of the paper."""
    backbone = HuggingFaceText().eval()
    Adapters(size=8).apply(backbone)
    lively(backbone)
    layer: Any = backbone.model.encoder.layer[0].output
    hidden, residual = torch.randn(2, 5, 1536), torch.randn(2, 5, 384)
    with torch.no_grad():
        dense = hidden @ layer.dense.weight.T + layer.dense.bias
        down, up = layer.dense.adapter.down, layer.dense.adapter.up
        added = F.gelu(dense @ down.weight.T + down.bias) @ up.weight.T + up.bias
        expected = F.layer_norm(
            dense + added + residual, (384,), layer.LayerNorm.weight, layer.LayerNorm.bias, layer.LayerNorm.eps
        )
        torch.testing.assert_close(layer(hidden, residual), expected, rtol=1e-4, atol=1e-5)


def test_share_of_the_parameters() -> None:
    """The paper speaks of 2 to 4% for its sizes; MiniLM has small layers and a large vocabulary."""
    backbone = HuggingFaceText()
    total = sum(parameter.numel() for parameter in backbone.parameters())
    Adapters().apply(backbone)
    trained = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    assert trained == 6 * 2 * (2 * 384 * 64 + 64 + 384)
    assert 0.02 < trained / total < 0.04


def test_layers_by_name(folder: Path) -> None:
    backbone = build("bert", folder)
    Adapters(size=2, layers=["intermediate.dense"]).apply(backbone)
    assert backbone.model.encoder.layer[0].intermediate.dense.adapter.down.weight.shape == (2, 48)  # type: ignore[index]


class Fused(nn.Module):
    """A block that reads the weights of a layer without calling it, as fused kernels do."""

    def __init__(self) -> None:
        super().__init__()
        self.o_proj, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.fc2(F.linear(hidden, self.o_proj.weight, self.o_proj.bias))  # type: ignore[no-any-return]


def fused() -> Backbone:
    backbone = TinyBackbone(2)
    backbone.blocks[1] = Fused()
    backbone.blocks[0] = nn.Sequential()
    backbone.blocks[0].add_module("o_proj", nn.Linear(8, 8))
    backbone.blocks[0].add_module("fc2", nn.Linear(8, 8))
    return backbone


def eva() -> Backbone:
    return TimmBackbone("eva02_tiny_patch14_224", image_size=28, weights=False)


def twice(folder: Path, first: Adaptation, second: Adaptation) -> None:
    backbone = build("vit", folder)
    first.apply(backbone)
    second.apply(backbone)


class Mine(HuggingFaceVision):
    """What a user's own forward computes, no family knows."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


class OfMine(Adapters):
    """A user's own adaptation."""


def export_of(folder: Path, backbone: Backbone, adaptation: Adaptation) -> None:
    adaptation.apply(backbone)
    adaptation.export(
        folder / "never", backbone, nn.Linear(backbone.feature_dim, 3), ("x", "y", "z"), trained(backbone)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Adapters(size=0), "size must be at least 1, got 0"),
        (lambda f: Adapters(layers="dense"), "layers must be a list of ends of names, got 'dense'"),  # type: ignore[arg-type]
        (lambda f: Adapters(layers=[]), r"layers must be a list of ends of names, got \[\]"),
        (
            lambda f: Adapters(layers=["dens"]).apply(build("bert", f)),
            r"last layer of the dens was not found in block\.0 of BertModel, whose linear layers are .*query",
        ),
        (
            lambda f: Adapters().apply(TorchvisionResNet("resnet18", weights=None)),
            r"^Adapters sit behind linear layers, of which the blocks of ResNet have none; use Full or TopGroups$",
        ),
        (lambda f: Adapters().apply(fused()), r"computes blocks\.1\.o_proj without calling the layer, so adapters"),
        (
            lambda f: LoRA(targets="o_proj").apply(fused()),
            r"blocks\.1\.o_proj without calling the layer, so LoRA there",
        ),
        (lambda f: LoRA().apply(eva()), r"computes model\.blocks\.0\.attn\.qkv, .* and 9 more without calling"),
        (lambda f: twice(f, Adapters(2), Adapters(2)), r"was adapted before.*adapter\.down\.weight\); open a fresh"),
        (lambda f: twice(f, LoRA(2), Adapters(2)), r"was adapted before, by another module \(it has .*lora_A"),
        (lambda f: twice(f, Adapters(2), LoRA(2)), "was adapted before"),
        (
            lambda f: export_of(f, Mine(str(f / "vit")), Adapters(2)),
            "Mine is no backbone that a folder can name: it has",
        ),
        (lambda f: export_of(f, build("vit", f), OfMine(2)), "OfMine is no adaptation of lightning_tl.adaptation, so"),
    ],
)
def test_mistakes(make: Callable[[Path], Any], message: str, folder: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message) as error:
        make(folder)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- folders


@torch.no_grad()
@pytest.mark.parametrize("family", [*TINY_TEXT, "vit"])
def test_saved_and_loaded_on_their_own(family: str, folder: Path, tmp_path: Path) -> None:
    import lightning_tl.adaptation

    backbone = build(family, folder).eval()
    adapters = Adapters(size=4)
    adapters.apply(backbone)
    lively(backbone)
    head = nn.Sequential(nn.Dropout(0.3), nn.Linear(backbone.feature_dim, 3)).eval()
    line = adapters.export(tmp_path / "model", backbone, head, ("x", "y", "z"), trained(backbone))
    model = eval(line, {"lightning_tl": lightning_tl})
    inputs = backbone.example_inputs(4)
    assert torch.equal(model(inputs), head(backbone(inputs))) and model.class_names == ("x", "y", "z")
    size = sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    assert size < 20_000, "the backbone is not in the folder"
    assert torch.equal(copy.deepcopy(model)(inputs), model(inputs))


def test_folders_of_another_base(folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(folder / "bert", tmp_path / "base")
    export_adapted(HuggingFaceText(str(base)), tmp_path / "model")
    load_adapted(tmp_path / "model")
    moved = base.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"Weights that were moved are named by pretrained=…"):
        load_adapted(tmp_path / "model")
    load_adapted(tmp_path / "model", pretrained=moved)
    state = load_file(moved / "model.safetensors")
    state["bert.encoder.layer.1.output.dense.bias"][3] += 1e-3
    save_file(state, moved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"trained beside other weights than .*moved has now \(hash \w{12}, found"):
        load_adapted(tmp_path / "model", pretrained=moved)


def export_adapted(backbone: Backbone, folder: Path, size: int = 4) -> Tensor:
    """Adapt, export, and say what the model computes."""
    adapters = Adapters(size)
    adapters.apply(backbone.eval())
    lively(backbone)
    head = nn.Linear(backbone.feature_dim, 3)
    adapters.export(folder, backbone, head, ("x", "y", "z"), trained(backbone))
    logits: Tensor = head(backbone(backbone.example_inputs(2)))
    return logits.detach()


def test_damaged_folders_and_other_kinds(folder: Path, tmp_path: Path) -> None:
    export_adapted(build("bert", folder), tmp_path / "model")
    for loader in (load_exported, load_peft_base):
        with pytest.raises(
            FileNotFoundError, match=r'is opened by lightning_tl\.adaptation\.load_adapted\(".*model"\)'
        ):
            loader(tmp_path / "model")
    file = tmp_path / "model" / "classifier.json"
    settings = json.loads(file.read_text())
    settings["adaptation"]["arguments"]["size"] = 5
    file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="adapter"):
        load_adapted(tmp_path / "model")
    del settings["adaptation"]
    file.write_text(json.dumps(settings))
    with pytest.raises(
        FileNotFoundError, match=r"is opened by lightning_tl\.backbones\.load_peft_base.*not by load_adapted"
    ):
        load_adapted(tmp_path / "model")
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match=r"classifier\.json is damaged"):
        load_adapted(tmp_path / "model")


def test_fresh_weights_are_written_too(folder: Path, tmp_path: Path) -> None:
    """They lie nowhere else."""
    torch.manual_seed(5)
    expected = export_adapted(HuggingFaceVision(str(folder / "vit"), weights=False), tmp_path / "model")
    model = load_adapted(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(model(model.backbone.example_inputs(2)), expected)


def test_statistics_that_moved_are_written_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = TimmBackbone("levit_128s", weights=False)
    made.export(tmp_path / "base", nn.Identity(), ("a", "b"))
    backbone = TimmBackbone(str(tmp_path / "base" / "backbone")).eval()
    adapters = Adapters(2, layers=["linear"])
    adapters.apply(backbone)
    norm = next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    norm.running_mean.add_(0.5)  # type: ignore[union-attr]
    head = nn.Linear(backbone.feature_dim, 2)
    adapters.export(tmp_path / "model", backbone, head, ("a", "b"), trained(backbone))
    images = backbone.example_inputs(2)
    with torch.no_grad():
        assert torch.equal(load_adapted(tmp_path / "model")(images), head(backbone(images)))


# ---------------------------------------------------------------- training


def test_only_adapters_and_head_change(tmp_path: Path) -> None:
    module = AdapterFineTune(tiny_vit(tmp_path), size=3)
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    tiny_trainer(tmp_path, max_epochs=2).fit(module, datamodule=TinyData())
    after = module.backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    added = {name: value for name, value in after.items() if name not in before}
    assert len(added) == 16 and all(value.abs().max() > 0 for value in added.values())
    groups = {group["group"]: group["lr"] for group in module.optimizers().optimizer.param_groups}  # type: ignore[union-attr]
    assert set(groups) == {"block.0", "block.1", "head"} and len(set(groups.values())) == 1


def test_resumed_runs_end_the_same(tmp_path: Path) -> None:
    check_resumes(lambda: AdapterFineTune(tiny_vit(tmp_path), size=3), tmp_path)


@pytest.mark.parametrize("strategy", [AdapterFineTune, PromptTuning, LoRAFineTune])
@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_other_precisions(strategy: Any, precision: Any, tmp_path: Path) -> None:
    """What is exported belongs to the weights as they were loaded, not as a precision rounded them."""
    module = strategy(tiny_vit(tmp_path))
    module.class_names = ("a", "b", "c")
    tiny_trainer(tmp_path, max_epochs=1, precision=precision).fit(module, datamodule=TinyData())
    module.export(tmp_path / "model")
    if strategy is LoRAFineTune:
        base = load_peft_base(tmp_path / "adapter")
        model: Any = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    else:
        model = load_adapted(tmp_path / "model")
    images = module.backbone.example_inputs(4)
    with torch.no_grad():
        expected = module.eval().float()(images)
        torch.testing.assert_close(model(images), expected, rtol=0.05, atol=0.05)


def test_a_backbone_that_another_module_trained_is_kept_whole(tmp_path: Path) -> None:
    """The second module's frozen weights are no longer those that its name stands for."""
    backbone = tiny_vit(tmp_path)
    tiny_trainer(tmp_path, max_epochs=1).fit(FineTune(backbone, lr=0.01), datamodule=TinyData())
    second = FineTune(backbone, adaptation=Frozen())
    callbacks = [ResumableCheckpoint(dirpath=tmp_path / "second")]
    tiny_trainer(tmp_path, callbacks, max_epochs=1).fit(second, datamodule=TinyData())
    path = tmp_path / "second" / "last.ckpt"
    loaded = FineTune.load_from_checkpoint(
        path, backbone=HuggingFaceVision(str(tmp_path / "vit")), adaptation=Frozen(), num_classes=3, weights_only=True
    )
    assert weights_hash(loaded.backbone) == weights_hash(backbone)


def train_on_a_rank(folder: str) -> tuple[str, list[str]]:
    module = AdapterFineTune(HuggingFaceVision(f"{folder}/vit"), size=3)
    trainer = tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=2)
    trainer.fit(module, datamodule=TinyData())
    return weights_hash(module), module.trainable_groups


def test_two_processes_stay_the_same(tmp_path: Path) -> None:
    tiny_vit(tmp_path)
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path))
    assert first == second


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_job(tmp_path)
    recipe.write_text(recipe.read_text().replace("FineTune", "AdapterFineTune"))
    assert "was not found in block.0" in error_of(["--recipe", str(recipe), "--model.layers=[quary]"], capsys)
    said = error_of(["--recipe", str(recipe), "--model.adaptation=lightning_tl.adaptation.Full"], capsys)
    assert "AdapterFineTune sets 'adaptation' itself; leave it out" in said
    main(["--recipe", str(recipe), "--model.size=4", "--unfreezing=null"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert "lightning_tl.adaptation.load_adapted(" in (run / "summary.txt").read_text()
    model = load_adapted(run / "model")
    assert model.class_names == ("field", "lake", "town")
    assert model(model.backbone.example_inputs(2)).shape == (2, 3)
