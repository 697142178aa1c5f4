"""Intervals of F1 where a sample may have several labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.metrics.sum_bootstrap import bootstrap_scores, interval_entry

Entry = dict[str, Any] | None


def label_f1(
    target: NDArray[np.int64], predicted: NDArray[np.int64], blocks: NDArray[np.int64] | None
) -> tuple[Entry, Entry, list[Entry] | None]:
    """Bootstrap intervals of macro-F1, micro-F1 and each label's F1, ready for JSON; None for fewer than two blocks.

    A label that is neither there nor predicted has F1 0 and does not count in the macro average, in each draw.

    Args:
        target: [n, labels] of 0 and 1.
        predicted: as `target`.
        blocks: [n] block of each sample; None when the samples are independent.
    """
    labels = target.shape[1]

    def scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        hits, both = sums[..., :labels], sums[..., labels:]  # both: times a label is there, plus times predicted
        each = 2 * hits / np.maximum(both, 1)
        macro = each.sum(-1) / np.maximum((both > 0).sum(-1), 1)
        micro = 2 * hits.sum(-1) / np.maximum(both.sum(-1), 1)
        return np.concatenate([macro[..., None], micro[..., None], each], axis=-1)

    intervals = bootstrap_scores(np.concatenate([target & predicted, target + predicted], axis=1), scores, blocks)
    if intervals is None:
        return None, None, None
    macro, micro, *each = (interval_entry(interval, blocks) for interval in intervals)
    return macro, micro, each
