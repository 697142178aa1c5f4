"""LoRA on backbones of several families: what it changes, trains, merges and exports."""

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
import transformers
from cli_runs import ROOT, error_of, make_job
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny import TinyData, check_resumes, tiny_trainer, tiny_vit
from tiny_text import TINY_TEXT, gpt2
from torch import nn
from transformers import AutoModel

import lightning_tl.backbones
from lightning_tl.adaptation import LoRA, merge_lora
from lightning_tl.backbones import (
    HuggingFaceText,
    HuggingFaceVision,
    TimmBackbone,
    TorchvisionResNet,
    add_peft_adapter,
    load_peft_base,
)
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.peft_folder import write_peft_folder
from lightning_tl.callbacks import ProgressiveUnfreezing
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import LoRAFineTune

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

# what queries and values are called, and how many layers that is in two blocks
DEFAULTS = {
    "bert": ("query value", 4),
    "minilm": ("query value", 4),
    "distilbert": ("q_lin v_lin", 4),
    "roberta": ("query value", 4),
    "mpnet": ("q v", 4),
    "deberta": ("query_proj value_proj", 4),
    "modernbert": ("Wqkv", 2),
    "electra": ("query value", 4),
}


def vit() -> HuggingFaceVision:
    return HuggingFaceVision()  # the shipped one


def timm_vit() -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone("vit_tiny_patch16_224", image_size=32, weights=False)


def resnet() -> TorchvisionResNet:
    torch.manual_seed(0)
    return TorchvisionResNet("resnet18", weights=None, image_size=32)


