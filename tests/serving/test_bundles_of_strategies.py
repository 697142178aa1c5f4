"""Strategies whose heads no step trains: their bundles answer as `predict` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import make_job
from tiny_clip import save_clip

from lightning_tl.cli import main
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import PredictingModel

FAST = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
STRATEGIES = "lightning_tl.strategies."


def same_answers(run: Path, raw: dict[str, Any], *new: str) -> pd.DataFrame:
    """Export, predict, and compare; `raw` is what is sent for each id."""
    main(["export", "--run", str(run)])
    main(["predict", "--run", str(run), *new])
    table = pd.read_parquet(run / "predictions" / "predict.parquet")
    model = open_bundle(run / "bundle")
    assert isinstance(model, PredictingModel) and len(table) > 5
    found = model.predict([model.prepare(raw[name]) for name in table["id"]], calibrated=False).outputs
    column = "probabilities" if "probabilities" in table else "predicted"
    np.testing.assert_allclose(found, np.stack(table[column]).reshape(found.shape), atol=1e-4)
    return table


IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "clip zero shot": ("ZeroShot", {"templates": ["this is a {}", "a very green {}"]}),
    "siglip zero shot": ("ZeroShot", {}),
    "nearest class mean": ("NearestClassMean", {}),
    "linear probe": ("LinearProbe", {}),
    "visual prompts": ("PromptTuning", {}),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, tmp_path: Path) -> None:
    recipe, (strategy, options) = make_job(tmp_path), IMAGES[name]
    content = yaml.safe_load(recipe.read_text())
    family = name.split()[0]
    if family in ("clip", "siglip"):
        kind, folder = "HuggingFaceCLIP", save_clip(family, tmp_path)
    else:
        kind, folder = "HuggingFaceVision", tmp_path / "vit"
    backbone = {"class_path": f"lightning_tl.backbones.{kind}", "init_args": {"pretrained": str(folder)}}
    content["model"] = {"class_path": STRATEGIES + strategy, "init_args": {"backbone": backbone, **options}}
    content.pop("unfreezing")
    recipe.write_text(f"# mine\n{yaml.safe_dump(content)}")
    main(["--recipe", str(recipe), *FAST, f"--run_folder={tmp_path / 'run'}"])
    root = tmp_path / "images"
    raw = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}
    same_answers(tmp_path / "run", raw, f"--data.predict_root={root}")


TEXTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "few shot": ("ContrastiveFewShot", "minilm", {"label": "topic"}),
    "nearest class mean": ("NearestClassMean", "mpnet", {"label": "topic"}),
    "zero shot": ("ZeroShot", "minilm", {"label": "topic"}),
    "values": ("LoRAFineTune", "roberta", {"label": ["low", "high"], "task": "regression"}),
    "several labels": ("LinearProbe", "modernbert", {"label": ["a", "b", "c"]}),
    "deberta": ("FineTune", "deberta", {"label": "topic"}),
    "tfidf": ("TfidfProbe", "bert", {"label": "topic"}),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str, saved_models: Path, tmp_path: Path) -> None:
    strategy, family, label = TEXTS[name]
    noise = np.random.default_rng(1)
    words = ["the", "soup", "was", "hot", "and", "a", "good", "match", "is", "very", "small"]
    table = pd.DataFrame({"text": [" ".join(noise.choice(words, noise.integers(1, 12))) for _ in range(48)]})
    table["split"] = [("train", "validation", "test")[k % 3] for k in range(48)]
    table["topic"] = [("food", "sport")[k // 3 % 2] for k in range(48)]
    for k, column in enumerate("abc"):
        table[column] = (np.arange(48) // 3 + k) % (2 + k) == 0
    table = table.astype({column: int for column in "abc"})
    table["low"], table["high"] = noise.normal(size=48) * 30 + 100, noise.normal(size=48)
    table.to_csv(tmp_path / "own.csv", index=False)
    table[["text"]].to_csv(tmp_path / "new.csv", index=False)
    kind = "Tfidf" if name == "tfidf" else "HuggingFaceText"
    backbone: dict[str, Any] = {"class_path": f"lightning_tl.backbones.{kind}"}
    backbone["init_args"] = {"pretrained": str(saved_models / family)}
    data = {"path": str(tmp_path / "own.csv"), "text": "text", "split": "split", "batch_size": 8, **label}
    recipe = {
        "model": {"class_path": STRATEGIES + strategy, "init_args": {"backbone": backbone}},
        "data": {"class_path": "datamodules.TextDataModule", "init_args": data | {"cache": str(tmp_path / "cache")}},
    }
    (tmp_path / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(tmp_path / "mine.yaml"), *FAST, f"--run_folder={tmp_path / 'run'}"])
    new = f"--data.path={tmp_path / 'new.csv'}"
    main(["predict", "--run", str(tmp_path / "run"), new])
    ids = pd.read_parquet(tmp_path / "run" / "predictions" / "predict.parquet")["id"]
    same_answers(tmp_path / "run", dict(zip(ids, table["text"], strict=True)), new)
