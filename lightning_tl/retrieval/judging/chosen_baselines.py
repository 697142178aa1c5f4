"""`ChosenBaselines`: what a model is measured beside, with the settings that do best in the validation window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.reports.attempt import attempt
from lightning_tl.retrieval.baselines import EASE, ItemSimilarity, Popularity, RecentPopularity
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import telling_metric
from lightning_tl.retrieval.ranking.scorer import Scorer
from lightning_tl.retrieval.ranking.sharded_ranks import gather_ranks, sharded_ranks

_CHOOSING = 2_000  # queries of the validation window by which settings are chosen

Candidates = Iterable[tuple[dict[str, Any], Callable[[], Scorer]]]


class ChosenBaselines:
    """Popularity, popularity of the last days, EASE, and the similarity of texts.

    Of several settings the best by the hit rate in the validation window is taken, and without one the first.

    Args:
        recent_days: of the popularity at the end of the training window, each above 0.
        ease_l2: penalties of EASE, each above 0.
        ease_history: how many of the newest items of a history EASE reads.
        text_history: how many of them the similarity of texts reads.
        ease_max_items: catalogues that are larger have no EASE, whose memory grows with the square of the items.

    Attributes:
        settings: what was chosen, by the baseline's name.
        left_out: why a baseline is missing, and how to have it, by its name.

    Raises:
        ValueError: settings out of range, or none.
    """

    def __init__(
        self,
        recent_days: float | Sequence[float],
        ease_l2: float | Sequence[float],
        ease_history: int | Sequence[int],
        text_history: int | Sequence[int],
        ease_max_items: int = 20_000,
    ) -> None:
        given: dict[str, list[Any]] = {}
        for name, what, value in (
            ("recent_days", "numbers of days", recent_days),
            ("ease_l2", "penalties", ease_l2),
            ("ease_history", "numbers of events", ease_history),
            ("text_history", "numbers of events", text_history),
        ):
            values = given[name] = [value] if isinstance(value, int | float) else list(value)
            if not values or not all(math.isfinite(value) and value > 0 for value in values):
                raise ValueError(f"{name} must be one or more {what} above 0, got {values}")
        self.recent_days, self.ease_l2 = given["recent_days"], given["ease_l2"]
        self.ease_history, self.text_history = given["ease_history"], given["text_history"]
        if ease_max_items < 1:
            raise ValueError(f"ease_max_items must be at least 1, got {ease_max_items}")
        self.ease_max_items = ease_max_items
        self.settings: dict[str, dict[str, Any]] = {}
        self.left_out: dict[str, str] = {}

    def scorers(
        self, log: InteractionLog, item_count: int, content: Tensor | None, validation: Queries
    ) -> list[Scorer]:
        """Every process must call it, as they share the work of choosing.

        Args:
            log: of the training window.
            item_count: size of the catalogue.
            content: [items, width] features of the texts before any training; None without texts.
            validation: its queries; may be none.
        """
        asked = validation
        if len(asked) > _CHOOSING:
            asked = asked[np.sort(np.random.default_rng(0).choice(len(asked), _CHOOSING, replace=False))]
        popular = Popularity(log, item_count)
        recent = [({"days": days}, _recent(log, item_count, days)) for days in self.recent_days]
        ease = [
            ({"l2": l2, "history": history}, _ease(log, item_count, l2, history))
            for l2, history in itertools.product(self.ease_l2, self.ease_history)
            if item_count <= self.ease_max_items
        ]
        if not ease:
            self.left_out["ease"] = (
                f"{item_count:,} items are more than {self.ease_max_items:,}; --retrieval_report.ease_max_items="
                f"{item_count} has it, with {item_count**2 * 12 / 1e9:.1f} GB of memory while it is made"
            )
        last = [] if content is None else self.text_history
        texts = [({"history": count}, _similar(content, popular, count)) for count in last if content is not None]
        several = (("popularity of late", recent), ("EASE", ease), ("similarity of texts", texts))
        made = [self._best(name, candidates, asked, item_count) for name, candidates in several]
        return [popular, *(scorer for scorer in made if scorer is not None)]

    def _best(self, name: str, candidates: Candidates, asked: Queries, item_count: int) -> Scorer | None:
        """None where a process cannot make one: then no process goes on with it."""
        best: tuple[float, Scorer] | None = None
        for settings, make in candidates:
            if best is not None and len(asked) == 0:
                break
            made = attempt(f"the baseline {name}", make)
            if not gather_ranks(np.array([made is not None], np.int64)).all():
                break
            assert made is not None
            found = sharded_ranks(made, asked, item_count)
            score = float(rank_gains(found, telling_metric(item_count)).mean()) if len(found) else 0.0
            if best is None or score > best[0]:
                best = score, made
                self.settings[made.name] = settings
        return None if best is None else best[1]


def _recent(log: InteractionLog, item_count: int, days: float) -> Callable[[], Scorer]:
    return lambda: RecentPopularity(log, item_count, days)


def _ease(log: InteractionLog, item_count: int, l2: float, history: int) -> Callable[[], Scorer]:
    return lambda: EASE(log, item_count, l2=l2, history=history, max_items=item_count)


def _similar(content: Tensor, popular: Popularity, history: int) -> Callable[[], Scorer]:
    return lambda: ItemSimilarity("zero_shot_text", content.cpu(), history=history, fallback=popular)
