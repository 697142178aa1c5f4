"""`TfidfProbe`: the words of a text and a linear head; a baseline that every pretrained encoder must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_tl.backbones.tfidf import Tfidf
from lightning_tl.contracts.data import CacheableData
from lightning_tl.strategies.probe.linear_probe import LinearProbe
from lightning_tl.strategies.probe.sparse_head import solve_sparse

# Logistic regression's C of 1/(strength x samples); weights of words are small, so weak penalties are of use.
TFIDF_L2_GRID = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


class TfidfProbe(LinearProbe):
    """Logistic regression (of values: ridge) on TF-IDF weights, solved exactly.

    Pieces of words alone or pairs of them too, and the strength of the penalty: what has the lowest loss on validation.
    Nothing is random. One process solves, on the CPU, while the others wait.

    Args:
        backbone: counts pieces and pairs.
        l2_grid: strengths of the penalty.
        **kwargs: as `TransferModule`.
    """

    backbone: Tfidf

    def __init__(self, backbone: Tfidf, l2_grid: Sequence[float] = TFIDF_L2_GRID, **kwargs: Any) -> None:
        if not isinstance(backbone, Tfidf):
            raise ValueError(f"TfidfProbe counts words by the backbone Tfidf, got {type(backbone).__name__}")
        super().__init__(backbone, l2_grid=l2_grid, **kwargs)

    def configure_optimizers(self) -> Optimizer | None:  # type: ignore[override]
        """Count, solve the head exactly, and need no optimizer."""
        data = self.samples()
        solution: tuple[Tensor, Tensor, Tensor, str] | None = None
        if self.trainer.is_global_zero:  # one process solves, so that all have the same bits
            solution = self._solved(self._read(data, "train"), self._read(data, "validation"))
        solution = self.trainer.strategy.broadcast(solution)
        assert solution is not None and isinstance(self.head, nn.Linear) and self.head.bias is not None
        frequency, weight, bias, told = solution
        self.backbone.inverse_frequency.copy_(frequency)
        self.head.weight.data.copy_(weight)
        self.head.bias.data.copy_(bias)
        rank_zero_info(told)
        self._end_after_one_epoch()
        return None

    def _read(self, data: CacheableData, split: str) -> tuple[Any, Tensor]:
        """Counts [n, feature_dim], sparse, and targets of all samples of a split."""
        rows, columns, counts, targets, done = [], [], [], [], 0
        for batch in data.cache_loader(split, 0, 0, 1):
            row, column, count = self.backbone.counts(batch["inputs"])
            rows.append(row.numpy() + done)
            columns.append(column.numpy())
            counts.append(count.numpy())
            targets.append(self._aimed(batch["target"]))
            done += len(batch["target"])
        if not done:
            raise ValueError(f"the {split} split has no samples")
        places = np.concatenate(rows), np.concatenate(columns)
        return csr_matrix((np.concatenate(counts), places), (done, self.backbone.feature_dim)), torch.cat(targets)

    def _solved(self, train: tuple[Any, Tensor], validation: tuple[Any, Tensor]) -> tuple[Tensor, Tensor, Tensor, str]:
        assert self.num_classes is not None and self.loss is not None
        best, told = None, ""
        for longest in ("pieces of words", "pieces and pairs"):
            frequency = inverse_frequency(train[0])
            if longest == "pieces of words":
                frequency[self.backbone.columns_of_pairs()] = 0
            used = np.flatnonzero(frequency)
            sides = [(weighted(counts, frequency)[:, used], target) for counts, target in (train, validation)]
            found = solve_sparse(sides[0], sides[1], self.num_classes, self.loss, self.l2_grid)
            if best is None or found.validation_loss < best[2].validation_loss:
                best = frequency, used, found
                told = f"Solved TF-IDF of {longest}, {len(used):,} columns; L2 {found.l2:.3g} had the lowest loss"
        assert best is not None
        frequency, used, found = best
        weight = np.zeros((self.num_classes, self.backbone.feature_dim))
        weight[:, used] = found.weight
        tensors = [torch.from_numpy(values).float() for values in (frequency, weight, found.bias)]
        return tensors[0], tensors[1], tensors[2], f"{told} on validation"


def inverse_frequency(counts: Any) -> NDArray[np.float64]:
    """ln((1 + n) / (1 + texts with it)) + 1 of each column; 0 of those that no text has.

    Args:
        counts: [n, columns], sparse.
    """
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.where(having > 0, np.log((1 + counts.shape[0]) / (1 + having)) + 1, 0.0)


def weighted(counts: Any, frequency: NDArray[np.float64]) -> Any:
    """(1 + ln count) x inverse document frequency, each row scaled to length 1; as `Tfidf.forward`, but sparse.

    Args:
        counts: [n, columns], sparse.
        frequency: [columns], inverse.
    """
    found = counts.astype(np.float64)
    found.data = 1 + np.log(found.data)
    found = found @ diags(frequency)
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
    return (diags(1 / np.where(lengths > 0, lengths, 1.0)) @ found).tocsr()
