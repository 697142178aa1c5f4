"""`UserGain`: how well each user of an event log is served."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd

from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.reports.against import PREDICTIONS
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import telling_metric

_MODEL, _RANK = "two_tower", "rank_"


class UserGain(Measure):
    """The mean of a user's queries: a hit rate (of one target also its recall) or reciprocal rank.

    Every user counts once, however much they ask; users who ask nothing in the test window are not counted.

    Args:
        items: size of the catalogue, by which the metric is chosen that can tell rankings apart.
    """

    noun: ClassVar[str] = "test users"
    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(self, items: int) -> None:
        self.metric = self.column = telling_metric(items)

    @property
    def text(self) -> str:
        """See `Measure`."""
        return f"{self.metric}, the mean over test users of each one's queries"

    def samples(self, run: Path) -> pd.DataFrame:
        """See `Measure`."""
        return self._all(run)[_MODEL]

    def baselines(self, run: Path) -> dict[str, pd.DataFrame]:
        """See `Measure`: those that the retrieval report measures on the same queries."""
        return {name: table for name, table in self._all(run).items() if name != _MODEL}

    def _all(self, run: Path) -> dict[str, pd.DataFrame]:
        table = pd.read_parquet(run / PREDICTIONS)
        models = [name.removeprefix(_RANK) for name in table if str(name).startswith(_RANK)]
        if "user" not in table or _MODEL not in models:
            raise ValueError(f"{run / PREDICTIONS} has no ranks of queries")
        found = {}
        for name in models:
            gains = pd.Series(rank_gains(table[f"{_RANK}{name}"], self.metric), index=table["user"], name="value")
            found[name] = gains.groupby(level=0, sort=True).mean().to_frame()
        return found
