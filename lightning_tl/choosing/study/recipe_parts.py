"""Parts of a recipe: the classes that it names, and what they are given."""

from __future__ import annotations

import importlib
from typing import Any


def class_of(class_path: str) -> type:
    """The class of a path.

    Raises:
        ImportError: there is no such module.
        AttributeError: it has no such class.
    """
    module, _, name = class_path.rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


def init_args(part: Any) -> dict[str, Any]:
    """What a part of a recipe hands to its class."""
    return dict(part.get("init_args") or {}) if isinstance(part, dict) else {}


def model_class(model: Any) -> type | None:
    """The class that a recipe's model section names; None where it names none that can be found."""
    path = model.get("class_path") if isinstance(model, dict) else model
    if not isinstance(path, str) or "." not in path:
        return None
    try:
        found = class_of(path)
    except (ImportError, AttributeError):  # told where the recipe is read
        return None
    return found if isinstance(found, type) else None


def set_field(recipe: dict[str, Any], field: str, value: Any) -> None:
    """Set a field of a recipe by its dotted name; parts that are named by a class alone get arguments.

    Args:
        recipe: sections, changed in place.
        field: such as `model.lr`.
        value: of it.

    Raises:
        ValueError: the name leads to what has no fields.
    """
    *path, last = field.split(".")
    node = recipe
    for name in path:
        child = node.get(name)
        if isinstance(child, str):
            child = {"class_path": child}
        node[name] = child = {} if child is None else child
        if not isinstance(child, dict):
            raise ValueError(f"there is no field {field}: '{name}' is {child!r:.60}")
        if "class_path" in child and child.get("init_args") is None:
            child["init_args"] = {}
        node = child["init_args"] if "class_path" in child else child
    node[last] = value
