"""`FaissSearch`: exactly as many items as are wanted, at the recall that was measured, whatever a filter leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.faiss_index.effort import Selector, most_effort, parameters
from lightning_tl.search.faiss_index.kept_vectors import KeptVectors
from lightning_tl.search.faiss_library import import_faiss

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.int64]

# Nanoseconds, measured with 128 dimensions on one core: only their ratios matter, to choose between two right ways.
_SCANNED_NS, _CHECKED_NS, _COPIED_NS, _VISITED_NS = 360, 6, 250, 5_000
_MOST_SCANNED = 0.25  # share beyond which what is left out costs no less than what is compared
_FEW_LEFT_OUT = 1 / 3  # share of the items that a filter leaves, from which on a search of all is faster
_SAMPLE = 8_192  # items by which it is estimated how many that are left out are nearer than what was found
_LEAST_CANDIDATES = 100  # times the factor are ranked again: for so many items the factor was tuned
_DENSER = 16  # times as many where a filter leaves out most of what is near
_COUNTED_UP_TO = 2_000  # items left out; these are counted


class FaissSearch:
    """A FAISS index of numbered places, beside the exact vectors of these.

    An approximate index finds the k nearest of all items by the effort that was tuned for k. Where what is wanted lies
    deeper, since a filter leaves out items that are nearer, it looks as hard as for the deepest of them; and where that
    costs more than to compare the few items that are left one by one, these are compared, which is exact.

    Args:
        index: of FAISS, by inner product.
        kept: the vectors of its places.
        efforts: [[depth, effort], …] ascending; empty for what is exact, or has nothing to set.
        factor: of candidates that are ranked again by exact vectors; 0 where the index holds these.
    """

    def __init__(self, index: Any, kept: KeptVectors, efforts: list[list[int]], factor: int = 0) -> None:
        self.index, self.kept, self.efforts, self.factor = index, kept, efforts, factor
        self.inverted = import_faiss().try_extract_index_ivf(index) is not None
        self.most = most_effort(index)
        self._takes_selectors = True
        draw = np.random.default_rng(0)
        self._some = np.sort(draw.choice(len(kept), min(_SAMPLE, len(kept)), replace=False))
        self._sample: Vectors | None = None

    def search(self, queries: Vectors, k: int, mask: Mask | None) -> tuple[Places, Vectors]:
        """The k nearest, all of the same mask: both [queries, k], fewer columns only where fewer are left.

        Args:
            queries: [queries, dim], contiguous.
            k: at least 1.
            mask: [items] whether each may be found; None for all.
        """
        count = len(self.kept)
        left = count if mask is None else int(np.count_nonzero(mask))
        asked = min(k, left)
        if asked == 0 or len(queries) == 0:
            return np.zeros((len(queries), asked), np.int64), np.zeros((len(queries), asked), np.float32)
        places = np.full((len(queries), asked), -1, np.int64)
        scores = np.zeros((len(queries), asked), np.float32)
        todo, depth = np.arange(len(queries)), asked
        if mask is not None:  # so many a filter leaves out that has nothing to do with the query, by chance some more
            depth = math.ceil((asked + math.sqrt(asked)) * count / left)
        usual = max(depth, 2 * asked * count // left)
        wide = mask is not None and left >= count * _FEW_LEFT_OUT and bool(self.efforts) and not self.factor
        selector = None if mask is None or wide else Selector(mask)
        while len(todo):
            dense = depth > usual
            effort, factor = self._effort(depth), self.factor * (_DENSER if dense else 1)
            if self._is_slower(effort, left, mask is not None) or not self._takes_selectors:
                self._compare(queries, todo, asked, mask, places, scores)
                break
            if wide and mask is not None:
                found = self._among_all(queries[todo], asked, depth, effort, mask)
            else:
                found = self.found(queries[todo], asked, effort, factor, selector)
            places[todo], scores[todo] = found
            short = places[todo, -1] < 0
            if effort >= self.most and (dense or not self.factor):
                self._compare(queries, todo[short], asked, mask, places, scores)  # what a graph does not reach
                break
            deep = np.where(short, depth, asked)
            if mask is not None:
                for row in np.flatnonzero(~short).tolist():
                    deep[row] += self._nearer(queries[todo[row]], mask, float(scores[todo[row], -1]))
            again = short | (deep > max(depth, usual))
            depth = 3 * int(max(deep[again], default=depth))  # the last of so many are found less often than most
            todo = todo[again]
        return places, scores

    def _among_all(self, queries: Vectors, asked: int, depth: int, effort: int, mask: Mask) -> tuple[Places, Vectors]:
        """As `found` by a mask that leaves most items: those of the deepest so many that it leaves.

        A selector costs more there than the items that it leaves out. Where too few are found, -1 stands at the end, as
        for any search that looked too little, and the next one looks deeper.
        """
        wider = min(len(self.kept), depth + 4 * math.isqrt(depth) + 1)
        places, scores = self.found(queries, wider, effort, 0)
        good = (places >= 0) & mask[places]
        order = np.argsort(~good, axis=1, kind="stable")[:, :asked]
        places = np.where(np.take_along_axis(good, order, 1), np.take_along_axis(places, order, 1), -1)
        scores = np.where(places >= 0, np.take_along_axis(scores, order, 1), -np.inf)
        return places, scores.astype(np.float32)

    def _compare(
        self, queries: Vectors, todo: Places, asked: int, mask: Mask | None, places: Places, scores: Vectors
    ) -> None:
        """Fill in what exact search finds."""
        if len(todo) == 0:
            return
        rows = None if mask is None else np.flatnonzero(mask)
        places[todo], scores[todo] = self.kept.nearest(queries[todo], asked, rows)

    def found(
        self, queries: Vectors, k: int, effort: int, factor: int, selector: Selector | None = None
    ) -> tuple[Places, Vectors]:
        """What the index finds by an effort: both [queries, k], -1 where it found no more."""
        inner = max(k, _LEAST_CANDIDATES * factor if factor else 0, k * factor)
        told = parameters(self.index, effort, None if selector is None else selector.selector)
        if self.efforts == [] and selector is None and self.most == 1:
            told = None
        with one_thread():
            try:
                scores, places = self.index.search(queries, min(inner, self.index.ntotal), params=told)
            except RuntimeError:
                if selector is None:
                    raise
                self._takes_selectors = False  # this kind of index has none
                return np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
        if factor:
            scores = self._exact_scores(queries, places)
            order = np.lexsort((places, -scores), axis=1)
            places, scores = np.take_along_axis(places, order, 1), np.take_along_axis(scores, order, 1)
        if places.shape[1] < k:
            missing = ((0, 0), (0, k - places.shape[1]))
            places = np.pad(places, missing, constant_values=-1)
            scores = np.pad(scores, missing, constant_values=-np.inf)
        return places[:, :k], scores[:, :k]

    def _exact_scores(self, queries: Vectors, places: Places) -> Vectors:
        scores = np.full(places.shape, -np.inf, np.float32)
        for row, query in enumerate(queries):
            there = places[row] >= 0
            scores[row, there] = self.kept.take(places[row, there]) @ query
        return scores

    def _effort(self, depth: int) -> int:
        if not self.efforts:
            return self.most
        for deep, effort in self.efforts:
            if depth <= deep:
                return effort
        deep, effort = self.efforts[-1]
        return min(self.most, -(-effort * depth // deep))

    def _is_slower(self, effort: int, left: int, masked: bool) -> bool:
        """Whether the index takes longer than comparing all that are left, one by one."""
        count = len(self.kept)
        if not masked or (not self.efforts and not self.factor and not self.inverted):
            return False
        share, own = left / count, left * _COPIED_NS
        if self.inverted:
            return effort / self.most * count * (_CHECKED_NS + min(share, _MOST_SCANNED) * _SCANNED_NS) > own
        return self.efforts != [] and effort * _VISITED_NS > own

    def _nearer(self, query: Vectors, mask: Mask, score: float) -> int:
        """About how many of the items that are left out are at least as near as this."""
        out = np.flatnonzero(~mask) if len(mask) - int(np.count_nonzero(mask)) <= _COUNTED_UP_TO else None
        if out is not None:
            return int((self.kept.take(out) @ query >= score).sum())
        if self._sample is None:
            self._sample = self.kept.take(self._some)
        near = int(((self._sample @ query >= score) & ~mask[self._some]).sum())
        return near * len(self.kept) // len(self._some)


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS takes one thread in here, as several threads that search at once should."""
    faiss = import_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