def lively(backbone: nn.Module) -> None:
    """Changes as training would leave them: no zeros."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def folders(saved_models: Path) -> dict[str, str]:
    return {family: str(saved_models / family) for family in TINY_TEXT}


def build(family: str, folders: dict[str, str]) -> Backbone:
    others: dict[str, Callable[[], Backbone]] = {"vit": vit, "timm_vit": timm_vit, "resnet": resnet}
    return HuggingFaceText(folders[family]) if family in folders else others[family]()


@pytest.mark.parametrize("family", [*TINY_TEXT, "vit", "timm_vit"])
def test_default_targets(family: str, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    names = LoRA().target_layers(backbone)
    ends, count = {**DEFAULTS, "vit": ("q_proj v_proj", 12), "timm_vit": ("qkv", 12)}[family]
    assert {name.rpartition(".")[2] for name in names} == set(ends.split()) and len(names) == count


@pytest.mark.parametrize("options", [{}, {"dora": True}, {"targets": "all-linear", "rslora": True}], ids=str)
@pytest.mark.parametrize("family", [*TINY_TEXT, "vit", "timm_vit"])
def test_nothing_changes_at_first_and_merging_changes_nothing(
    family: str, options: dict[str, Any], folders: dict[str, str]
) -> None:
    backbone = build(family, folders).eval()
    inputs = backbone.example_inputs(3)
    with torch.no_grad():
        before = backbone(inputs)
        names = set(backbone.state_dict())
        LoRA(**options).apply(backbone)
        check_partition(backbone, backbone.layer_groups())
        torch.testing.assert_close(backbone(inputs), before, rtol=1e-6, atol=1e-6)
        lively(backbone)
        changed = backbone(inputs)
        assert (changed - before).abs().max() > 1e-3
        merge_lora(backbone)
        torch.testing.assert_close(backbone(inputs), changed, rtol=1e-5, atol=1e-5)
    assert set(backbone.state_dict()) == names, "ordinary layers are left"
    assert not any("lora" in type(module).__module__ for module in backbone.modules())


@pytest.mark.parametrize("family", [*TINY_TEXT, "vit", "timm_vit"])
def test_what_trains(family: str, folders: dict[str, str]) -> None:
    backbone = build(family, folders)
    LoRA(r=3).apply(backbone)
    groups = backbone.layer_groups()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_A" in name or "lora_B" in name for name in trained)
    assert not groups[0].parameter_names & trained, "embeddings have no queries"
    assert all(group.parameter_names & trained for group in groups[1:]), "every block has its changes"
    backbone(backbone.example_inputs(2)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters() if parameter.requires_grad)


def test_the_change_is_the_papers_formula(folders: dict[str, str]) -> None:
    backbone = HuggingFaceText(folders["bert"])
    before = copy.deepcopy(backbone)
    LoRA(r=4, alpha=12, targets="layer.1.attention.self.query").apply(backbone)
    lively(backbone)
    layer: Any = backbone.model.encoder.layer[1].attention.self.query
    change = 12 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merge_lora(backbone)
    weights, old = backbone.state_dict(), before.state_dict()
    name = "model.encoder.layer.1.attention.self.query.weight"
    torch.testing.assert_close(weights[name], old[name] + change)
    assert [key for key in weights if not torch.equal(weights[key], old[key])] == [name]


def test_parameters_are_as_many_as_in_peft_itself() -> None:
    backbone = HuggingFaceText()
    peer = get_peft_model(
        AutoModel.from_pretrained(backbone.input_spec.tokenizer, add_pooling_layer=False),
        LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]),
    )
    LoRA().apply(backbone)
    trained = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    assert trained == peer.get_nb_trainable_parameters()[0] == 73_728


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        ("query", 2),
        (["query", "key"], 4),
        ("layer.0.attention.self.query", 1),
        (r".*layer\.1\..*dense", 3),
        ("all-linear", 12),
        (["word_embeddings"], 1),
    ],
)
def test_targets(targets: Any, count: int, folders: dict[str, str]) -> None:
    assert len(LoRA(targets=targets).target_layers(HuggingFaceText(folders["bert"]))) == count


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b: LoRA(r=0), "rank r must be at least 1, got 0"),
        (lambda b: LoRA(alpha=0), "alpha must be above 0, got 0"),
        (lambda b: LoRA(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (
            lambda b: LoRA(targets="quary").apply(b),
            r"targets quary match none; these could be named: dense \(6\), query \(2\), key \(2\), .*all-linear",
        ),
        (lambda b: LoRA(targets=["query", "vlaue"]).apply(b), "targets vlaue match no layer; these could be named"),
        (lambda b: LoRA(targets="ery").apply(b), "targets ery match none"),
        (lambda b: LoRA(targets="(query"), r"targets '\(query' are no regular expression: missing \)"),
        (lambda b: LoRA(targets=r"query.*").apply(b), r"targets query\.\* match none"),
        (
            lambda b: LoRA().apply(resnet()),
            r"no layers for queries and values were found; these could be named: .*conv1",
        ),
    ],
)
def test_mistakes(make: Callable[[Backbone], Any], message: str, folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make(HuggingFaceText(folders["bert"]))
    assert "\n" not in str(error.value)


def test_convolutions_can_be_named() -> None:
    backbone = resnet().eval()
    LoRA(targets=["conv2"]).apply(backbone)
    lively(backbone)
    inputs = backbone.example_inputs(2)
    with torch.no_grad():
        expected = backbone(inputs)
        merge_lora(backbone)
        torch.testing.assert_close(backbone(inputs), expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- folders for PEFT


def adapted(family: str, folders: dict[str, str], seed: int = 0, **options: Any) -> tuple[LoRA, Backbone, nn.Module]:
    """A backbone and head as training would leave them."""
    torch.manual_seed(seed)
    backbone = build(family, folders).eval()
    lora = LoRA(**options)
    lora.apply(backbone)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return lora, backbone, nn.Linear(backbone.feature_dim, 3)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"dora": True}, {"rslora": True, "targets": "all-linear"}], ids=str)
@pytest.mark.parametrize("family", [*TINY_TEXT, "vit"])
def test_peft_loads_the_folder(family: str, options: dict[str, Any], folders: dict[str, str], tmp_path: Path) -> None:
    lora, backbone, head = adapted(family, folders, **options)
    line = write_peft_folder(tmp_path / "adapter", lora.config, backbone, head, ("x", "y", "z"))
    model = eval(line, {"peft": peft, "lightning_tl": lightning_tl})
    inputs = backbone.example_inputs(4)
    torch.testing.assert_close(model(inputs), head(backbone(inputs)), rtol=0, atol=1e-6)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 700_000


@torch.no_grad()
def test_a_mixed_batch_of_several_adapters(folders: dict[str, str], tmp_path: Path) -> None:
    singles = {}
    for seed, name in enumerate(("first", "second")):
        lora, backbone, head = adapted("bert", folders, seed, r=2 + seed)
        write_peft_folder(tmp_path / name, lora.config, backbone, head, ("x", "y", "z"))
        singles[name] = nn.Sequential(backbone, head)
    base = load_peft_base(tmp_path / "first")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "first", adapter_name="first").eval()
    model.load_adapter(tmp_path / "second", "second")
    inputs = base.backbone.example_inputs(6)
    rows = ["first", "second", "second", "first", "second", "first"]
    expected = {name: single(inputs) for name, single in singles.items()}
    mixed = model(inputs, adapter_names=rows)
    for row, name in enumerate(rows):
        torch.testing.assert_close(mixed[row], expected[name][row], rtol=0, atol=1e-5)
    for name in singles:
        model.set_adapter(name)
        torch.testing.assert_close(model(inputs), expected[name], rtol=0, atol=1e-5)


@torch.no_grad()
def test_adapters_with_different_classes_share_a_base(folders: dict[str, str], tmp_path: Path) -> None:
    singles = {}
    for seed, (name, classes) in enumerate({"three": 3, "two": 2, "five": 5}.items()):
        lora, backbone, _ = adapted("bert", folders, seed, r=2 + seed)
        head = nn.Linear(backbone.feature_dim, classes)
        write_peft_folder(tmp_path / name, lora.config, backbone, head, tuple("abcde"[:classes]))
        singles[name] = nn.Sequential(backbone, head)
    base = load_peft_base(tmp_path / "three")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "three", adapter_name="three").eval()
    model.load_adapter(tmp_path / "two", "two")
    add_peft_adapter(model, tmp_path / "five", "five")
    inputs = base.backbone.example_inputs(6)
    rows = ["three", "five", "two", "two", "five", "three"]
    mixed = model(inputs, adapter_names=rows)
    assert mixed.shape == (6, 5)
    for row, name in enumerate(rows):
        expected = singles[name](inputs)[row]
        torch.testing.assert_close(mixed[row, : len(expected)], expected, rtol=0, atol=1e-5)
        assert mixed[row, len(expected) :].eq(float("-inf")).all()
    for name, single in singles.items():
        model.set_adapter(name)
        torch.testing.assert_close(model(inputs), single(inputs), rtol=0, atol=1e-5)


@torch.no_grad()
def test_an_adapter_that_fails_leaves_nothing_behind(folders: dict[str, str], tmp_path: Path) -> None:
    for name, options in {"first": {}, "broken": {"targets": "all-linear"}}.items():
        lora, backbone, head = adapted("bert", folders, **options)
        write_peft_folder(tmp_path / name, lora.config, backbone, head, ("x", "y", "z"))
    state = load_file(tmp_path / "broken" / "adapter_model.safetensors")
    key = next(key for key in state if "lora_A" in key)
    save_file({**state, key: torch.zeros(3, 5)}, tmp_path / "broken" / "adapter_model.safetensors")
    base = load_peft_base(tmp_path / "first")
    model = peft.PeftModel.from_pretrained(base, tmp_path / "first", adapter_name="first").eval()
    inputs = base.backbone.example_inputs(2)
    before, logits = {name: value.clone() for name, value in model.state_dict().items()}, model(inputs)
    with pytest.raises(ValueError, match=r"the adapter in .*broken cannot be loaded: .*size mismatch") as error:
        add_peft_adapter(model, tmp_path / "broken", "second")
    assert "\n" not in str(error.value)
    assert model.state_dict().keys() == before.keys() and list(model.peft_config) == ["first"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(inputs), logits)
    with pytest.raises(ValueError, match="there is an adapter 'first' already"):
        add_peft_adapter(model, tmp_path / "first", "first")


def test_an_adapter_for_another_base(folders: dict[str, str], tmp_path: Path) -> None:
    copied = shutil.copytree(folders["bert"], tmp_path / "base")
    lora, backbone, head = adapted("own", {"own": str(copied)})
    write_peft_folder(tmp_path / "adapter", lora.config, backbone, head, ("x", "y", "z"))
    load_peft_base(tmp_path / "adapter")
    state = load_file(copied / "model.safetensors")
    state["bert.encoder.layer.1.output.dense.bias"][3] += 1e-3
    save_file(state, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"was trained beside other weights than .*base has now \(hash \w{12}, found \w{12}\)"
    ):
        load_peft_base(tmp_path / "adapter")
    with pytest.raises(FileNotFoundError, match=r"has no classifier\.json"):
        load_peft_base(tmp_path)


def test_a_relative_path_opens_from_anywhere(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(folders["bert"]).parent)
    lora, backbone, head = adapted("own", {"own": "bert"})
    write_peft_folder(tmp_path / "adapter", lora.config, backbone, head, ("x", "y", "z"))
    monkeypatch.chdir(tmp_path)
    load_peft_base("adapter")


def test_batch_norm_keeps_its_statistics(tmp_path: Path) -> None:
    torch.manual_seed(0)
    TorchvisionResNet("resnet18", weights=None, image_size=32).export(tmp_path / "base", nn.Linear(512, 3), "abc")
    module = LoRAFineTune(TorchvisionResNet(str(tmp_path / "base"), image_size=4), targets="conv1", r=2)
    module.class_names = ("a", "b", "c")
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=TinyData())
    line = module.export(tmp_path / "model")
    model = peft.PeftModel.from_pretrained(load_peft_base(tmp_path / "adapter"), tmp_path / "adapter").eval()
    inputs = module.backbone.example_inputs(3)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), module.eval()(inputs), rtol=1e-5, atol=1e-5)
    assert line


def test_no_adapter_where_statistics_moved(tmp_path: Path) -> None:
    """They are no part of what PEFT keeps."""
    torch.manual_seed(0)
    TorchvisionResNet("resnet18", weights=None, image_size=32).export(tmp_path / "base", nn.Linear(512, 3), "abc")
    module = LoRAFineTune(TorchvisionResNet(str(tmp_path / "base"), image_size=4), targets="conv1", r=2)
    module.class_names = ("a", "b", "c")
    callback = ProgressiveUnfreezing(epochs_per_phase=1, adapt_batch_norm=True)
    tiny_trainer(tmp_path, [callback], max_epochs=1).fit(module, datamodule=TinyData())
    module.export(tmp_path / "model")
    assert (tmp_path / "model").is_dir() and not (tmp_path / "adapter").exists()


# ---------------------------------------------------------------- training


def test_the_frozen_weights_stay_bit_for_bit(tmp_path: Path) -> None:
    module = LoRAFineTune(tiny_vit(tmp_path), r=2, lora_dropout=0.1)
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    tiny_trainer(tmp_path, max_epochs=2).fit(module, datamodule=TinyData())
    after = {name.replace(".base_layer", ""): value for name, value in module.backbone.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    changes = {name: value for name, value in after.items() if "lora_B" in name}
    assert len(changes) == 4 and all(value.abs().max() > 0 for value in changes.values())
    groups = {group["group"]: group["lr"] for group in module.optimizers().optimizer.param_groups}  # type: ignore[union-attr]
    assert set(groups) == {"block.0", "block.1", "head"} and len(set(groups.values())) == 1


def test_blocks_are_unfrozen_one_by_one(tmp_path: Path) -> None:
    """Thawing a group lets its changes train, and nothing of the layers themselves."""
    module = LoRAFineTune(tiny_vit(tmp_path), r=2)
    trainer = tiny_trainer(tmp_path, [ProgressiveUnfreezing(epochs_per_phase=1)], max_epochs=3)
    trainer.fit(module, datamodule=TinyData())
    assert module.trainable_groups == ["block.0", "block.1", "head"]
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("head") for name in trained)


def test_resumed_runs_end_the_same(tmp_path: Path) -> None:
    check_resumes(lambda: LoRAFineTune(tiny_vit(tmp_path), r=2, lora_dropout=0.2), tmp_path)


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    recipe = make_job(tmp_path)
    recipe.write_text(recipe.read_text().replace("FineTune", "LoRAFineTune"))
    said = error_of(["--recipe", str(recipe), "--model.targets=quary"], capsys)
    assert "targets quary match none; these could be named" in said
    main(["--recipe", str(recipe), "--model.r=4", "--model.targets=all-linear", "--unfreezing=null"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    model = transformers.AutoModelForImageClassification.from_pretrained(run / "model")
    assert not any("lora" in name for name in model.state_dict()), "an ordinary model, with the changes in its layers"
    page = (ROOT / "docs" / "training" / "strategies.md").read_text(encoding="utf-8")
    (example,) = [block for block in page.split("```python\n") if block.startswith("import peft")]
    names: dict[str, Any] = {}
    exec(example.split("```")[0].replace("RUN_FOLDER", str(run)), names)
    assert names["logits"].shape == (2, 3)
    trained = json.loads((run / "summary.json").read_text())["parameters"]["trainable"]
    assert trained == 2 * (4 * 4 * 2 * 16 + 2 * 4 * (16 + 32)) + 16 * 3 + 3, "the changes and the head, not the layers"
    adapter = peft.PeftModel.from_pretrained(load_peft_base(run / "adapter"), run / "adapter").eval()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(adapter(images), model.eval()(pixel_values=images).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_gpt2_stores_its_matrices_the_other_way_round(tmp_path: Path) -> None:
    folders = {"gpt2": str(gpt2(tmp_path / "gpt2"))}
    for targets in (None, "all-linear"):
        lora, backbone, head = adapted("gpt2", folders, targets=targets)
        inputs = backbone.example_inputs(3)
        expected = head(backbone(inputs))
        line = write_peft_folder(tmp_path / "adapter", lora.config, backbone, head, ("x", "y", "z"))
        model = eval(line, {"peft": peft, "lightning_tl": lightning_tl})
        torch.testing.assert_close(model(inputs), expected, rtol=0, atol=1e-5)
        merge_lora(backbone)
        torch.testing.assert_close(head(backbone(inputs)), expected, rtol=1e-5, atol=1e-5)
