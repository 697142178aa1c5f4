"""Losses, metrics and scores of labels of pixels, against slow loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.contracts.batches import IGNORED
from lightning_tl.losses import CrossEntropyAndDice, DiceLoss, PixelCrossEntropy
from lightning_tl.metrics import class_iou, confusion_of_pixels, mean_iou, miou_difference, pixel_scores
from lightning_tl.tasks import PixelLabels


def batch(seed: int = 0, classes: int = 3, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, generator=generator)
    target = torch.randint(0, classes, (2, 4, 5), generator=generator)
    target[torch.rand(2, 4, 5, generator=generator) < ignored] = IGNORED
    return logits, target


def pixels(logits: Tensor, target: Tensor) -> list[tuple[Tensor, int]]:
    return [
        (logits[b, :, r, c], int(target[b, r, c]))
        for b in range(target.shape[0])
        for r in range(target.shape[1])
        for c in range(target.shape[2])
        if int(target[b, r, c]) != IGNORED
    ]


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_mean_over_known_pixels(weight: Tensor | None, smoothing: float) -> None:
    logits, target = batch()
    wanted = F.cross_entropy(logits, target, weight, ignore_index=IGNORED, label_smoothing=smoothing)
    torch.testing.assert_close(PixelCrossEntropy(weight, smoothing)(logits, target), wanted)


def test_dice_against_a_loop() -> None:
    logits, target = batch()
    target[target == 2] = 1  # a class without a pixel, which is left out
    losses = []
    for k in range(3):
        known = pixels(logits, target)
        true = sum(1 for _, t in known if t == k)
        given_ = sum(float(x.softmax(0)[k]) for x, _ in known)
        both = sum(float(x.softmax(0)[k]) for x, t in known if t == k)
        if true:
            losses.append(1 - (2 * both + 1) / (given_ + true + 1))
    assert float(DiceLoss()(logits, target)) == pytest.approx(np.mean(losses), rel=1e-5)
    sum_of_both = PixelCrossEntropy()(logits, target) + 0.5 * DiceLoss()(logits, target)
    torch.testing.assert_close(CrossEntropyAndDice(0.5)(logits, target), sum_of_both)


@pytest.mark.parametrize(
    "loss", [PixelCrossEntropy(), DiceLoss(), CrossEntropyAndDice()], ids=lambda x: type(x).__name__
)
def test_a_batch_without_a_known_pixel_teaches_nothing(loss: nn.Module) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), IGNORED))
    value.backward()
    assert float(value.detach()) == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiceLoss(0), "smooth must be above 0"),
        (lambda: CrossEntropyAndDice(-1), "dice must be at least 0"),
        (lambda: PixelCrossEntropy(label_smoothing=1), r"label_smoothing must be in \[0, 1\)"),
    ],
)
def test_arguments_of_losses(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@given(st.integers(0, 2**31), st.integers(2, 5), st.sampled_from([0.0, 0.5, 1.0]))
def test_confusion_against_a_loop(seed: int, classes: int, ignored: float) -> None:
    logits, target = batch(seed, classes, ignored)
    predicted = logits.argmax(1)
    wanted = np.zeros((2, classes, classes), np.int64)
    for b, r, c in np.ndindex(2, 4, 5):
        if int(target[b, r, c]) >= 0:
            wanted[b, int(target[b, r, c]), int(predicted[b, r, c])] += 1
    assert np.array_equal(confusion_of_pixels(predicted, target, classes).numpy(), wanted)


def iou_by_sets(truth: list[int], said: list[int], k: int) -> float | None:
    first = {i for i, t in enumerate(truth) if t == k}
    second = {i for i, s in enumerate(said) if s == k}
    return len(first & second) / len(first | second) if first | second else None


def test_iou_is_that_of_sets_of_pixels_and_of_torchmetrics() -> None:
    logits, target = batch(classes=4)
    target[target == 3] = 0
    logits[:, 3] = -9  # a class that is neither there nor predicted
    known = pixels(logits, target)
    truth, said = [t for _, t in known], [int(x.argmax()) for x, _ in known]
    each = [iou_by_sets(truth, said, k) for k in range(4)]
    counts = confusion_of_pixels(logits.argmax(1), target, 4).sum(0).numpy()
    assert class_iou(counts)[:3].tolist() == pytest.approx(each[:3])
    assert each[3] is None and np.isnan(class_iou(counts)[3])
    wanted = np.mean([x for x in each if x is not None])
    assert float(mean_iou(counts)) == pytest.approx(wanted)
    metrics = PixelLabels().metrics(4)
    for metric in metrics.values():
        metric.update(PixelLabels().scored(logits), target)
    assert float(metrics["miou"].compute()) == pytest.approx(wanted)
    right = np.mean([t == s for t, s in zip(truth, said, strict=True)])
    assert float(metrics["pixel_accuracy"].compute()) == pytest.approx(right)


def test_scores_have_intervals_over_blocks() -> None:
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 20, (12, 3, 3)) + 30 * np.eye(3, dtype=np.int64)
    blocks = np.repeat(np.arange(4), 3)
    found = pixel_scores(counts, ("a", "b", "c"), blocks)
    assert found["miou"] == pytest.approx(np.mean([c["iou"] for c in found["pixel_classes"]]))
    assert found["miou_interval"]["over"] == "blocks" and found["miou_interval"]["blocks"] == 4
    assert found["miou_interval"]["low"] < found["miou"] < found["miou_interval"]["high"]
    assert found["pixel_accuracy"] == pytest.approx(np.trace(counts.sum(0)) / counts.sum())
    assert found["pixel_confusion"] == counts.sum(0).tolist()
    by_hand = []  # draws of whole blocks
    tables = counts.reshape(4, 3, 3, 3).sum(1)
    for _ in range(2000):
        by_hand.append(float(mean_iou(tables[generator.integers(4, size=4)].sum(0))))
    low, high = np.quantile(by_hand, [0.025, 0.975])
    assert found["miou_interval"]["low"] == pytest.approx(low, abs=0.01)
    assert found["miou_interval"]["high"] == pytest.approx(high, abs=0.01)


def test_results_of_a_set_without_a_known_pixel() -> None:
    found = pixel_scores(np.zeros((3, 2, 2)), ("a", "b"))
    assert found["miou"] is None and found["miou_interval"] is None and found["pixels"] == 0
    assert found["pixel_classes"][0]["iou"] is None


def test_results_are_those_of_the_counts() -> None:
    logits, target = batch()
    task = PixelLabels()
    given_ = task.predictions(logits)
    torch.testing.assert_close(given_.sum(1), torch.ones(2, 4, 5))
    counts = task.kept(given_, target)["confusion"].numpy()
    names = ("a", "b", "c")
    assert task.results(given_.numpy(), target.numpy(), names, None) == pixel_scores(counts, names)


def test_balanced_weights_are_by_pixels() -> None:
    assert PixelLabels().balanced(np.array([10, 30]), 40).tolist() == pytest.approx([2, 2 / 3])


def test_paired_difference_of_miou_against_a_loop() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(5, 30, (12, 3))
    sides = []
    for right in (0.8, 0.6):  # the same true pixels, of which more or fewer are found
        hits = (truth * right * generator.uniform(0.9, 1.1, truth.shape)).astype(np.int64)
        table = np.zeros((12, 3, 3), np.int64)
        table[:, range(3), range(3)] = hits
        table[:, range(3), [1, 2, 0]] = truth - hits
        sides.append(table)
    blocks = np.repeat(np.arange(4), 3)
    found = miou_difference(*sides, blocks)
    assert found is not None and found.blocks == 4
    assert found.mean == pytest.approx(float(mean_iou(sides[0].sum(0)) - mean_iou(sides[1].sum(0))))
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(blocks == k) for k in generator.integers(4, size=4)])
        drawn.append(float(mean_iou(sides[0][rows].sum(0)) - mean_iou(sides[1][rows].sum(0))))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.01)
    with pytest.raises(ValueError, match="the same images with the same true masks"):
        miou_difference(sides[0], sides[1] + 1)
    assert miou_difference(sides[0], sides[1], np.zeros(12)) is None
