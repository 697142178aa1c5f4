"""Prompt tuning of text encoders and of vision transformers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from cli_runs import error_of, make_job
from ranks import on_two_ranks
from tiny import TinyData, check_resumes, tiny_trainer, tiny_vit
from tiny_text import TINY_TEXT
from torch import Tensor, nn
from transformers import AutoModel

from lightning_tl.adaptation import Prompts, VisualPrompts, load_adapted
from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.backbones.base import Backbone
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import PromptTuning

TOKENS = 4


@pytest.fixture
def folder(saved_models: Path) -> Path:
    return saved_models


def text(family: str, folder: Path, **options: Any) -> HuggingFaceText:
    return HuggingFaceText(str(folder / family), max_length=20, **options).eval()


def timm_vit() -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone("vit_tiny_patch16_224", image_size=32, weights=False)


def rotary() -> TimmBackbone:
    backbone = TimmBackbone("eva02_tiny_patch14_224", image_size=28, weights=False)
    backbone.model.global_pool = "token"
    return backbone


def averaging() -> TimmBackbone:
    backbone = timm_vit()
    backbone.model.global_pool = "avg"
    return backbone


def twice(backbone: Backbone) -> None:
    for _ in range(2):
        Prompts(2).apply(backbone)


# ---------------------------------------------------------------- texts


@torch.no_grad()
@pytest.mark.parametrize("family", TINY_TEXT)
def test_the_hidden_states_are_those_of_peft(family: str, folder: Path, tmp_path: Path) -> None:
    backbone = text(family, folder)
    prompts = Prompts(TOKENS)
    before = backbone(backbone.example_inputs(3))
    prompts.apply(backbone)
    check_partition(backbone, backbone.layer_groups())
    assert [name for name, p in backbone.named_parameters() if p.requires_grad] == ["model.prompts.embedding.weight"]
    assert "model.prompts.embedding.weight" in backbone.layer_groups()[0].parameter_names, "they go with the input"
    backbone.model.prompts.embedding.weight.add_(0.1)
    inputs = backbone.example_inputs(3)
    features = backbone(inputs)
    assert (features - before).abs().max() > 1e-3
    prompts.export(tmp_path / "model", backbone, nn.Linear(32, 3), "xyz", {"model.prompts.embedding.weight"})
    peer = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(folder / family), tmp_path / "adapter").eval()
    hidden = peer(**inputs).last_hidden_state[:, TOKENS:]
    mask = inputs["attention_mask"].unsqueeze(-1)
    torch.testing.assert_close(features, (hidden * mask).sum(1) / mask.sum(1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_what_is_padding_changes_nothing(folder: Path) -> None:
    backbone = text("bert", folder)
    Prompts(TOKENS).apply(backbone)
    several = backbone.tokenize(["a good dress", "it was a very warm and soft jacket with a book"])
    alone = backbone.tokenize(["a good dress"])
    torch.testing.assert_close(backbone(several)[:1], backbone(alone), rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_segments_and_pooling(pooling: Any, folder: Path) -> None:
    """The class token and the second text of a pair are found behind the virtual tokens."""
    backbone = text("bert", folder, pooling=pooling)
    inputs: Any = backbone.example_inputs(2)
    inputs["token_type_ids"] = torch.ones_like(inputs["input_ids"])
    Prompts(TOKENS).apply(backbone)
    without = {key: value for key, value in inputs.items() if key != "token_type_ids"}
    assert (backbone(inputs) - backbone(without)).abs().max() > 1e-3
    model, weight = copy.deepcopy(backbone.model), backbone.model.prompts.embedding.weight
    model._forward_pre_hooks.clear(), model._forward_hooks.clear()
    words = model.get_input_embeddings()(inputs["input_ids"])
    ones, zeros = torch.ones(2, TOKENS, dtype=torch.long), torch.zeros(2, TOKENS, dtype=torch.long)
    hidden = model(
        inputs_embeds=torch.cat([weight.expand(2, -1, -1), words], 1),
        attention_mask=torch.cat([ones, inputs["attention_mask"]], 1),
        token_type_ids=torch.cat([zeros, inputs["token_type_ids"]], 1),
    ).last_hidden_state[:, TOKENS:]
    mask = inputs["attention_mask"].unsqueeze(-1)
    expected = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(backbone(inputs), expected, rtol=1e-5, atol=1e-6)


def test_they_start_from_words(folder: Path) -> None:
    backbone = text("bert", folder)
    Prompts(5, text="good dress").apply(backbone)
    words = backbone.model.get_input_embeddings().weight
    ids = backbone.tokenize(["good dress"])["input_ids"][0].repeat(2)[:5]
    assert torch.equal(backbone.model.prompts.embedding.weight, words[ids])
    torch.manual_seed(0)
    drawn = text("bert", folder)
    Prompts(6).apply(drawn)
    distances = torch.cdist(drawn.model.prompts.embedding.weight, drawn.model.get_input_embeddings().weight)
    assert (distances.min(1).values < 1e-4).all(), "each is a word of the vocabulary"


# ---------------------------------------------------------------- images


@torch.no_grad()
@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_tokens_of_images_by_hand(deep: bool, pooling: Any, folder: Path) -> None:
    """Equations 4 to 6 of the paper, block by block."""
    backbone = HuggingFaceVision(str(folder / "vit"), pooling=pooling).eval()
    plain = copy.deepcopy(backbone.model)
    images = backbone.example_inputs(3)
    VisualPrompts(TOKENS, deep).apply(backbone)
    hidden = plain.embeddings(images)  # [batch, 1 + patches, dim]
    patches = hidden.shape[1] - 1
    for number, (block, adapted) in enumerate(zip(plain.layers, backbone.model.layers, strict=True)):
        if deep or number == 0:
            own = adapted.prompts.weight.expand(3, -1, -1)
            hidden = torch.cat([hidden[:, :1], own, hidden[:, -patches:]], 1)
        hidden = block(hidden)
    hidden = plain.layernorm(hidden)
    expected = hidden[:, 0] if pooling == "cls" else hidden[:, -patches:].mean(1)
    torch.testing.assert_close(backbone(images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("deep", "blocks"), [(True, 2), (False, 1)])
def test_what_of_a_vision_transformer_trains(deep: bool, blocks: int, folder: Path) -> None:
    backbone = HuggingFaceVision(str(folder / "vit"))
    VisualPrompts(TOKENS, deep).apply(backbone)
    check_partition(backbone, backbone.layer_groups())
    trained = [(name, p.shape) for name, p in backbone.named_parameters() if p.requires_grad]
    assert len(trained) == blocks and all(shape == (TOKENS, 16) for _, shape in trained)
    backbone(backbone.example_inputs(2)).square().sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


@torch.no_grad()
def test_timm_has_them_too() -> None:
    backbone = timm_vit().eval()
    images = backbone.example_inputs(2)
    before = backbone(images)
    VisualPrompts(TOKENS).apply(backbone)
    assert (backbone(images) - before).abs().max() > 1e-3
    assert sum(p.requires_grad for p in backbone.parameters()) == 12


# ---------------------------------------------------------------- both


@torch.no_grad()
@pytest.mark.parametrize("kind", ["text", "image"])
def test_saved_and_loaded_on_their_own(kind: str, folder: Path, tmp_path: Path) -> None:
    backbone: Backbone
    adaptation: Prompts | VisualPrompts
    if kind == "text":
        backbone, adaptation = text("roberta", folder), Prompts(TOKENS, "good dress")
    else:
        backbone, adaptation = HuggingFaceVision(str(folder / "vit")).eval(), VisualPrompts(TOKENS)
    adaptation.apply(backbone)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    for name in trained:
        backbone.get_parameter(name).add_(0.1)
    head = nn.Linear(backbone.feature_dim, 3)
    adaptation.export(tmp_path / "model", backbone, head, ("x", "y", "z"), trained)
    inputs = backbone.example_inputs(3)
    model = load_adapted(tmp_path / "model")
    assert torch.equal(model(inputs), head(backbone(inputs)))
    assert torch.equal(copy.deepcopy(model)(inputs), model(inputs)), "a copy has tokens of its own"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Prompts(0), "at least 1 virtual token, got 0"),
        (lambda f: Prompts(text=" "), "text that prompts start from is empty"),
        (lambda f: VisualPrompts(0), "at least 1 token, got 0"),
        (
            lambda f: Prompts(21).apply(text("bert", f)),
            "21 virtual tokens and texts of up to 20 are more than 40, .*max_length to at most 19",
        ),
        (
            lambda f: Prompts().apply(HuggingFaceVision(str(f / "vit"))),
            "needs a HuggingFaceText, got HuggingFaceVision",
        ),
        (lambda f: VisualPrompts().apply(text("bert", f)), "needs a vision transformer with a class token.*BertModel"),
        (
            lambda f: VisualPrompts().apply(TorchvisionResNet("resnet18", weights=None)),
            "needs a vision transformer with a class token",
        ),
        (
            lambda f: PromptTuning(HuggingFaceVision(str(f / "vit")), text="a photo"),
            "text is no argument of VisualPrompts, which is for HuggingFaceVision; leave it out, got 'a photo'",
        ),
        (
            lambda f: PromptTuning(text("bert", f), deep=False),
            "deep is no argument of Prompts, which is for HuggingFaceText; leave it out, got False",
        ),
        (
            lambda f: VisualPrompts(3).apply(rotary()),
            r"Eva takes no further tokens, as with relative or rotary positions",
        ),
        (lambda f: VisualPrompts(3).apply(averaging()), r"would pool the prompts as well \(global_pool 'avg'\)"),
        (lambda f: twice(text("bert", f)), r"was adapted before, by another module \(it has model\.prompts"),
    ],
)
def test_mistakes(make: Callable[[Path], Any], message: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make(folder)
    assert "\n" not in str(error.value)


def test_only_tokens_and_head_change_and_resumed_runs_end_the_same(tmp_path: Path) -> None:
    modules = []

    def make() -> PromptTuning:
        modules.append(PromptTuning(tiny_vit(tmp_path), tokens=2))
        return modules[-1]

    check_resumes(make, tmp_path)
    plain, tuned = tiny_vit(tmp_path).state_dict(), modules[0].backbone.state_dict()
    assert all(torch.equal(tuned[name], value) for name, value in plain.items())
    assert modules[0].trainable_groups == ["block.0", "block.1", "head"]


def train_on_a_rank(folder: str) -> Tensor:
    module = PromptTuning(HuggingFaceVision(f"{folder}/vit"), tokens=2)
    tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=2).fit(module, datamodule=TinyData())
    return torch.cat([p.detach().flatten() for p in module.parameters() if p.requires_grad])


def test_two_processes_stay_the_same(tmp_path: Path) -> None:
    tiny_vit(tmp_path)
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path))
    assert torch.equal(first, second)


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_job(tmp_path)
    recipe.write_text(recipe.read_text().replace("FineTune", "PromptTuning"))
    said = error_of(["--recipe", str(recipe), "--model.tokens=0"], capsys)
    assert "at least 1 token, got 0" in said
    main(["--recipe", str(recipe), "--model.tokens=3", "--unfreezing=null"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    trained = json.loads((run / "summary.json").read_text())["parameters"]["trainable"]
    assert trained == 2 * 3 * 16 + 16 * 3 + 3
    assert load_adapted(run / "model").class_names == ("field", "lake", "town")
