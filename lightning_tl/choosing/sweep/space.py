"""Where the values of a field are searched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna import Trial

Value = float | int | str
_FORMS = "log:LOW:HIGH, float:LOW:HIGH, int:LOW:HIGH or choice:A,B,…"


@dataclass(frozen=True)
class Space:
    """A field and the values that it may take.

    Args:
        field: dotted name, as on a command line without its dashes.
        kind: "log" and "float" are between low and high, "log" evenly over orders of magnitude; "int" whole numbers
            from low to high; "choice" one of some.
        low: least value.
        high: greatest value.
        choices: of "choice".
    """

    field: str
    kind: Literal["log", "float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Space:
        """`model.lr=log:1e-5:1e-2`.

        Raises:
            ValueError: another form, or values between which nothing lies.
        """
        field, equals, form = text.partition("=")
        kind, _, rest = form.partition(":")
        if not equals or not field or kind not in ("log", "float", "int", "choice"):
            raise ValueError(f"a search must be FIELD={_FORMS}, got {text}")
        if kind == "choice":
            choices = tuple(choice for choice in rest.split(",") if choice)
            if len(set(choices)) < 2 or len(set(choices)) < len(choices):
                raise ValueError(f"the choices of {field} must be at least 2 different ones, got {rest or 'none'}")
            return cls(field, "choice", choices=choices)
        try:
            low, high = (float(end) for end in rest.split(":"))
        except ValueError:
            raise ValueError(f"the search of {field} must be {_FORMS}, got {form}") from None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"the search of {field} must go from a lower to a higher number, got {rest}")
        if kind == "log" and low <= 0:
            raise ValueError(f"the search of {field} over orders of magnitude must begin above 0, got {low:g}")
        if kind == "int" and (low != int(low) or high != int(high)):
            raise ValueError(f"the search of {field} must be between whole numbers, got {rest}")
        return cls(field, kind, low, high)  # type: ignore[arg-type]

    def suggest(self, trial: Trial) -> Value:
        """A value for a trial.

        Args:
            trial: of Optuna.
        """
        if self.kind == "choice":
            return str(trial.suggest_categorical(self.field, list(self.choices)))
        if self.kind == "int":
            return trial.suggest_int(self.field, int(self.low), int(self.high))
        return trial.suggest_float(self.field, self.low, self.high, log=self.kind == "log")

    def as_json(self) -> dict[str, object]:
        """Everything, as JSON has it."""
        return {**vars(self), "choices": list(self.choices)}
