"""Exported text classifiers in the pipelines of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_text import TEXTS, changed_tokenizer, gpt2, save_text_model
from torch import nn

from lightning_tl.backbones import HuggingFaceText, load_exported

NAMES = ("red", "green", "blue")
PAIRS = [{"text": "a good book", "text_pair": "the boat is wet " * 20}, {"text": "bad", "text_pair": "sad"}]


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "mpnet", "deberta", "electra", "gpt2"])
def test_a_pipeline_gives_the_run_s_probabilities(family: str, side: str, tmp_path: Path) -> None:
    pooling: Any = "lasttoken" if family == "gpt2" else "cls"
    made = gpt2(tmp_path / "gpt2") if family == "gpt2" else save_text_model(family, tmp_path)
    folder = changed_tokenizer(made, padding_side=side)
    backbone = HuggingFaceText(str(folder), pooling, max_length=20).eval()
    torch.manual_seed(1)
    head = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 3, bias=family != "gpt2")).eval()
    line = backbone.export(tmp_path / "out", head, NAMES)
    assert line == f'transformers.AutoModelForSequenceClassification.from_pretrained("{tmp_path / "out"}")'
    pipeline: Any = transformers.pipeline("text-classification", model=str(tmp_path / "out"), device="cpu")
    texts = [*TEXTS, "a very big red boat " * 9]
    wanted = head(backbone(backbone.tokenize(texts))).softmax(1)
    for batch_size in (1, 4):
        found = pipeline(texts, top_k=None, truncation=True, batch_size=batch_size)
        for row, scores in zip(wanted, found, strict=True):
            by_name = {entry["label"]: entry["score"] for entry in scores}
            assert [by_name[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-5)
    two_parts = load_exported(tmp_path / "out")
    torch.testing.assert_close(two_parts(backbone.tokenize(texts)).softmax(1), wanted, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_pairs_in_a_pipeline(family: str, tmp_path: Path) -> None:
    from datamodules.texts.text_samples import TextSamples
    from datamodules.texts.text_tokens import load_tokenizer, tokenise

    backbone = HuggingFaceText(str(save_text_model(family, tmp_path)), "cls", max_length=20).eval()
    head = nn.Linear(32, 3)
    backbone.export(tmp_path / "out", head, NAMES)
    columns = [[pair[name] for pair in PAIRS] for name in ("text", "text_pair")]
    tokens = tokenise(*columns, backbone.input_spec, tmp_path / "kept")
    padding = load_tokenizer(backbone.input_spec).pad_token_id
    samples = TextSamples(tokens, torch.zeros(2), padding, backbone.input_spec.segments)
    wanted = head(backbone(samples.fetch(torch.arange(2).numpy(), 0)["inputs"])).softmax(1)
    pipeline: Any = transformers.pipeline("text-classification", model=str(tmp_path / "out"), device="cpu")
    for row, pair in zip(wanted, PAIRS, strict=True):
        by_name = {entry["label"]: entry["score"] for entry in pipeline(pair, top_k=None, truncation=True)}
        assert [by_name[name] for name in NAMES] == pytest.approx(row.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("family", "options", "head"),
    [
        ("bert", {"pooling": "mean"}, nn.Linear(32, 3)),
        ("bert", {"pooling": "cls", "normalize": True}, nn.Linear(32, 3)),
        ("bert", {"pooling": "cls", "prompt": "this is "}, nn.Linear(32, 3)),
        ("bert", {"pooling": "cls"}, nn.Sequential(nn.Linear(32, 8), nn.GELU(), nn.Linear(8, 3))),
        ("modernbert", {"pooling": "cls"}, nn.Linear(32, 3)),  # a layer norm lies between
    ],
)
def test_what_no_classifier_of_the_family_holds_is_in_two_parts(
    family: str, options: dict[str, Any], head: nn.Module, tmp_path: Path
) -> None:
    backbone = HuggingFaceText(str(save_text_model(family, tmp_path)), **options)
    assert backbone.export(tmp_path / "out", head, NAMES).startswith("lightning_tl.backbones.load_exported(")
    assert not (tmp_path / "out" / "config.json").exists()
