"""What a study is to find out: written down before the first run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.budget import Budget

# Half decades; the search begins with the middle ones, and goes on past an end where the best lies there.
RATES = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)

LABELS = "labels a class"


@dataclass(frozen=True)
class Cell:
    """One run: an arm with so many labels, a draw of them, and a rate.

    Args:
        arm: its name.
        labels: for each class in training; None for all.
        draw: number of the draw, which is also the seed.
        rate: searched; None where there is nothing to search.
    """

    arm: str
    labels: int | None
    draw: int
    rate: float | None

    @property
    def key(self) -> str:
        """Where the run lies below the study's folder of runs."""
        rate = "" if self.rate is None else f"/rate-{self.rate:g}"
        return f"{self.arm}/{labels_text(self.labels)}/draw-{self.draw}{rate}"


def labels_text(labels: int | None) -> str:
    """A number of labels as people write it."""
    return "all" if labels is None else str(labels)


@dataclass(frozen=True)
class StudyPlan:
    """Arms, numbers of labels, draws and budget.

    Args:
        recipe: name of the recipe that the study is about.
        arms: what is compared.
        labels: numbers of labels for each class, None for all.
        draws: how often each number is drawn, with seeds from 0.
        search: rates that each arm tries at least; 1 for the recipe's own alone, or a strategy's in the middle.
        search_draws: draws over which a rate's validation is averaged.
        budget: of each run.
        options: fields that all runs have, as on a command line.
        unit: what `labels` counts, in words.
        baselines: whether the runs' own tests measure simple baselines, which are then reported beside the arms.
    """

    recipe: str
    arms: Sequence[Arm]
    labels: Sequence[int | None] = (None,)
    draws: int = 3
    search: int = 6
    search_draws: int = 1
    budget: Budget = field(default_factory=Budget)
    options: Sequence[str] = ()
    unit: str = LABELS
    baselines: bool = False

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        for what, found in (("a strategy", names), ("a number of labels", [labels_text(size) for size in self.labels])):
            twice = sorted({value for value in found if found.count(value) > 1})
            if twice:
                raise ValueError(f"{what} stands twice: {', '.join(twice)}")
        if not names or (len(names) < 2 and not self.baselines):
            raise ValueError(f"a comparison needs at least 2 strategies, got {', '.join(names) or 'none'}")
        if not self.labels or any(size is not None and size < 1 for size in self.labels):
            raise ValueError("labels_per_class must be numbers of at least 1, or all")
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")
        if not 1 <= self.search <= len(RATES):
            raise ValueError(f"search must be from 1 to {len(RATES)} rates, got {self.search}")
        if not 1 <= self.search_draws <= self.draws:
            raise ValueError(f"search_draws must be from 1 to the {self.draws} draws, got {self.search_draws}")

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def rates(self, arm: Arm) -> tuple[float | None, ...]:
        """The rates that an arm may be run at, ascending; None alone where it has none."""
        if not arm.search:
            return (None,)
        return (arm.rate,) if self.search == 1 and arm.rate is not None else RATES

    def groups(self) -> Iterator[tuple[Arm, int | None]]:
        """Every arm with every number of labels, few labels first."""
        for size in sorted(self.labels, key=lambda size: (size is None, size or 0)):
            for arm in self.arms:
                yield arm, size

    def recipe_command(self, cell: Cell, recipes: Path, run: Path) -> list[str]:
        """The command line of a run, without the test, the budget and the rate.

        Args:
            cell: the run.
            recipes: folder with a recipe file for each arm.
            run: its run folder.
        """
        few = [] if cell.labels is None else [f"--data.labels_per_class={cell.labels}"]
        return [
            *("fit", "--recipe", str(recipes / f"{cell.arm}.yaml"), "--run_folder", str(run), "--test=false"),
            *("--trainer.enable_progress_bar=false", f"--seed_everything={cell.draw}", *few, *self.options),
        ]

    def command(self, cell: Cell, recipes: Path, run: Path, step_s: float) -> list[str]:
        """The command line of a run, without the test.

        Args:
            cell: the run.
            recipes: see `recipe_command`.
            run: its run folder.
            step_s: what a step of the arm took, in seconds.
        """
        arm = self.arm(cell.arm)
        budget = self.budget.options(step_s) if arm.search else []
        return [*self.recipe_command(cell, recipes, run), *budget, *arm.rate_options(cell.rate)]

    def as_json(self) -> dict[str, Any]:
        """Everything that decides what the runs are, as JSON has it."""
        return {
            "format": 1,
            "recipe": self.recipe,
            "arms": [arm.as_json() for arm in self.arms],
            "labels": [labels_text(size) for size in self.labels],
            "draws": self.draws,
            "search": self.search,
            "search_draws": self.search_draws,
            "budget": {"kind": self.budget.kind, "amount": self.budget.amount},
            "options": list(self.options),
            # Not there in studies of earlier versions.
            **({"unit": self.unit} if self.unit != LABELS else {}),
            **({"baselines": True} if self.baselines else {}),
        }

    @classmethod
    def from_json(cls, text: str) -> StudyPlan:
        """What `as_json` wrote."""
        found = json.loads(text)
        return cls(
            found["recipe"],
            tuple(Arm(**arm) for arm in found["arms"]),
            tuple(None if size == "all" else int(size) for size in found["labels"]),
            found["draws"],
            found["search"],
            found["search_draws"],
            Budget(**found["budget"]),
            tuple(found["options"]),
            found.get("unit", LABELS),
            found.get("baselines", False),
        )
