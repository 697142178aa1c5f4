"""Contrastive few-shot learning: the loss of pairs against a loop, and a run on a tiny encoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from cli_runs import error_of
from ranks import on_two_ranks
from tiny_text import WORDS
from torch import nn

from datamodules import TextDataModule
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.losses import PairSimilarity
from lightning_tl.strategies import ContrastiveFewShot
from lightning_tl.training.convex import solve_linear


def slow(features: list[list[float]], target: list[int]) -> float:
    kinds: dict[bool, list[float]] = {}
    for i, a in enumerate(features):
        for j in range(i):
            b = features[j]
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            similarity = dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))
            same = target[i] == target[j]
            kinds.setdefault(same, []).append((similarity - same) ** 2)
    means = [sum(found) / len(found) for found in kinds.values()]
    return sum(means) / len(means) if means else 0.0


@pytest.mark.parametrize("target", [[0, 1, 0, 2, 1, 0], [0] * 6, [0, 1, 2, 3, 4, 5]])
def test_pairs_agree_with_a_loop(target: list[int]) -> None:
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    found = PairSimilarity()(features, torch.tensor(target))
    assert float(found) == pytest.approx(slow(features.tolist(), target), abs=1e-6)


def test_one_sample_has_no_pairs_and_shapes_are_checked() -> None:
    alone = torch.ones(1, 3, requires_grad=True)
    loss = PairSimilarity()(alone, torch.tensor([0]))
    loss.backward()
    assert float(loss.detach()) == 0 and alone.grad is not None
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3,\)"):
        PairSimilarity()(torch.ones(2, 3), torch.zeros(3))


def table(folder: Path, per_class: dict[str, int]) -> Path:
    """Texts with two words of their class each, as a table with its splits."""
    draw, rows = np.random.default_rng(0), []
    for word, count in per_class.items():
        for k in range(count + 8):
            split = "train" if k < count else "validation" if k < count + 4 else "test"
            rows.append((" ".join([*draw.choice(WORDS, 5), word, word]), word, split))
    path = folder / "own.csv"
    pd.DataFrame(rows, columns=["text", "label", "split"]).to_csv(path, index=False)
    return path


def fitted(folder: Path, saved_models: Path, counts: dict[str, int], **options: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    learner = ContrastiveFewShot(HuggingFaceText(str(saved_models / "minilm")), lr=1e-3, **options)
    path = table(folder, counts)
    data = TextDataModule(path=path, text="text", label="label", batch_size=8, num_workers=0, cache=folder / "cache")
    trainer = tiny.tiny_trainer(folder, [ResumableCheckpoint()], max_epochs=4, check_val_every_n_epoch=2)
    trainer.fit(learner, datamodule=data)
    return learner, data, trainer


def test_pairs_of_one_label_come_together_and_the_head_is_the_exact_one(tmp_path: Path, saved_models: Path) -> None:
    before = HuggingFaceText(str(saved_models / "minilm")).eval()
    learner, data, trainer = fitted(tmp_path, saved_models, {"red": 8, "boat": 8, "fish": 8})
    learner.eval()

    def features(backbone: Any, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        rows = data.indices[split]
        texts = [data.sample_text(int(k)) for k in rows]
        return backbone.embed_texts(texts), data.targets()[rows]

    loss = PairSimilarity()
    assert float(loss(*features(learner.backbone, "train"))) < 0.7 * float(loss(*features(before, "train")))
    train, validation = features(learner.backbone, "train"), features(learner.backbone, "validation")
    known = solve_linear(train, validation, 3, nn.CrossEntropyLoss(), learner.l2_grid)
    torch.testing.assert_close(learner.head.weight.data, known.weight, atol=1e-3, rtol=1e-2)
    kept = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)["state_dict"]
    assert torch.equal(kept["head.weight"], learner.head.weight.data) and trainer.global_step == 12
    assert not learner.head.weight.requires_grad


def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path: Path, saved_models: Path) -> None:
    path = table(tmp_path, {"red": 8, "boat": 8})

    def make() -> ContrastiveFewShot:
        torch.manual_seed(0)
        return ContrastiveFewShot(HuggingFaceText(str(saved_models / "minilm")), lr=1e-3)

    def data() -> TextDataModule:
        return TextDataModule(
            path=path, text="text", label="label", batch_size=8, num_workers=0, cache=tmp_path / "cache"
        )

    tiny.check_resumes(make, tmp_path, data=data)


def of_two(folder: str, models: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    learner = ContrastiveFewShot(HuggingFaceText(models), lr=1e-3)
    data = TextDataModule(
        path=f"{folder}/own.csv", text="text", label="label", batch_size=4, num_workers=0, cache=Path(folder) / "cache"
    )
    where = Path(folder) / "run"  # one folder for both, in which they share features
    trainer = tiny.tiny_trainer(where, [ResumableCheckpoint()], max_epochs=2, devices=2, strategy="ddp")
    trainer.fit(learner, datamodule=data)
    return {name: value.clone() for name, value in learner.state_dict().items() if "metrics" not in name}


def test_two_processes_end_with_the_same_weights_and_the_exact_head(tmp_path: Path, saved_models: Path) -> None:
    table(tmp_path, {"red": 8, "boat": 8})
    first, second = on_two_ranks(of_two, tmp_path, str(tmp_path), str(saved_models / "minilm"))
    before = HuggingFaceText(str(saved_models / "minilm")).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[f"backbone.{name}"], value) for name, value in before.items())
    assert first["head.weight"].any()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"red": 1, "boat": 1}, "every class has one training sample, so there are no pairs of one class"),
    ],
)
def test_refused_before_anything_is_computed(
    counts: dict[str, int], message: str, tmp_path: Path, saved_models: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(tmp_path, saved_models, counts)


def test_a_class_with_one_text_is_told(tmp_path: Path, saved_models: Path) -> None:
    with pytest.warns(match="only in pairs of different classes: boat"):
        fitted(tmp_path, saved_models, {"boat": 1, "red": 8})


def test_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a backbone that embeds texts, such as .*, not TinyBackbone"):
        ContrastiveFewShot(tiny.TinyBackbone())


def test_a_recipe_with_values_is_refused_in_a_sentence(
    tmp_path: Path, saved_models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.read_csv(table(tmp_path, {"red": 8, "boat": 8}))
    frame.assign(price=np.arange(len(frame)) / 3).to_csv("values.csv", index=False)
    model = f"--model.backbone.pretrained={saved_models / 'minilm'}"
    data = ["--data.path=values.csv", "--data.label=price", "--data.task=regression", "--data.labels_per_class=null"]
    few = ["--data.cache=cache", "--trainer.accelerator=cpu", "--run_folder=run"]
    message = error_of(["--recipe", "text_few_shot", model, *data, *few], capsys)
    assert "pairs are of one label a sample, but the targets are values: use LinearProbe" in message
