"""`NearestNeighbours`: the class that most of a sample's nearest neighbours have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_tl.metrics.checked_features import checked_features

_CELLS_AT_ONCE = 8_000_000  # of the [queries, neighbours] table: 64 MB


class NearestNeighbours:
    """Predicts by vote of the `k` samples whose features have the greatest cosine with a sample's.

    No parameter is fitted, so that it tells how well classes lie apart in the features as they are (Cover & Hart 1967;
    with cosines as in Wu et al. 2018, arXiv 1805.01978, section 3.4, whose weights a `temperature` gives). A draw goes
    to the class among the drawn ones whose nearest member is nearest; samples at the same cosine keep their order.

    Args:
        features: [n, dim] of the samples whose labels are known; without direction where they are 0.
        labels: [n] class numbers, at least 0.
        k: neighbours that vote.
        blocks: [n] block of each sample, where samples of one block resemble each other; `leave_one_out` leaves out
            all samples of a sample's own block.
        temperature: a neighbour's vote weighs exp(cosine / temperature), above 0; None gives each one vote.

    Raises:
        ValueError: for features that are not finite or all the same, labels that do not fit them, one class alone, or
            fewer samples than neighbours.
    """

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        k: int = 5,
        blocks: ArrayLike | None = None,
        temperature: float | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1 neighbour, got {k}")
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.features = _unit(checked_features(features))
        self.labels = checked_labels(labels, len(self.features))
        self.k = k
        self.blocks = np.arange(len(self.labels)) if blocks is None else np.asarray(blocks)
        if self.blocks.shape != self.labels.shape:
            raise ValueError(f"blocks must name one block for each of {len(self.labels)} samples")
        if len(self.labels) < k:
            raise ValueError(
                f"{k} neighbours are asked for, but there are {len(self.labels)} samples: take a smaller k"
            )

    def predict(self, features: ArrayLike) -> NDArray[np.int64]:
        """The class of other samples, [m], by their features [m, dim].

        Raises:
            ValueError: for features that are not finite, or of another length.
        """
        return self._voted(_unit(self._fitting(features)), None)

    def leave_one_out(self) -> NDArray[np.int64]:
        """The class of each sample by the others, [n].

        Raises:
            ValueError: some sample has fewer than `k` neighbours outside of its block.
        """
        _, number, sizes = np.unique(self.blocks, return_inverse=True, return_counts=True)
        others = len(self.labels) - int(sizes.max())
        if others < self.k:
            raise ValueError(
                f"{self.k} neighbours are asked for, but a sample has as few as {others} others"
                f"{'' if len(sizes) == len(self.labels) else ' outside of its block'}: take a smaller k"
            )
        return self._voted(self.features, number)

    def _fitting(self, features: ArrayLike) -> NDArray[np.float64]:
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.features.shape[1]:
            raise ValueError(f"features must be [samples, {self.features.shape[1]}], got {list(values.shape)}")
        if not np.isfinite(values).all():
            raise ValueError(f"features must be finite, but those of {(~np.isfinite(values)).any(1).sum()} are not")
        return values

    def _voted(self, queries: NDArray[np.float64], own: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The vote for each query [m]; those of block `own` [m] of a query have no vote in it."""
        step = max(1, _CELLS_AT_ONCE // len(self.features))
        found = [np.zeros(0, np.int64)]
        for start in range(0, len(queries), step):
            near = queries[start : start + step] @ self.features.T  # [step, n]
            if own is not None:
                near[own[start : start + step, None] == own[None]] = -np.inf
            found.append(self._vote(near))
        return np.concatenate(found)

    def _vote(self, near: NDArray[np.float64]) -> NDArray[np.int64]:
        near = np.round(near, 12)  # so that what is equal but for rounding is equal
        cut = -np.partition(-near, self.k - 1, axis=1)[:, self.k - 1, None]  # [m, 1], the cosine of the k-th
        winners = np.zeros(len(near), np.int64)
        for row, (cosines, least) in enumerate(zip(near, cut, strict=True)):
            at_least = np.flatnonzero(cosines >= least)  # all that draw with the k-th, in the order of samples
            nearest = at_least[np.argsort(-cosines[at_least], kind="stable")][: self.k]
            labels, weights = self.labels[nearest], None
            if self.temperature is not None:
                weights = np.exp((cosines[nearest] - 1) / self.temperature)  # at most 1, for no overflow
            votes = np.bincount(labels, weights)
            winners[row] = next(label for label in labels if votes[label] == votes.max())
        return winners


def checked_labels(labels: ArrayLike, samples: int) -> NDArray[np.int64]:
    """Class numbers [samples].

    Raises:
        ValueError: another number of them, numbers that are not whole or below 0 (a missing label), or one class alone.
    """
    found = np.asarray(labels)
    if found.shape != (samples,):
        raise ValueError(f"labels must name one class for each of {samples} samples, got shape {list(found.shape)}")
    if not np.issubdtype(found.dtype, np.integer) or found.min() < 0:
        raise ValueError("labels must be whole numbers from 0 on; leave out samples without a label")
    if len(np.unique(found)) < 2:
        raise ValueError(
            f"all {samples} samples are of one class, so nothing tells classes apart: at least 2 are needed"
        )
    return found.astype(np.int64)


def _unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; a row of zeros stays."""
    largest = np.abs(features).max(1, keepdims=True)
    scaled = features / np.where(largest > 0, largest, 1.0)  # first, so that no square is too large or small
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: NDArray[np.float64] = scaled / np.where(lengths > 0, lengths, 1.0)
    return unit
