"""`RightShare`: the share of right samples."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd

from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.reports.against import PREDICTIONS, right_samples


class RightShare(Measure):
    """1 for a sample that is classified right, 0 for another; of several labels all must be right."""

    column = "accuracy"
    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    has_labels: ClassVar[bool] = True

    @property
    def text(self) -> str:
        """See `Measure`."""
        return "Share of right test samples"

    def samples(self, run: Path) -> pd.DataFrame:
        """See `Measure`."""
        found = right_samples(run / PREDICTIONS).rename(columns={"right": "value"})
        return found.assign(value=found["value"].astype(float))
