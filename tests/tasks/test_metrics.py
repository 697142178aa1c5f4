"""Intervals, calibration and scores per class, against slow references of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import from_numpy
from torchmetrics.functional.classification import multiclass_f1_score

from lightning_tl.metrics import (
    BootstrapInterval,
    bootstrap_difference,
    bootstrap_mean,
    class_scores,
    confusion_counts,
    expected_calibration_error,
    macro_f1,
)
from lightning_tl.metrics.confusion_bootstrap import accuracy, mean_f1, quadratic_kappa, score_interval


def slow_bootstrap(values: np.ndarray, blocks: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """Draw block after block and average what was drawn, as the books describe it."""
    generator, names = np.random.default_rng(seed), sorted(set(blocks.tolist()))
    members = {name: values[blocks == name].tolist() for name in names}
    means = []
    for _ in range(draws):
        drawn: list[float] = []
        for name in generator.choice(names, size=len(names), replace=True):
            drawn += members[name]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    return means[int(0.025 * draws)], means[int(0.975 * draws) - 1]


def clustered(blocks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right-or-wrong samples in blocks of unequal size whose accuracy differs: [n], [n]."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 30, blocks)
    labels = np.repeat(np.arange(blocks) * 7 - 20, sizes)
    chance = np.repeat(generator.beta(4, 2, blocks), sizes)
    return (generator.random(len(labels)) < chance).astype(float), labels


@pytest.mark.parametrize("blocks", [32, 60])
def test_interval_agrees_with_drawing_block_after_block(blocks: int) -> None:
    values, labels = clustered(blocks, seed=blocks)
    interval = bootstrap_mean(values, labels)
    low, high = slow_bootstrap(values, labels, draws=3000, seed=1)
    width = high - low
    assert interval.low == pytest.approx(low, abs=0.08 * width)
    assert interval.high == pytest.approx(high, abs=0.08 * width)
    assert (interval.mean, interval.blocks, interval.samples) == (values.mean(), blocks, len(values))


def test_interval_of_real_numbers_agrees_too() -> None:
    generator = np.random.default_rng(0)
    values, labels = generator.normal(2, 1, 300), np.repeat(np.arange(30), 10)
    interval = bootstrap_mean(values, labels)
    low, high = slow_bootstrap(values, labels, draws=3000, seed=2)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_independent_samples_give_the_binomial_interval() -> None:
    values = np.arange(1000) % 4 > 0  # 0.75
    interval = bootstrap_mean(values)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 1000)
    assert (interval.low, interval.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.002)


def test_blocks_widen_the_interval_of_samples_that_resemble_each_other() -> None:
    labels = np.repeat(np.arange(50), 20)
    values = (labels % 3 > 0).astype(float)  # a block is all right or all wrong
    alone, together = bootstrap_mean(values), bootstrap_mean(values, labels)
    assert together.high - together.low > 3.5 * (alone.high - alone.low)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator, inside = np.random.default_rng(5), 0
    for trial in range(200):
        chance = np.repeat(generator.beta(6, 2, 60), 10)
        interval = bootstrap_mean(generator.random(600) < chance, np.repeat(np.arange(60), 10), draws=600, seed=trial)
        inside += interval.low <= 0.75 <= interval.high
    assert 0.90 <= inside / 200 <= 0.99


def test_paired_difference_is_narrower_than_the_difference_of_two() -> None:
    first, labels = clustered(40, seed=3)
    second = first.copy()
    second[::10] = 0  # wrong where the first may be right
    paired = bootstrap_difference(first, second, labels)
    assert paired.mean == pytest.approx(first.mean() - second.mean())
    assert paired.excludes_zero() and paired.low > 0
    assert paired.high - paired.low < 0.6 * (bootstrap_mean(first, labels).high - bootstrap_mean(first, labels).low)
    assert not bootstrap_difference(first, first, labels).excludes_zero()


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0, 1, False), (-1, 0, False)],
)
def test_an_interval_that_touches_zero_does_not_exclude_it(low: float, high: float, excluded: bool) -> None:
    assert BootstrapInterval((low + high) / 2, low, high, 0.95, 10, 10).excludes_zero() is excluded


samples = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda rows: len({block for _, block in rows}) > 1
)


@given(samples, st.randoms(use_true_random=False), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_interval_does_not_depend_on_order_or_names(rows: list[tuple[float, int]], shuffle: Any, seed: int) -> None:
    values, labels = np.array([v for v, _ in rows]), np.array([b for _, b in rows])
    interval = bootstrap_mean(values, labels, draws=200, seed=seed)
    assert interval.low <= interval.mean <= interval.high and interval.low < interval.high
    shuffle.shuffle(rows)
    names = np.array([f"block {9 - block}" for _, block in rows])
    again = bootstrap_mean([v for v, _ in rows], names, draws=200, seed=seed)
    assert (again.low, again.high) == pytest.approx((interval.low, interval.high))


@given(samples, st.integers(-3, 3), st.sampled_from([0.5, 2.0, 4.0]))
@settings(max_examples=60, deadline=None)
def test_interval_moves_and_stretches_with_the_values(rows: list[tuple[float, int]], shift: int, scale: float) -> None:
    values, labels = np.array([v for v, _ in rows]), np.array([b for _, b in rows])
    size = max(np.bincount(labels))
    labels, values = np.repeat(np.arange(len(values)), size), np.repeat(values, size)  # equal sizes: a plain mean
    values = values + 0.3 * labels  # no shares, which are intervals of their own
    a, b = bootstrap_mean(values, labels, draws=100), bootstrap_mean(scale * values + shift, labels, draws=100)
    assert (b.low, b.high) == pytest.approx((scale * a.low + shift, scale * a.high + shift))


@given(samples)
@example([(1.0, 0), (1.0, 1), (1.0, 2), (1.0, 3)])
@settings(max_examples=30, deadline=None)
def test_a_higher_level_is_wider(rows: list[tuple[float, int]]) -> None:
    values, labels = np.array([v for v, _ in rows]), np.array([b for _, b in rows])
    narrow, wide = (bootstrap_mean(values, labels, draws=200, level=level) for level in (0.8, 0.99))
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, r"at least one number, got shape \(0,\)"),
        ({"values": [1.0, float("nan")]}, "must be finite, got 1 that are not"),
        ({"values": [0, 1], "draws": 0}, "draws must be at least 1, got 0"),
        ({"values": [0, 1], "level": 1.0}, r"level must be in \(0, 1\), got 1.0"),
        ({"values": [0, 1], "blocks": [3, 3]}, "at least 2 blocks, got 1; pass blocks=None"),
        ({"values": [0, 1], "blocks": [1, 2, 3]}, r"one block for each of 2 values, got shape \(3,\)"),
    ],
)
def test_bootstrap_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(**arguments)


def test_difference_refuses_unpaired_samples() -> None:
    with pytest.raises(ValueError, match=r"the same samples twice, got \(2,\) and \(3,\) values"):
        bootstrap_difference([0, 1], [0, 1, 1])


def test_calibration_error_agrees_with_a_loop_over_bins() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4) * 0.6, 500)
    target = generator.integers(0, 4, 500)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == target
    expected = 0.0
    for k in range(15):
        inside = [n for n in range(500) if k / 15 < confidence[n] <= (k + 1) / 15]
        if inside:
            gap = abs(sum(right[n] for n in inside) / len(inside) - sum(confidence[n] for n in inside) / len(inside))
            expected += len(inside) / 500 * gap
    assert expected_calibration_error(probabilities, target) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_of_a_sure_and_always_wrong_model_is_one() -> None:
    assert expected_calibration_error([[1.0, 0.0]] * 5, [1] * 5) == pytest.approx(1)
    assert expected_calibration_error([[1.0, 0.0]] * 5, [0] * 5) == pytest.approx(0)


@pytest.mark.parametrize(
    ("probabilities", "target", "bins", "message"),
    [
        ([[2.0, -1.0]], [0], 15, r"must be in \[0, 1\], got -1 … 2; pass the softmax"),
        ([[0.5, 0.5]], [2], 15, "target must be in 0…1, got 2 … 2"),
        ([0.5, 0.5], [0], 15, r"expected probabilities \[n, classes\]"),
        ([[0.5, 0.5]], [0], 0, "bins must be at least 1, got 0"),
    ],
)
def test_calibration_refuses(probabilities: Any, target: Any, bins: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(probabilities, target, bins)


@pytest.mark.parametrize("several", [False, True])
def test_class_scores_agree_with_scikit_learn(several: bool) -> None:
    generator, names = np.random.default_rng(2), ["a", "b", "c", "never there"]
    shape = (200, 4) if several else (200,)
    target, predicted = generator.integers(0, 2 if several else 3, (2, *shape))
    if several:
        target[:, 3] = predicted[:, 3] = 0
    scores = class_scores(target, predicted, names)
    reference = precision_recall_fscore_support(target, predicted, labels=range(4), average=None, zero_division=0)
    found = [
        [s.precision for s in scores],
        [s.recall for s in scores],
        [s.f1 for s in scores],
        [s.support for s in scores],
    ]
    np.testing.assert_allclose(found, reference)
    assert [s.predicted for s in scores][3] == 0 and scores[3].name == "never there"


def test_macro_f1_is_the_one_that_is_logged() -> None:
    target, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])  # class 3 of 4 never occurs
    logged = multiclass_f1_score(from_numpy(predicted), from_numpy(target), 4, average="macro")
    assert macro_f1(class_scores(target, predicted, "abcd")) == pytest.approx(float(logged))


def test_confusion_counts_agree_with_scikit_learn() -> None:
    target, predicted = np.random.default_rng(3).integers(0, 5, (2, 300))
    np.testing.assert_array_equal(
        confusion_counts(target, predicted, 6), confusion_matrix(target, predicted, labels=range(6))
    )


# ---------------------------------------------------------------- scores of several runs


def some_runs(seed: int, runs: int = 3, n: int = 120, classes: int = 4) -> tuple[Any, Any, Any, Any]:
    """Targets, two lots of predictions that are right more or less often, and blocks."""
    generator = np.random.default_rng(seed)
    target = generator.integers(classes, size=n)
    sides = [
        np.where(generator.random((runs, n)) < share, target, generator.integers(classes, size=(runs, n)))
        for share in (0.8, 0.6)
    ]
    return target, *sides, generator.integers(30, size=n)


@pytest.mark.parametrize(
    ("score", "reference"),
    [
        (accuracy, sklearn.metrics.accuracy_score),
        (mean_f1, lambda t, p: sklearn.metrics.f1_score(t, p, average="macro", labels=range(4), zero_division=0)),
        (quadratic_kappa, lambda t, p: sklearn.metrics.cohen_kappa_score(t, p, weights="quadratic")),
    ],
)
def test_scores_of_runs_and_their_intervals(score: Any, reference: Any) -> None:
    """Against another library's scores of samples drawn one by one."""
    target, first, second, blocks = some_runs(0)
    found = score_interval(score, target, first, second, 4, blocks, draws=300)
    differences = [reference(target, a) - reference(target, b) for a, b in zip(first, second, strict=True)]
    assert found.mean == pytest.approx(np.mean(differences))
    assert (found.blocks, found.samples) == (len(set(blocks.tolist())), 120)
    generator = np.random.default_rng(1)
    members = [np.flatnonzero(blocks == block) for block in sorted(set(blocks.tolist()))]
    drawn = []
    for _ in range(300):
        chosen = generator.integers(3, size=3)
        rows = np.concatenate([members[k] for k in generator.integers(len(members), size=len(members))])
        drawn.append(np.mean([reference(target[rows], first[k][rows]) - reference(target[rows], second[k][rows])
                              for k in chosen]))  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.03) and found.high == pytest.approx(high, abs=0.03)


def test_a_score_of_one_lot_of_runs() -> None:
    target, first, _, _ = some_runs(2)
    found = score_interval(accuracy, target, first, None, 4)
    assert found.mean == pytest.approx((first == target).mean())
    assert found.low < found.mean < found.high and found.blocks == 120


def test_kappa_of_a_single_class() -> None:
    assert quadratic_kappa(np.diag([5.0, 0.0, 0.0])) == 0
    found = score_interval(quadratic_kappa, [0, 0, 0, 1], [[0, 0, 0, 1]], None, 2, draws=100)
    assert found.mean == 1 and np.isfinite([found.low, found.high]).all()


def test_runs_on_other_samples_are_refused() -> None:
    target, first, second, blocks = some_runs(0)
    with pytest.raises(ValueError, match="class numbers must be from 0 to 2"):
        score_interval(accuracy, target, first, second, 3)
    with pytest.raises(ValueError, match=r"blocks must name one block for each of 120 samples, got \(119,\)"):
        score_interval(accuracy, target, first, second, 4, blocks[1:])
    with pytest.raises(
        ValueError, match=r"predictions must be \[runs, 120\] on both sides, got \(3, 120\), \(3, 119\)"
    ):
        score_interval(accuracy, target, first, second[:, 1:], 4)
