"""An arm of a study: a strategy put into a recipe's place."""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("arms")


@dataclass(frozen=True)
class Arm:
    """A strategy with a whole recipe.

    Args:
        name: as it was asked for.
        recipe: sections as a recipe file has them.
        search: fields that the searched rate sets, and by how much of it; empty where there is nothing to search.
        pretrained: whether training starts from pretrained weights.
    """

    name: str
    recipe: dict[str, Any]
    search: dict[str, float] = field(default_factory=dict)
    pretrained: bool = True

    def rate_options(self, rate: float | None) -> list[str]:
        """What sets the rate on a command line."""
        return [] if rate is None else [f"--{name}={share * rate:.6g}" for name, share in self.search.items()]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {"name": self.name, "recipe": self.recipe, "search": self.search, "pretrained": self.pretrained}


def arms() -> dict[str, Path]:
    """The strategies that come with the project, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def baselines_of(base: dict[str, Any]) -> list[str]:
    """Names of the simple baselines that come with a recipe's kind of data; none for data of the user's own kind.

    Args:
        base: sections of the recipe.
    """
    data = base.get("data")
    class_path = data.get("class_path") if isinstance(data, dict) else data
    if not isinstance(class_path, str) or "." not in class_path:
        return []
    try:
        kind = _class_of(class_path)
    except (ImportError, AttributeError):  # told where the recipe is read
        return []
    named = {name: yaml.safe_load(path.read_text(encoding="utf-8")).get("baseline_of") for name, path in arms().items()}
    return [name for name, of in named.items() if of and issubclass(kind, _class_of(of))]


def arm_of(strategy: str, base: dict[str, Any]) -> Arm:
    """The arm of a strategy: the recipe's data, backbone and trainer, and what the strategy has of its own.

    Args:
        strategy: a name among `arms()`; or the path of a recipe of the user's own, which is taken as it is, with the
            rates of its `model.lr` and `model.backbone_lr` searched in their ratio.
        base: sections of the recipe that the study is about.

    Raises:
        ValueError: there is no such strategy.
    """
    if strategy.endswith((".yaml", ".yml")):
        return _own_arm(Path(strategy))
    if strategy not in arms():
        near = difflib.get_close_matches(strategy, list(arms()), n=3)
        there = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(arms())}, or a recipe's path"
        raise ValueError(f"there is no strategy '{strategy}' ({there})")
    own = yaml.safe_load(arms()[strategy].read_text(encoding="utf-8"))
    recipe = copy.deepcopy({name: part for name, part in base.items() if name not in ("unfreezing", "learning_rates")})
    search = dict(own.get("search", {}))
    given = _init_args(base["model"])
    accepted = _accepted(own["model"])
    kept = {k: v for k, v in given.items() if k in accepted and f"model.{k}" not in search}
    if "backbone" in own:
        of_backbone = _init_args(given.get("backbone"))
        args = {name: of_backbone[name] for name in own.get("keeps", ()) if name in of_backbone}
        kept["backbone"] = {"class_path": own["backbone"], "init_args": args}
    recipe["model"] = {"class_path": own["model"], "init_args": kept}
    if "trainer" in own:
        recipe["trainer"] = {**(recipe.get("trainer") or {}), **own["trainer"]}
    if "unfreezing" in own:
        recipe["unfreezing"] = base.get("unfreezing") or own["unfreezing"]
    return Arm(strategy, recipe, search, bool(own.get("pretrained", True)))


def _own_arm(path: Path) -> Arm:
    if not path.is_file():
        raise ValueError(f"there is no recipe {path} for an arm")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(recipe, dict) or "model" not in recipe:
        raise ValueError(f"the recipe {path} has no model, so it is no arm")
    given = _init_args(recipe["model"])
    search = {}
    if "lr" in given:
        ratio = float(given["backbone_lr"]) / float(given["lr"]) if given.get("backbone_lr") else None
        search = {"model.lr": 1.0, **({"model.backbone_lr": ratio} if ratio else {})}
    class_path = recipe["model"] if isinstance(recipe["model"], str) else recipe["model"]["class_path"]
    return Arm(path.stem, recipe, search, not class_path.endswith(".FromScratch"))


def _init_args(part: Any) -> dict[str, Any]:
    return dict(part.get("init_args") or {}) if isinstance(part, dict) else {}


def _accepted(class_path: str) -> set[str]:
    """Names of a class's arguments, those of its bases too where it hands on what it does not know."""
    names: set[str] = set()
    for cls in _class_of(class_path).__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters
        names |= set(parameters)
        if not any(part.kind is inspect.Parameter.VAR_KEYWORD for part in parameters.values()):
            break
    return names - {"self", "args", "kwargs"}


def _class_of(class_path: str) -> type:
    module, _, name = class_path.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found
