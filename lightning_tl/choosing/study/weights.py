"""Arms that differ in the weights that they start from: what pretraining is worth."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_tl.backbones.opening.weights_resolver import shipped_models
from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.recipe_parts import class_of, init_args

NOTHING = "none"  # in place of weights: the architecture, from nothing
_NAME, _CLASS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*"), re.compile(r"((?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*):(.+)")


@dataclass(frozen=True)
class Weights:
    """Weights that arms of a study start from.

    Args:
        name: by which reports call them.
        place: what the backbone's `pretrained` is set to; "none" for the recipe's architecture with fresh weights.
        backbone: class path of the backbone that opens them; None for the recipe's.
    """

    name: str
    place: str
    backbone: str | None = None

    @classmethod
    def parse(cls, text: str) -> Weights:
        """`NAME=PLACE` or `NAME=CLASS:PLACE`; a place that is there becomes an absolute path.

        Raises:
            ValueError: it is neither.
        """
        name, _, place = text.partition("=")
        if not _NAME.fullmatch(name) or not place:
            raise ValueError(
                f"weights are given as NAME=FOLDER, NAME=CLASS:FOLDER or NAME={NOTHING}, a name being letters, digits, "
                f"- and _; got {text!r}"
            )
        kind = _CLASS.fullmatch(place)
        backbone, place = kind.groups() if kind else (None, place)
        path = Path(place).expanduser()
        return cls(name, str(path.absolute()) if place != NOTHING and path.exists() else place, backbone)

    @property
    def told(self) -> str:
        """Where they come from, as far as `provenance.json` beside them says."""
        if self.place == NOTHING:
            return "nothing: fresh weights"
        folder = shipped_models().get(self.place) or Path(self.place)
        try:
            found = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "not said: there is no provenance.json beside them"
        parts = [str(found.get("objective") or "an objective that is not named")]
        parts += [f"{found['steps']:,} steps"] if isinstance(found.get("steps"), int) else []
        parts += [f"from {found['started_from']}"] if found.get("started_from") else []
        parts += [str(found["data"])] if isinstance(found.get("data"), str) else []
        return ", ".join(parts)


def arms_of_weights(arms: Sequence[Arm], weights: Sequence[Weights]) -> list[Arm]:
    """Every arm that starts from the recipe's pretrained weights once from each of these; the others as they are.

    Args:
        arms: of the study.
        weights: to start from; empty changes nothing.

    Raises:
        ValueError: a name stands twice, or no arm has a backbone that could start from them.
    """
    if not weights:
        return list(arms)
    names = [each.name for each in weights]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"weights of one name stand twice: {', '.join(twice)}")
    found: list[Arm] = []
    for arm in arms:
        if arm.baseline or not arm.pretrained or arm.backbone is None:
            found.append(arm)
        else:
            found += [_started(arm, each) for each in weights]
    if not any(arm.weights for arm in found):
        raise ValueError("no strategy starts from pretrained weights of a backbone, so weights change nothing")
    return found


def _usual_weights(backbone: str) -> Any:
    """The default of a backbone's `weights`: mostly whether there are any, of torchvision's networks their name.

    Raises:
        ValueError: it has no such argument, so nobody can say that it starts from nothing.
    """
    argument = inspect.signature(class_of(backbone)).parameters.get("weights")
    if argument is None or argument.default is inspect.Parameter.empty:
        raise ValueError(
            f"{backbone} has no argument weights with a default, by which it starts from given ones or none"
        )
    return argument.default


def _started(arm: Arm, weights: Weights) -> Arm:
    recipe = copy.deepcopy(arm.recipe)
    given = arm.backbone
    own = str(given.get("class_path") if isinstance(given, dict) else given)
    backbone = weights.backbone or own
    fields: dict[str, Any] = init_args(given) if backbone == own else {}
    usual = _usual_weights(backbone)
    if weights.place == NOTHING:
        fields["weights"] = False if isinstance(usual, bool) else None
    else:
        fields = {**fields, "pretrained": weights.place, "weights": usual}
    recipe["model"] = {**recipe["model"], "init_args": {**init_args(recipe["model"])}}
    recipe["model"]["init_args"]["backbone"] = {"class_path": backbone, "init_args": fields}
    from_nothing = weights.place == NOTHING
    return replace(
        arm,
        name=f"{arm.name}-{weights.name}",
        recipe=recipe,
        pretrained=not from_nothing,
        weights={"name": weights.name, "place": weights.place, "told": weights.told},
    )
