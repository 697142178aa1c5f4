"""Folds that keep blocks whole and classes even, and scores of samples that a probe was not solved on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.regression import r2_score

from lightning_tl.choosing.features.every_layer import LAST
from lightning_tl.choosing.features.labelled_features import LabelledFeatures
from lightning_tl.choosing.forgetting.folds import L2, folds_of, scores_out_of_fold
from lightning_tl.choosing.forgetting.kept_ability import kept_ability
from lightning_tl.choosing.transferability.transfer_scores import scores_of_probe, solve_probe, transfer_scores
from lightning_tl.tasks import OneLabel, SeveralLabels, Task, Values

Floats = NDArray[np.float32]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 80), classes=st.integers(1, 5), labelled=st.booleans())
def test_single_samples_are_spread_evenly(seed: int, n: int, classes: int, labelled: bool) -> None:
    labels = np.random.default_rng(seed).integers(classes, size=n)
    folds = folds_of(labels if labelled else None, None, n, seed)
    assert folds.tolist() == folds_of(labels if labelled else None, None, n, seed).tolist()
    sizes = np.bincount(folds, minlength=min(5, n))
    assert len(sizes) == min(5, n)
    assert sizes.max() - sizes.min() <= 1
    for label in range(classes) if labelled else ():
        counts = np.bincount(folds[labels == label], minlength=len(sizes))
        assert counts.max() - counts.min() <= 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(6, 80), count=st.integers(3, 20))
def test_blocks_stay_whole(seed: int, n: int, count: int) -> None:
    blocks = np.concatenate([[0, 10, 20], 10 * np.random.default_rng(seed).integers(count, size=n - 3)])
    folds = folds_of(np.zeros(n, np.int64), blocks, n, seed)
    assert all(len(np.unique(folds[blocks == block])) == 1 for block in np.unique(blocks))
    assert len(np.unique(folds)) == min(5, len(np.unique(blocks)))
    assert np.bincount(folds).max() <= np.bincount(folds).min() + np.bincount(blocks // 10).max()


@pytest.mark.parametrize(("blocks", "what"), [(None, "samples"), (np.array([0, 1]), "blocks of samples")])
def test_too_few(blocks: NDArray[np.int64] | None, what: str) -> None:
    with pytest.raises(ValueError, match=rf"at least 3 {what} are needed, .* got 2"):
        folds_of(None, blocks, 2)


def _labelled(task: Task, target: torch.Tensor, values: Floats, blocks: NDArray[np.int64] | None) -> LabelledFeatures:
    names = tuple("abcdefgh"[: 3 if target.ndim == 1 else target.shape[1]])
    return LabelledFeatures(values, target, np.ones(len(values), bool), blocks, task, names)


def _tasks(n: int = 60) -> list[LabelledFeatures]:
    random = np.random.default_rng(0)
    values = random.normal(size=(n, 6)).astype(np.float32)
    classes = torch.from_numpy(values[:, :3].argmax(1))
    several = torch.from_numpy((values[:, :2] > 0).astype(np.float32))
    numbers = torch.from_numpy(100 + 10 * values[:, :2])
    return [
        _labelled(OneLabel(), classes, values, None),
        _labelled(SeveralLabels(), several, values, np.arange(n) // 3),
        _labelled(Values([100, 100], [10, 10]), numbers, values, None),
    ]


@pytest.mark.parametrize("features", _tasks(), ids=lambda features: features.task.name)
def test_a_sample_never_decides_about_its_own_score(features: LabelledFeatures) -> None:
    folds = folds_of(None, features.blocks, len(features.values))
    scores = scores_out_of_fold(features, folds)
    assert scores.mean() > 0.85
    values, target = features.values, features.target
    for fold in range(5):  # written out, sample sets by name
        scored, choosing = np.flatnonzero(folds == fold), np.flatnonzero(folds == (fold + 1) % 5)
        solved = np.setdiff1d(np.arange(len(values)), np.concatenate([scored, choosing]))
        train, validation = (values[solved], target[solved]), (values[choosing], target[choosing])
        solution = solve_probe(train, validation, features.task, len(features.class_names), L2)
        expected = scores_of_probe(solution, (values[scored], target[scored]), features.task)
        assert scores[scored].tolist() == expected.tolist()


@pytest.mark.parametrize("features", _tasks(), ids=lambda features: features.task.name)
def test_scores_of_each_task(features: LabelledFeatures) -> None:
    parts = [(features.values[part], features.target[part]) for part in (slice(0, 40), slice(40, 60))]
    found = transfer_scores(parts[0], parts[1], features.task, len(features.class_names), 3)
    noise = np.random.default_rng(1).normal(size=(60, 6)).astype(np.float32)
    other = [(noise[:40], parts[0][1]), (noise[40:], parts[1][1])]
    worse = transfer_scores(other[0], other[1], features.task, len(features.class_names), 3)
    assert found.probe.shape == (20,)
    assert found.probe.mean() > worse.probe.mean() + 0.2
    assert found.log_me > worse.log_me
    assert (found.neighbours is None) == (features.task.name != "one label")
    if isinstance(features.task, Values):
        solution = solve_probe(parts[0], parts[1], features.task, 2)
        outputs = features.task.predictions(torch.from_numpy(parts[1][0]) @ solution.weight.T + solution.bias)
        assert found.probe.mean() == pytest.approx(float(r2_score(outputs, parts[1][1])), abs=1e-4)


def test_values_that_do_not_vary_are_told() -> None:
    features = _tasks()[2]
    same = features.target.clone()
    same[40:, 1] = 7
    parts = [(features.values[part], same[part]) for part in (slice(0, 40), slice(40, 60))]
    with pytest.raises(ValueError, match="a value is the same for all 20 validation samples"):
        transfer_scores(parts[0], parts[1], features.task, 2)


def test_what_is_kept_and_what_is_lost() -> None:
    before = _tasks(120)[0]
    layers = {"block.0": slice(0, 3), "same": slice(3, 4), LAST: slice(0, 6)}
    turned = before.values @ np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0].astype(np.float32)
    noise = np.random.default_rng(1).normal(size=before.values.shape).astype(np.float32)
    for values, lost in ((before.values, False), (turned, False), (noise, True)):
        after = _labelled(before.task, before.target, values, None)
        found = kept_ability(before, after, layers, {LAST: slice(0, 6), "block.0": slice(0, 3)})
        assert list(found.alignment) == ["block.0", LAST]
        assert (found.change.high < 0) == lost
        assert (found.alignment[LAST] > 0.999) != lost
        assert ("some of it was forgotten" in "\n".join(found.lines())) == lost
        assert found.before.mean + found.change.mean == pytest.approx(found.after.mean)
    constant = _labelled(before.task, before.target, np.concatenate([np.ones((120, 3)), turned[:, 3:]], 1), None)
    found = kept_ability(before, constant, layers, layers)
    assert found.as_json()["alignment"]["block.0"] is None
    with pytest.raises(ValueError, match="features of the same samples"):
        kept_ability(before, _tasks(60)[0], layers, layers)
