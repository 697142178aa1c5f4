"""Arms of the user's own: a whole recipe, or what it changes in the recipe that the study is about."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.named_arms import arms
from lightning_tl.choosing.study.recipe_parts import class_of, init_args, model_class, set_field
from lightning_tl.retrieval import TwoTower

_ENCODERS = ("encoder", "picture_encoder")


def own_arm(path: Path, base: dict[str, Any]) -> Arm:
    """The arm of a file.

    Besides a recipe's sections it may say `pretrained: true` or `false`, where that cannot be told from the model; and
    in place of a recipe's sections `fields:`, by which the study's recipe is changed.

    Args:
        path: of the file.
        base: sections of the recipe that the study is about; data are taken from it where the file names none.

    Raises:
        ValueError: there is no such file, or it is no arm.
    """
    if not path.is_file():
        raise ValueError(f"there is no recipe {path} for an arm")
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    recipe = dict(told) if isinstance(told, dict) else {}
    pretrained, fields = recipe.pop("pretrained", None), recipe.pop("fields", None)
    if pretrained is not None and not isinstance(pretrained, bool):
        raise ValueError(f"{path}: pretrained must be true or false, got {pretrained!r}")
    if fields is not None:
        recipe = _changed(path, base, recipe, fields)
    if "model" not in recipe:
        raise ValueError(f"the recipe {path} has no model, so it is no arm")
    if "data" in base:
        recipe.setdefault("data", copy.deepcopy(base["data"]))
    search, rate = _searched(recipe["model"])
    return Arm(path.stem, recipe, search, is_pretrained(recipe["model"]) if pretrained is None else pretrained, rate)


def _changed(path: Path, base: dict[str, Any], rest: dict[str, Any], fields: Any) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: fields must be names and values such as model.lr: 0.01, got {fields!r:.60}")
    if rest:
        raise ValueError(
            f"{path} has fields and sections ({', '.join(map(str, rest))}): write the sections as fields, too"
        )
    changed = copy.deepcopy(base)
    for name, value in fields.items():
        if "." not in str(name).strip("."):
            raise ValueError(f"{path} changes '{name}', which is no field: write it as model.lr or data.batch_size")
        try:
            set_field(changed, str(name), copy.deepcopy(value))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return changed


def is_pretrained(model: Any) -> bool:
    """Whether a model starts from pretrained weights: of two towers, whether any has an encoder that is not drawn anew.

    Args:
        model: the section of a recipe.
    """
    kind = model_class(model)
    if kind is None or not issubclass(kind, TwoTower):
        path = model if isinstance(model, str) else str(model.get("class_path"))
        return not path.endswith(".FromScratch")
    towers = (init_args(init_args(model).get(side)) for side in ("items", "users"))
    return any(tower.get(name) is not None for tower in towers if not _drawn_anew(tower) for name in _ENCODERS)


def _drawn_anew(tower: Mapping[str, Any]) -> bool:
    adaptation = tower.get("adaptation")
    path = adaptation.get("class_path") if isinstance(adaptation, dict) else adaptation
    return str(path).endswith(".Reinitialised") and tower.get("picture_encoder") is None


def _searched(model: Any) -> tuple[dict[str, float], float | None]:
    """The fields that hold a rate with their ratio to `model.lr`, and the rate that the recipe itself has."""
    rates = dict(_rates(model, "model"))
    kind = model_class(model)
    if "model.lr" not in rates and kind is not None and (rates or _is_trained(kind)):
        default = _default_rate(kind)
        rates = {} if default is None else {"model.lr": default, **rates}
    own = rates.get("model.lr")
    if not own:
        return {}, None
    return {name: 1.0 if name == "model.lr" else rate / own for name, rate in rates.items() if rate}, own


def _is_trained(kind: type) -> bool:
    """Whether a model learns at a rate: two towers do, and of strategies those whose own arms search one."""
    named = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in arms().values()]
    return issubclass(kind, (TwoTower, *(class_of(arm["model"]) for arm in named if arm.get("search"))))


def _rates(part: Any, name: str) -> Iterator[tuple[str, float]]:
    for key, value in init_args(part).items():
        if key == "lr" or key.endswith("_lr"):
            if isinstance(value, int | float | str) and not isinstance(value, bool) and _is_number(value):
                yield f"{name}.{key}", float(value)
        elif isinstance(value, dict) and "class_path" in value:
            yield from _rates(value, f"{name}.{key}")


def _is_number(value: int | float | str) -> bool:
    try:
        float(value)  # YAML reads 1e-3 as a text
    except ValueError:
        return False
    return True


def _default_rate(kind: type) -> float | None:
    for cls in kind.__mro__:
        found = inspect.signature(vars(cls)["__init__"]).parameters.get("lr") if "__init__" in vars(cls) else None
        if found is not None and isinstance(found.default, int | float):
            return float(found.default)
    return None


def is_log(model: Any) -> bool:
    """Whether a recipe's model learns from an event log.

    Args:
        model: the section of a recipe.
    """
    kind = model_class(model)
    return kind is not None and issubclass(kind, TwoTower)
