"""TF-IDF and its linear head, against scikit-learn's."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from ranks import on_two_ranks
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from tiny_text import save_tokenizer
from torch import nn

from datamodules import TextDataModule
from lightning_tl.backbones import Tfidf, load_exported
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.strategies import TfidfProbe
from lightning_tl.strategies.probe.sparse_head import solve_sparse
from lightning_tl.strategies.probe.tfidf_probe import inverse_frequency, weighted

_CLASSES = {"warm": ("soft", "jacket", "very warm"), "wet": ("water", "boat", "not warm")}


def words_folder(folder: Path) -> str:
    """A folder with a tokenizer of whole words, as a saved model has it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    (folder / "config.json").write_text("{}")
    return str(folder)


def table(folder: Path, each: int = 12) -> Path:
    """Texts whose classes only their words, or the order of two of them, tell."""
    draw = np.random.default_rng(0)
    rows = []
    for split, count in (("train", each), ("validation", 6), ("test", 6)):
        for label, signs in _CLASSES.items():
            for _ in range(count):
                filler = draw.choice(["a", "the", "is", "it", "this", "was"], 4).tolist()
                place = int(draw.integers(5))
                text = [*filler[:place], signs[int(draw.integers(3))], *filler[place:]]
                rows.append({"text": " ".join(text), "label": label, "split": split})
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    return folder / "texts.csv"


def fitted(folder: Path, **trainer: Any) -> tuple[TfidfProbe, Any, TextDataModule]:
    learner = TfidfProbe(Tfidf(words_folder(folder / "words"), buckets=64))
    data = TextDataModule(
        path=table(folder), text="text", label="label", batch_size=8, num_workers=0, cache=folder / "cache"
    )
    ours = tiny.tiny_trainer(folder, [ResumableCheckpoint()], **trainer)
    ours.fit(learner, datamodule=data)
    return learner, ours, data


def test_weights_are_scikit_learns(tmp_path: Path) -> None:
    backbone = Tfidf(words_folder(tmp_path), buckets=32)
    ids = torch.randint(20, (6, 9), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(9) < torch.tensor([9, 1, 4, 7, 2, 5])[:, None]).long()
    inputs: Any = {"input_ids": ids, "attention_mask": mask}
    counts = np.zeros((6, backbone.feature_dim), np.int64)
    for row in range(6):
        pieces = ids[row, : int(mask[row].sum())].tolist()
        for piece in pieces:
            counts[row, piece] += 1
        for a, b in itertools.pairwise(pieces):
            place = (a * 0x9E3779B1 + b * 0x85EBCA6B) % 32
            counts[row, backbone.columns_of_pairs()][place] += 1
    theirs = TfidfTransformer(sublinear_tf=True, smooth_idf=True).fit_transform(csr_matrix(counts)).toarray()
    frequency = inverse_frequency(csr_matrix(counts))
    np.testing.assert_allclose(weighted(csr_matrix(counts), frequency).toarray(), theirs, atol=1e-12)
    assert not backbone(inputs).any(), "before training texts there are no frequencies"
    backbone.inverse_frequency.copy_(torch.from_numpy(frequency))
    np.testing.assert_allclose(backbone(inputs).numpy(), theirs, atol=1e-6)


def test_the_head_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    x = csr_matrix(draw.random((80, 12)) * (draw.random((80, 12)) < 0.3))
    y = torch.from_numpy(draw.integers(3, size=80))
    found = solve_sparse((x, y), (x, y), 3, nn.CrossEntropyLoss(), [1e-2])
    theirs = LogisticRegression(C=1 / (1e-2 * 80), tol=1e-10, max_iter=5000).fit(x, y)
    logits = x @ found.weight.T + found.bias
    expected = theirs.decision_function(x)
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=1e-3
    )
    values = torch.from_numpy(draw.standard_normal(80))[:, None]
    ridge = Ridge(alpha=1e-2 * 80 / 2).fit(x, values.numpy())
    ours = solve_sparse((x, values), (x, values), 1, nn.MSELoss(), [1e-2])
    np.testing.assert_allclose(x @ ours.weight.T + ours.bias, ridge.predict(x).reshape(-1, 1), atol=1e-4)


def test_the_strength_is_chosen_on_validation() -> None:
    draw = np.random.default_rng(1)
    x, y = csr_matrix(draw.random((40, 30))), torch.from_numpy(draw.integers(2, size=40))
    other = csr_matrix(draw.random((40, 30))), torch.from_numpy(draw.integers(2, size=40))
    grid = [1e-4, 1e-2, 1.0]
    losses = {l2: solve_sparse((x, y), other, 2, nn.CrossEntropyLoss(), [l2]).validation_loss for l2 in grid}
    assert solve_sparse((x, y), other, 2, nn.CrossEntropyLoss(), grid).l2 == min(grid, key=lambda l2: losses[l2])
    with pytest.raises(FloatingPointError, match="no strength of the penalty"):
        solve_sparse((x, y), (csr_matrix(np.full((2, 30), np.nan)), y[:2]), 2, nn.CrossEntropyLoss(), grid)


def test_words_and_their_order_are_learned_exported_and_read_back(tmp_path: Path) -> None:
    learner, trainer, data = fitted(tmp_path)
    assert trainer.global_step == 0
    (scores,) = trainer.test(learner, datamodule=data, verbose=False)
    assert scores["test_accuracy"] == 1.0, "very warm and not warm differ by a pair alone"
    learner.export(tmp_path / "model")
    batch = next(iter(data.test_dataloader()))
    again = load_exported(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(again(batch["inputs"]), learner.eval()(batch["inputs"]))
    assert again.class_names == ("warm", "wet")


def head_of(folder: str, **trainer: Any) -> dict[str, torch.Tensor]:
    learner, _, _ = fitted(Path(folder), **trainer)
    return {name: value.clone() for name, value in learner.state_dict().items() if "metrics" not in name}


def of_two(folder: str) -> dict[str, torch.Tensor]:
    import os

    return head_of(f"{folder}/rank-{os.environ['RANK']}", devices=2, strategy="ddp")


def test_two_processes_have_what_one_has(tmp_path: Path) -> None:
    first, second = on_two_ranks(of_two, tmp_path, str(tmp_path))
    alone = head_of(str(tmp_path / "alone"))
    assert alone["backbone.inverse_frequency"].any() and alone["head.weight"].any()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], value), name


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="counts words by the backbone Tfidf, got TinyBackbone"):
        TfidfProbe(tiny.TinyBackbone())  # type: ignore[arg-type]
    folder = words_folder(tmp_path / "words")
    for wrong in ({"buckets": 0}, {"max_length": 2}):
        with pytest.raises(ValueError, match="buckets must be at least 1 and max_length at least 3"):
            Tfidf(folder, **wrong)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="has no tokenizer that can be opened"):
        Tfidf(str(tmp_path / "bare"))
