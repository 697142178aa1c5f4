"""`AbsoluteError`: how far predicted values are off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from lightning_tl.choosing.study.measures.measure import Measure
from lightning_tl.reports.against import PREDICTIONS


class AbsoluteError(Measure):
    """The absolute error of each sample, in the target's unit.

    Of several targets, whose units differ, the mean of their errors in standard deviations of the training targets.

    Args:
        names: of the targets.
        spreads: standard deviation of each target in training, above 0.
    """

    column = "mae"
    lower_is_better: ClassVar[bool] = True
    form: ClassVar[str] = ".4g"

    def __init__(self, names: Sequence[str], spreads: Sequence[float]) -> None:
        self.names, self.spreads = tuple(names), np.asarray(spreads, dtype=np.float64)

    @property
    def text(self) -> str:
        """See `Measure`."""
        if len(self.spreads) > 1:
            return (
                f"Mean absolute error over {len(self.spreads)} targets, in standard deviations of each; lower is better"
            )
        of = f" of {self.names[0]}" if self.names else ""
        return f"Mean absolute error{of}, in its unit; lower is better"

    def samples(self, run: Path) -> pd.DataFrame:
        """See `Measure`."""
        table = pd.read_parquet(run / PREDICTIONS)
        if not {"id", "label", "predicted"} <= set(table):
            raise ValueError(f"{run / PREDICTIONS} has no predicted values")
        truth, said = (np.stack([np.atleast_1d(row) for row in table[name]]) for name in ("label", "predicted"))
        if truth.shape != said.shape or truth.shape[1] != len(self.spreads):
            raise ValueError(f"{run / PREDICTIONS} has other targets than the run's description")
        error = np.abs(said.astype(np.float64) - truth.astype(np.float64))
        value = error[:, 0] if len(self.spreads) == 1 else (error / self.spreads).mean(1)
        found = pd.DataFrame({"value": value}, index=pd.Index(table["id"], name="id"))
        if "block" in table:
            found["block"] = table["block"].to_numpy()
        return found.sort_index(kind="stable")
