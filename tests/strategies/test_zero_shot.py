"""Classes told apart by what they are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import error_of
from sentence_transformers import SentenceTransformer
from torch.nn.functional import cosine_similarity

from lightning_tl.backbones import HuggingFaceText, load_exported
from lightning_tl.backbones.heads import SimilarityHead
from lightning_tl.cli import main
from lightning_tl.strategies import ZeroShot

TEXTS = {
    "cooking": ["Simmer the sauce for ten minutes", "Add salt to the soup", "Bake the bread until golden"],
    "sport": ["The striker scored twice", "She won the tennis match", "The team trained for the cup final"],
}
RECIPE = """\
# Own texts without training.
model:
  class_path: lightning_tl.strategies.ZeroShot
  init_args:
    backbone: lightning_tl.backbones.HuggingFaceText
data:
  class_path: datamodules.TextDataModule
  init_args: {{path: {folder}/own.csv, cache: {folder}/cache, split: part}}
trainer: {{accelerator: cpu, devices: 1, enable_progress_bar: false}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    rows = [(text, name, part) for name, texts in TEXTS.items() for text in texts for part in ("train", "val", "test")]
    pd.DataFrame(rows, columns=["text", "label", "part"]).to_csv(tmp_path / "own.csv", index=False)
    (tmp_path / "own.yaml").write_text(RECIPE.format(folder=tmp_path))
    return str(tmp_path / "own.yaml")


@pytest.mark.usefixtures("drawn_pictures")
def test_real_weights_tell_topics_apart(recipe: str, tmp_path: Path) -> None:
    main(["--recipe", recipe, "--model.descriptions={cooking: recipes and food}"])
    (run,) = (tmp_path / "runs" / "own").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["accuracy"] == 1.0
    assert summary["parameters"]["trainable"] == 0
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["confusion_matrix.png", "reliability.png"], (
        "no curves of nothing"
    )
    table = pd.read_parquet(run / "predictions" / "test.parquet")
    texts = pd.read_csv("own.csv")["text"][[int(name.removeprefix("row-")) - 1 for name in table["id"]]].tolist()
    peer = SentenceTransformer(HuggingFaceText().input_spec.tokenizer, device="cpu")
    names = ["recipes and food", "sport"]
    texts_, names_ = (peer.encode(some, convert_to_tensor=True) for some in (texts, names))
    similar = torch.stack([cosine_similarity(texts_, name[None]) for name in names_], dim=1)
    expected = (similar / 0.05).softmax(1).numpy()
    assert np.abs(np.stack(table["probabilities"]) - expected).max() < 1e-5
    model = load_exported(run / "model")
    with torch.no_grad():
        found = model(model.backbone.tokenize(texts)).softmax(1).numpy()
    assert np.abs(found - expected).max() < 1e-5
    main(["predict", "--run", str(run)])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 6


def test_templates_are_averaged() -> None:
    module = ZeroShot(HuggingFaceText(), templates=("{}", "I like {}."), num_classes=2)
    module.class_names = ("red", "blue")
    module.configure_model()
    peer = SentenceTransformer(HuggingFaceText().input_spec.tokenizer, device="cpu")
    for row, name in zip(module.head.weight, ("red", "blue"), strict=True):  # type: ignore[union-attr, arg-type]
        mean = peer.encode([name, f"I like {name}."], convert_to_tensor=True).mean(0)
        torch.testing.assert_close(row, mean / mean.norm(), rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_class_numbers_and_braces() -> None:
    module = ZeroShot(HuggingFaceText(), {0: "re{d}"}, templates=("{x} {}",), num_classes=2)  # type: ignore[dict-item]
    module.class_names = ("0", "1")
    module.configure_model()
    peer = SentenceTransformer(HuggingFaceText().input_spec.tokenizer, device="cpu")
    expected = peer.encode(["{x} re{d}", "{x} 1"], convert_to_tensor=True)
    torch.testing.assert_close(module.head.weight.detach(), expected, rtol=0, atol=1e-6)  # type: ignore[union-attr]


def test_temperature_changes_no_prediction() -> None:
    torch.manual_seed(0)
    features, heads = torch.randn(50, 8), [SimilarityHead(8, 4, temperature) for temperature in (0.01, 0.1, 1.0)]
    for head in heads[1:]:
        head.load_state_dict(heads[0].state_dict())
    logits = [head(features) for head in heads]
    assert all(torch.equal(one.argmax(1), logits[0].argmax(1)) for one in logits)
    sure = [one.softmax(1).amax(1).mean() for one in logits]
    assert sure[0] > sure[1] > sure[2]
    loop = [[float(cosine_similarity(f, w, dim=0)) / 0.1 for w in heads[1].weight.detach()] for f in features]
    torch.testing.assert_close(logits[1], torch.tensor(loop), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroShot(HuggingFaceText(), temperature=0), "temperature must be above 0, got 0"),
        (lambda: ZeroShot(HuggingFaceText(), templates=()), "every template must have one {} where"),
        (lambda: ZeroShot(HuggingFaceText(), templates=("a", "{}")), "every template must have one {}"),
        (lambda: ZeroShot(HuggingFaceText(), templates="{}"), "every template must have one {}"),
        (lambda: SimilarityHead(3, 2, -1.0), "temperature must be above 0, got -1"),
    ],
)
def test_mistakes(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_description_of_no_class(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(["--recipe", recipe, "--model.descriptions={sports: games}"], capsys)
    assert "descriptions of classes that the data has not: sports; it has cooking, sport" in said


def test_several_devices(tmp_path: Path) -> None:
    module = ZeroShot(HuggingFaceText(), num_classes=2)
    module.trainer = SimpleNamespace(world_size=2, datamodule=None)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="ZeroShot trains nothing: use one device, got 2"):
        module.setup("fit")
