"""The arms of a study, by the names of strategies or by files of the user's own."""

from __future__ import annotations

import copy
import difflib
import inspect
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.named_arms import arms
from lightning_tl.choosing.study.own_arm import own_arm
from lightning_tl.choosing.study.recipe_parts import class_of, init_args

_OF_TASK = ("num_classes", "class_weights", "loss", "task")  # a baseline's own fields say how it trains


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
        kind = class_of(class_path)
    except (ImportError, AttributeError):  # told where the recipe is read
        return []
    named = {name: yaml.safe_load(path.read_text(encoding="utf-8")).get("baseline_of") for name, path in arms().items()}
    return [name for name, of in named.items() if of and issubclass(kind, class_of(of))]


def arm_of(strategy: str, base: dict[str, Any]) -> Arm:
    """The arm of a strategy: the recipe's data, backbone and trainer, and what the strategy has of its own.

    Args:
        strategy: a name among `arms()`; or the path of a file of the user's own, see `own_arm`.
        base: sections of the recipe that the study is about.

    Raises:
        ValueError: there is no such strategy.
    """
    if strategy.endswith((".yaml", ".yml")):
        return own_arm(Path(strategy), base)
    if strategy not in arms():
        near = difflib.get_close_matches(strategy, list(arms()), n=3)
        there = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(arms())}, or a recipe's path"
        raise ValueError(f"there is no strategy '{strategy}' ({there})")
    own = yaml.safe_load(arms()[strategy].read_text(encoding="utf-8"))
    recipe = copy.deepcopy({name: part for name, part in base.items() if name not in ("unfreezing", "learning_rates")})
    search = dict(own.get("search", {}))
    given = init_args(base["model"])
    accepted = _accepted(own["model"])
    kept = {k: v for k, v in given.items() if k in accepted and f"model.{k}" not in search}
    if "backbone" in own:
        kept = {name: value for name, value in kept.items() if name in _OF_TASK}
        of_backbone = init_args(given.get("backbone"))
        args = {name: of_backbone[name] for name in own.get("keeps", ()) if name in of_backbone}
        kept["backbone"] = {"class_path": own["backbone"], "init_args": args}
    recipe["model"] = {"class_path": own["model"], "init_args": kept}
    if "trainer" in own:
        recipe["trainer"] = {**(recipe.get("trainer") or {}), **own["trainer"]}
    if "unfreezing" in own:
        recipe["unfreezing"] = base.get("unfreezing") or own["unfreezing"]
    return Arm(strategy, recipe, search, bool(own.get("pretrained", True)), baseline="baseline_of" in own)


def _accepted(class_path: str) -> set[str]:
    """Names of a class's arguments, those of its bases too where it hands on what it does not know."""
    names: set[str] = set()
    for cls in class_of(class_path).__mro__:
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters
        names |= set(parameters)
        if not any(part.kind is inspect.Parameter.VAR_KEYWORD for part in parameters.values()):
            break
    return names - {"self", "args", "kwargs"}
