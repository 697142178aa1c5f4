"""How long each run of a study may train."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_UNITS_S = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
CHECKS = 8  # looks at validation in a run of so many steps


@dataclass(frozen=True)
class Budget:
    """What all runs have alike.

    Args:
        kind: "recipe", each arm trains as its recipe says; "steps", optimizer steps; "time", seconds of training.
        amount: of steps or seconds; 0 for "recipe".
    """

    kind: Literal["recipe", "steps", "time"] = "recipe"
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`recipe`, `500steps`, `90s`, `30min` or `2h`, of each run.

        Raises:
            ValueError: another text, or an amount that is not above 0.
        """
        if text == "recipe":
            return cls()
        found = re.fullmatch(r"([\d.]+)\s*(steps?|s|sec|min|h)", text.strip())
        if found is None or not _number(found[1]) or float(found[1]) <= 0:
            raise ValueError(
                f"budget must be recipe, or a positive length such as 500steps, 90s, 30min or 2h, got {text}"
            )
        if found[2].startswith("step"):
            if float(found[1]) != int(float(found[1])):
                raise ValueError(f"a budget of steps must be a whole number, got {text}")
            return cls("steps", float(found[1]))
        return cls("time", float(found[1]) * _UNITS_S[found[2]])

    def steps(self, step_s: float) -> int:
        """Optimizer steps of a run.

        Args:
            step_s: what a step of this arm took here, in seconds.

        Raises:
            ValueError: not one step fits.
        """
        if self.kind == "steps":
            return int(self.amount)
        if self.amount < step_s:
            raise ValueError(f"a budget of {self.amount:g} s is less than one step, which takes {step_s:.2g} s here")
        return int(self.amount / step_s)

    def options(self, step_s: float) -> list[str]:
        """What is added to the command of a run.

        Args:
            step_s: see `steps`.
        """
        if self.kind == "recipe":
            return []
        steps = self.steps(step_s)
        return [
            f"--trainer.max_steps={steps}",
            "--trainer.max_epochs=-1",
            "--trainer.check_val_every_n_epoch=null",
            f"--trainer.val_check_interval={max(1, steps // CHECKS)}",
        ]

    @property
    def text(self) -> str:
        """For people."""
        if self.kind == "recipe":
            return "as each recipe says"
        return f"{self.amount:,.0f} steps" if self.kind == "steps" else f"{self.amount:,.0f} s of training"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
