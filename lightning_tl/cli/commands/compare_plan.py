"""The plan of a comparison: what was asked for, on the recipe's kind of data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lightning_tl.backbones.opening.weights_resolver import check_weights
from lightning_tl.choosing.study import Arm, Budget, StudyPlan, arm_of, arms, baselines_of, log_arms
from lightning_tl.choosing.study.own_arm import is_log
from lightning_tl.choosing.study.weights import NOTHING, Weights, arms_of_weights
from lightning_tl.cli.commands.compare_options import STRATEGIES, CompareOptions
from lightning_tl.cli.errors import UserError, nearest
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe, recipes

_EXTRA = ("fields", "pretrained")  # what an arm's file may have besides a recipe's sections


def plan_of(wanted: CompareOptions, recipe: Path) -> StudyPlan:
    """What is to be found out.

    Args:
        wanted: from `read_compare_options`.
        recipe: the file of the recipe that the study is about.

    Raises:
        UserError: the recipe's model cannot be compared, or a strategy is not of its kind.
        ValueError: see `StudyPlan`.
        FileNotFoundError: a place holds no weights.
    """
    base = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    check_recipe("compare", base, wanted.name)
    log = is_log(base["model"])
    if log and any(size is not None for size in wanted.labels):
        raise UserError(
            f"labels_per_class is for classes, and the recipe {wanted.name} learns from an event log, which has none: "
            "leave it out"
        )
    if log and wanted.weights:
        raise UserError(f"--weights is for classification, and the recipe {wanted.name} learns from an event log")
    if log and wanted.source is not None:
        raise UserError(f"--source is for classification, and the recipe {wanted.name} learns from an event log")
    return StudyPlan(
        wanted.name,
        tuple(_log_arms(wanted, recipe, base) if log else _arms(wanted, base)),
        wanted.labels,
        wanted.draws,
        wanted.search,
        wanted.search_draws,
        Budget.parse(wanted.budget),
        wanted.fields,
        baselines=log and wanted.baselines,
    )


def _arms(wanted: CompareOptions, base: dict[str, Any]) -> list[Arm]:
    strategies = wanted.strategies or STRATEGIES
    simple = [name for name in (baselines_of(base) if wanted.baselines else []) if name not in strategies]
    found = [arm_of(_checked(strategy), base) for strategy in (*strategies, *simple)]
    weights = [Weights.parse(text) for text in wanted.weights]
    for each in weights:
        if each.place != NOTHING:
            check_weights(each.place)
    return arms_of_weights(found, weights)


def _log_arms(wanted: CompareOptions, recipe: Path, base: dict[str, Any]) -> list[Arm]:
    """Recipes and files that change the recipe; without any the recipe itself, beside the simple baselines."""
    return [arm_of(_checked(_recipe_of(name, wanted.name)), base) for name in wanted.strategies or (str(recipe),)]


def _recipe_of(strategy: str, recipe: str) -> str:
    if strategy in arms():
        raise UserError(
            f"{strategy} is a strategy of classification, and the recipe {recipe} learns from an event log: give "
            f"recipes, files that change this one, or {', '.join(log_arms())}"
        )
    if strategy in log_arms():
        return str(log_arms()[strategy])
    if strategy not in recipes() and not Path(strategy).suffix and not Path(strategy).is_file():
        known = {**log_arms(), **recipes()}
        near = nearest(strategy, known) or f" (there are: {', '.join(known)})"
        raise UserError(f"there is no recipe or variant '{strategy}'{near}")
    return str(find_recipe(strategy))


def _checked(strategy: str) -> str:
    """The same; a file is looked at before anything heavy reads it."""
    path = Path(strategy)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        check_recipe_file(path, _EXTRA)
    return strategy


def check_recipe(command: str, base: object, name: str) -> None:
    """See that other strategies could take the place of a recipe's own.

    Args:
        command: that asks.
        base: sections of the recipe.
        name: of the recipe.

    Raises:
        UserError: they could not.
    """
    model = base.get("model") if isinstance(base, dict) else None
    class_path = model.get("class_path") if isinstance(model, dict) else model
    if not isinstance(class_path, str):
        raise UserError(f"the recipe {name} names no model, so {command} has nothing to exchange")
    if ".pretraining." in class_path:
        what = class_path.rpartition(".")[2]
        raise UserError(f"{command} is for models that are tested; the recipe {name} pretrains ({what})")
    if not is_log(model) and (not isinstance(model, dict) or "backbone" not in (model.get("init_args") or {})):
        raise UserError(f"the model of the recipe {name} has no backbone that strategies could share")
