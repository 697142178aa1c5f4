"""`Negatives`: items that a batch must tell from those that were taken, besides the batch's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.loading.seeding import mix
from lightning_tl.contracts.interactions import InteractionLog

Numbers = NDArray[np.int64]


class Negatives:
    """Items drawn with equal chances, and hard ones: seen by the user and not taken, or else of the same category.

    Both are items that were taken in the training window. Others may not have been there yet, and would be learned as
    what nobody takes.

    Args:
        trained: [items] whether the training window has an event of the item.
        uniform: how many different items are drawn with equal chances for each batch.
        hard: how many hard ones for each query.
        viewed: what users saw and did not take, in the training window.
        categories: [items] number of each item's category, -1 where it is not known.
        seed: the draws are a function of it, the epoch and the batch's first row.

    Raises:
        ValueError: more uniform ones than items, or hard ones that no query could have.
    """

    def __init__(
        self,
        trained: NDArray[np.bool_],
        uniform: int,
        hard: int,
        viewed: InteractionLog | None,
        categories: Numbers | None,
        seed: int,
    ) -> None:
        self._items = np.flatnonzero(trained)
        if uniform > len(self._items):
            raise ValueError(
                "uniform_negatives must be at most the number of items with events in the training window, "
                f"{len(self._items):,}, got {uniform:,}"
            )
        self.uniform, self.hard, self.seed = uniform, hard, seed
        self.viewed = viewed
        self._view_starts = None if viewed is None else viewed.user_starts()
        known = np.full(len(trained), -1) if categories is None else categories
        self._by_category = self._items[np.argsort(known[self._items], kind="stable")]
        self._category = known
        self._category_starts = np.searchsorted(known[self._by_category], np.arange(known.max(initial=-1) + 2))
        shared = len(self._category_starts) > 1 and bool((np.diff(self._category_starts) > 1).any())
        if hard and not shared and (viewed is None or len(viewed) == 0):
            raise ValueError(
                f"hard_negatives={hard} finds no items: no event of the training window was seen and not taken "
                "(data.completion), and no two items are known to share a category (data.category); "
                "name one of these columns, or set hard_negatives to 0"
            )

    @classmethod
    def of(
        cls,
        log: InteractionLog,
        uniform: int,
        hard: int,
        viewed: InteractionLog | None,
        categories: Numbers | None,
        seed: int,
    ) -> Negatives:
        """From a training window, and what users saw and did not take at any time, of which its time is read alone.

        Args:
            log: events of the training window.
            uniform: how many different items are drawn with equal chances for each batch.
            hard: how many hard ones for each query.
            viewed: what users saw and did not take, at any time; None where the data do not tell.
            categories: [items] number of each item's category, -1 where it is not known; None for none.
            seed: of the draws.
        """
        trained = log.item_counts() > 0
        if viewed is not None and len(viewed):
            viewed = viewed.select((np.asarray(viewed.times) <= int(log.times.max())) & trained[viewed.items])
        return cls(trained, uniform, hard, viewed, categories, seed)

    def draw(
        self, users: NDArray[np.int32], targets: NDArray[np.int32], epoch: int, first: int
    ) -> tuple[Numbers, Numbers]:
        """Numbers of uniform items, all different, and of hard ones for each query in turn.

        Args:
            users: [queries].
            targets: [queries].
            epoch: of the training, from 0.
            first: number of the batch's first row.
        """
        generator = np.random.default_rng(mix(self.seed, "negatives", epoch, first))
        uniform = generator.choice(self._items, self.uniform, replace=False, shuffle=False)
        if not self.hard:
            return uniform, np.zeros(0, np.int64)
        hard = np.concatenate([self._hard(users, targets, generator) for _ in range(self.hard)])
        return uniform, hard[hard >= 0]

    def _hard(self, users: NDArray[np.int32], targets: NDArray[np.int32], generator: np.random.Generator) -> Numbers:
        """One for each query; -1 where there is none."""
        chance = generator.random(len(users))
        found = _pick(self._by_category, self._category_starts, self._category[targets], chance)
        found = np.where(found == targets, -1, found)
        if self.viewed is not None and self._view_starts is not None:
            seen = _pick(self.viewed.items, self._view_starts, users.astype(np.int64), chance)
            found = np.where(seen >= 0, seen, found)
        return found


def _pick(values: NDArray[np.int32] | Numbers, starts: Numbers, lists: Numbers, chance: NDArray[np.float64]) -> Numbers:
    """One value from each of these lists; -1 from list -1 and from empty ones."""
    number = np.maximum(lists, 0)
    if len(values) == 0 or len(starts) < 2:
        return np.full(len(lists), -1)
    first, count = starts[number], starts[number + 1] - starts[number]
    place = np.minimum(first + (chance * count).astype(np.int64), len(values) - 1)
    return np.where((lists >= 0) & (count > 0), values[place], -1)
