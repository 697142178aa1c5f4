"""Scores of masks, from counts of pixels of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, interval_entry


def confusion_of_pixels(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """Pixels of each image of a true class (row) predicted as a class (column): [batch, classes, classes], int64.

    Args:
        predicted: [batch, height, width] class numbers.
        target: the same; what is no class number from 0 on, such as of ignored pixels, counts nowhere.
        classes: how many there are.
    """
    batch = len(target)
    known = (target >= 0) & (target < classes)
    image = torch.arange(batch, device=target.device).view(-1, 1, 1).expand_as(target)
    cells = (image * classes + target) * classes + predicted
    counts = torch.bincount(cells[known].flatten(), minlength=batch * classes * classes)
    return counts.view(batch, classes, classes)


def class_iou(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union [..., classes] of counts [..., true, predicted]; not a number for a class never met."""
    counts = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _iou_of(hits, counts.sum(-1) + counts.sum(-2) - hits)


def mean_iou(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the classes that are there or predicted, of counts [..., true, predicted]; no number where none is."""
    return _mean_of_present(class_iou(confusion))


def _mean_of_present(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    there = np.isfinite(iou)
    total: NDArray[np.float64] = np.where(there, iou, 0).sum(-1) / np.maximum(there.sum(-1), 1)
    return np.where(there.any(-1), total, np.nan)


def pixel_scores(confusion: ArrayLike, names: Sequence[str], blocks: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Mean IoU, share of right pixels and IoU of each class, ready for JSON, with intervals from images drawn again.

    Args:
        confusion: [images, true, predicted] pixels of each image.
        names: of the classes.
        blocks: [images] block of each; drawn as a whole. None where images are independent.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    total = counts.sum(0)
    iou, miou = class_iou(total), float(mean_iou(total))
    ends = _intervals(counts, blocks)
    truth, said, hits = total.sum(1), total.sum(0), np.diagonal(total)
    classes = [
        {
            "name": name,
            "iou": None if np.isnan(iou[k]) else float(iou[k]),
            "iou_interval": ends[2 + k],
            "recall": float(hits[k] / max(1, truth[k])),
            "precision": float(hits[k] / max(1, said[k])),
            "pixels": int(truth[k]),
            "predicted": int(said[k]),
        }
        for k, name in enumerate(names)
    ]
    return {
        "miou": None if np.isnan(miou) else miou,
        "miou_interval": ends[0],
        "pixel_accuracy": float(hits.sum() / max(1, total.sum())),
        "pixel_accuracy_interval": ends[1],
        "pixels": int(total.sum()),
        "pixel_classes": classes,
        "pixel_confusion": total.tolist(),
    }


def miou_difference(
    first: ArrayLike, second: ArrayLike, blocks: ArrayLike | None = None, draws: int = 2_000
) -> BootstrapInterval | None:
    """Mean IoU of one model less that of another on the same images, with its interval; None for fewer than two blocks.

    Each draw takes the same images, or blocks, for both, so what makes an image hard for both cancels.

    Args:
        first: [images, true, predicted] pixels of each image.
        second: the same of the other model.
        blocks: [images] block of each; None where images are independent.
        draws: how often images or blocks are drawn.

    Raises:
        ValueError: they are not of the same images.
    """
    sides = [np.asarray(side, dtype=np.int64) for side in (first, second)]
    if sides[0].shape != sides[1].shape or not np.array_equal(sides[0].sum(2), sides[1].sum(2)):
        raise ValueError("a paired difference needs counts of the same images with the same true masks, in one order")
    classes = sides[0].shape[1]

    def gap(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        mine, theirs = (
            _mean_of_present(_iou_of(sums[..., k : k + classes], sums[..., k + classes : k + 2 * classes]))
            for k in (0, 2 * classes)
        )
        return (mine - theirs)[..., None]

    found = bootstrap_scores(np.concatenate([part for side in sides for part in _hits_and_union(side)], axis=1), gap,
                             blocks, draws)  # fmt: skip
    return None if found is None else found[0]


def _hits_and_union(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[images, classes] each."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    return hits, counts.sum(1) + counts.sum(2) - hits


def _iou_of(hits: NDArray[np.float64], union: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.where(union > 0, hits / np.maximum(union, 1), np.nan)
    return found


def _intervals(counts: NDArray[np.int64], blocks: NDArray[np.int64] | None) -> list[dict[str, Any] | None]:
    """Of mean IoU, share of right pixels, and each class's IoU."""
    classes = counts.shape[1]
    hits, union = _hits_and_union(counts)

    def scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        right, both, pixels = sums[..., :classes], sums[..., classes:-1], sums[..., -1]
        each = _iou_of(right, both)
        share = np.where(pixels > 0, right.sum(-1) / np.maximum(pixels, 1), np.nan)
        return np.concatenate([_mean_of_present(each)[..., None], share[..., None], each], axis=-1)

    summed = np.concatenate([hits, union, counts.sum((1, 2))[:, None]], axis=1)
    found = bootstrap_scores(summed, scores, blocks)
    if found is None:
        return [None] * (2 + classes)
    return [interval_entry(interval, blocks) for interval in found]
