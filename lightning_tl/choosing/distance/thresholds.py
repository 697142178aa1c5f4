"""`Thresholds`: from where on domains are called near or far; the numbers and their source lie in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

FILE = "thresholds.json"


@dataclass(frozen=True)
class Thresholds:
    """Limits of words.

    Args:
        near_below: accuracy of a domain classifier, below which domains are near.
        far_from: the same, from which on they are far.
        level: p-value up to which a difference counts as established.
        source: where the limits come from.
    """

    near_below: float
    far_from: float
    level: float
    source: str

    @classmethod
    def shipped(cls) -> Thresholds:
        """Those of the file beside this one."""
        return cls(**json.loads((files(__package__) / FILE).read_text(encoding="utf-8")))

    def word(self, accuracy: float) -> str:
        """near, apart or far."""
        return "near" if accuracy < self.near_below else "far" if accuracy >= self.far_from else "apart"
