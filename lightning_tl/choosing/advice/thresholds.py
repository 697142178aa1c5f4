"""`AdviceThresholds`: at how many labels the advice changes; the numbers and their source lie in a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from lightning_tl.storage.partial_file import write_whole

FILE = "thresholds.json"


@dataclass(frozen=True)
class AdviceThresholds:
    """Numbers of training labels, over all classes.

    Args:
        probe_from: fewer are too few for a trained head.
        fine_tune_from: fewer are for a head on the frozen backbone.
        by_budget_from: with so many the budget decides.
        source: where they come from.

    Raises:
        ValueError: they do not ascend from at least 0.
    """

    probe_from: int
    fine_tune_from: int
    by_budget_from: int
    source: str

    def __post_init__(self) -> None:
        steps = (0, self.probe_from, self.fine_tune_from, self.by_budget_from)
        if list(steps) != sorted(steps):
            raise ValueError(
                "thresholds must ascend: 0 <= probe_from <= fine_tune_from <= by_budget_from, got "
                f"{self.probe_from}, {self.fine_tune_from}, {self.by_budget_from}"
            )

    @classmethod
    def shipped(cls) -> AdviceThresholds:
        """Those of the file beside this one."""
        return cls(**json.loads((files(__package__) / FILE).read_text(encoding="utf-8")))

    @classmethod
    def read(cls, path: Path) -> AdviceThresholds:
        """Those of a file of the user's.

        Raises:
            ValueError: it is no file of thresholds.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, json.JSONDecodeError) as error:
            names = ", ".join(cls.__annotations__)
            raise ValueError(f"{path} holds no thresholds ({names}): {error}") from None

    def write(self, path: Path) -> None:
        """Write them as a file that `read` takes."""
        write_whole(path, json.dumps(asdict(self), indent=2) + "\n")
