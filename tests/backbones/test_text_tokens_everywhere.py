"""One way from a text to tokens: padding on the right, a padding token for all, prompts and lower-casing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from tiny_text import TEXTS, VOCABULARY, changed_tokenizer, gpt2, save_text_model, sentence_folder
from torch import nn

from datamodules.texts.text_samples import TextSamples
from datamodules.texts.text_tokens import load_tokenizer, tokenise
from lightning_tl.backbones import HuggingFaceText, load_exported


def bert(folder: Path) -> Path:
    return save_text_model("bert", folder)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
@pytest.mark.parametrize("make", [bert, gpt2])
def test_a_tokenizer_that_pads_left_changes_nothing(make: Any, pooling: Any, tmp_path: Path) -> None:
    folder = changed_tokenizer(make(tmp_path / "model"), padding_side="left")
    backbone = HuggingFaceText(str(folder), pooling=pooling).eval()
    tokens = tokenise(TEXTS, None, backbone.input_spec, tmp_path / "kept")
    samples = TextSamples(tokens, torch.zeros(3), load_tokenizer(backbone.input_spec).pad_token_id, False)
    trained_on = backbone(samples.fetch(torch.arange(3).numpy(), 0)["inputs"])
    alone = torch.cat([backbone(backbone.tokenize([text])) for text in TEXTS])
    backbone.export(tmp_path / "out", nn.Linear(32, 2), ("x", "y"))
    again = load_exported(tmp_path / "out").backbone
    encoded = SentenceTransformer(str(tmp_path / "out" / "backbone"), device="cpu").encode(TEXTS)
    for found in (alone, backbone(backbone.tokenize(TEXTS)), again(again.tokenize(TEXTS)), torch.tensor(encoded)):
        torch.testing.assert_close(found, trained_on, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
def test_pooling_finds_the_text_between_padding_on_either_side(pooling: Any) -> None:
    from lightning_tl.backbones.hugging_face.texts.text_pooling import pool

    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    for row, found in enumerate(pool(hidden, mask, pooling)):
        kept = hidden[row][mask[row].bool()]
        torch.testing.assert_close(found, {"cls": kept[0], "mean": kept.mean(0), "lasttoken": kept[-1]}[pooling])


@torch.no_grad()
def test_without_a_padding_token_the_last_one_pads_and_is_masked(tmp_path: Path) -> None:
    backbone = HuggingFaceText(str(gpt2(tmp_path, pad_token=None, eos_token="[SEP]"))).eval()
    inputs = backbone.tokenize(TEXTS)
    assert inputs["input_ids"][2, -1] == 3
    assert inputs["attention_mask"].sum(1).tolist() == [5, 13, 3]
    alone = torch.cat([backbone(backbone.tokenize([text])) for text in TEXTS])
    torch.testing.assert_close(backbone(inputs), alone, rtol=0, atol=1e-5)
    changed_tokenizer(tmp_path, pad_token=None, eos_token=None, sep_token=None, unk_token=None)
    with pytest.raises(ValueError, match="no padding token and none that ends a sequence"):
        HuggingFaceText(str(shutil.copytree(tmp_path, tmp_path / "copy"))).tokenize(TEXTS)


@torch.no_grad()
def test_an_empty_text_has_a_vector(tmp_path: Path) -> None:
    folder = gpt2(tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    backbone = HuggingFaceText(str(folder)).eval()
    assert backbone.tokenize([""])["attention_mask"].tolist() == [[1]]
    assert backbone(backbone.tokenize(["", "bad"])).isfinite().all()
    assert tokenise(["", "bad"], None, backbone.input_spec, tmp_path / "kept").lengths.tolist() == [1, 1]


PROMPTS = {"prompts": {"query": "Find this: ", "document": "The text: "}, "default_prompt_name": "query"}


@torch.no_grad()
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("prompts", [PROMPTS, {**PROMPTS, "default_prompt_name": None}], ids=["prompt", "none"])
def test_prompts_and_lower_case_are_those_of_sentence_transformers(
    prompts: dict[str, Any], lower: bool, tmp_path: Path
) -> None:
    folder = save_text_model("bert", tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = [*tokenizer["model"]["vocab"], "Find", "The"][: VOCABULARY + 3]
    tokenizer["model"]["vocab"] = {word: k for k, word in enumerate(words)}
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "normalizer": None}))
    sentence_folder(folder, {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 30, "do_lower_case": lower}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    texts = ["THE dress", "the dress", "A Very soft jacket"]
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts, convert_to_tensor=True)
    backbone = HuggingFaceText(str(folder)).eval()
    torch.testing.assert_close(backbone.embed_texts(texts), expected, rtol=0, atol=1e-6)
    tokens = tokenise(texts, None, backbone.input_spec, tmp_path / "kept")
    samples = TextSamples(tokens, torch.zeros(3), 0, backbone.input_spec.segments)
    fetched = backbone(samples.fetch(torch.arange(3).numpy(), 0)["inputs"])
    torch.testing.assert_close(fetched, expected, rtol=0, atol=1e-6)
    backbone.export(tmp_path / "out", nn.Linear(32, 2), ("x", "y"))
    again = SentenceTransformer(str(tmp_path / "out" / "backbone"), device="cpu").encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)
    exported = load_exported(tmp_path / "out").backbone
    torch.testing.assert_close(exported.embed_texts(texts), expected, rtol=0, atol=1e-6)  # type: ignore[operator]


def test_prompts_that_cannot_be_followed_are_refused(tmp_path: Path) -> None:
    folder = save_text_model("bert", tmp_path)
    sentence_folder(folder, {"pooling_mode_mean_tokens": True, "include_prompt": False})
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps(PROMPTS))
    with pytest.raises(ValueError, match=r"include_prompt is false\), which is not supported; set pooling"):
        HuggingFaceText(str(folder))
    settings.write_text(json.dumps({**PROMPTS, "default_prompt_name": "passage"}))
    with pytest.raises(ValueError, match="names the default prompt 'passage', but has query, document"):
        HuggingFaceText(str(folder), pooling="mean")
