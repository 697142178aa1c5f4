"""An arm of a study: a strategy put into a recipe's place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Arm:
    """A strategy with a whole recipe.

    Args:
        name: as it was asked for.
        recipe: sections as a recipe file has them.
        search: fields that the searched rate sets, and by how much of it; empty where there is nothing to search.
        pretrained: whether training starts from pretrained weights.
        baseline: whether it is a simple one with a backbone of its own, which every other arm must beat.
        weights: those of a backbone that it starts from, where a study compares weights: their name, place, and what
            is known of them; else None.
        rate: that the recipe itself has, for a study that searches none; None for a strategy, which has none.
    """

    name: str
    recipe: dict[str, Any]
    search: dict[str, float] = field(default_factory=dict)
    pretrained: bool = True
    rate: float | None = None
    baseline: bool = False
    weights: dict[str, str] | None = None

    @property
    def backbone(self) -> Any:
        """As the recipe names it; None where it names none."""
        model = self.recipe.get("model")
        return (model.get("init_args") or {}).get("backbone") if isinstance(model, dict) else None

    def rate_options(self, rate: float | None) -> list[str]:
        """What sets the rate on a command line."""
        return [] if rate is None else [f"--{name}={share * rate:.6g}" for name, share in self.search.items()]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {name: value for name, value in vars(self).items() if name != "weights" or value}  # as studies had it
