"""`Measure`: what a run is scored by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pandas as pd


class Measure(ABC):
    """A number for each test sample of a run, whose mean is the run's score; base of the measures.

    Attributes:
        column: what the score is called in tables.
        noun: what a sample is, in the plural.
        lower_is_better: whether it is an error.
        bounds: least and greatest value that a sample can have; None where they are not known.
        has_labels: whether numbers of labels a class can be varied.
        form: how a score is printed.
    """

    column: str
    noun: ClassVar[str] = "test samples"
    lower_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float] | None] = None
    has_labels: ClassVar[bool] = False
    form: ClassVar[str] = ".3f"

    @property
    @abstractmethod
    def text(self) -> str:
        """What the score is, as a sentence begins."""

    @property
    def axis(self) -> str:
        """What the score is, in a picture."""
        head = self.text.split(";")[0]
        return head[0].lower() + head[1:] if head[1].islower() else head

    @abstractmethod
    def samples(self, run: Path) -> pd.DataFrame:
        """The test of a run: its samples by name and in their order, with columns `value` and, in blocks, `block`.

        Args:
            run: a run folder that was tested.

        Raises:
            ValueError: its predictions are of another kind.
        """

    def baselines(self, run: Path) -> dict[str, pd.DataFrame]:
        """What simple baselines got on the same samples, by name, where the run's own test measured them."""
        return {}

    def sign(self) -> int:
        """What a difference is multiplied by, so that better is above 0."""
        return -1 if self.lower_is_better else 1
