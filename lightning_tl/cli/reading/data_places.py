"""Where a recipe's data lie: which field says so, and which class reads a folder where the recipe's own reads none."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import yaml

PLACES = ("root", "path")
FOLDER_CLASS = "datamodules.ImageFolderDataModule"


def place_field(class_path: str) -> str | None:
    """The field of a data module's class that says where its data lie; None where it has none."""
    module, _, name = class_path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
    known = {name for each in cls.__mro__ if "__init__" in vars(each) for name in inspect.signature(each).parameters}
    return next((name for name in PLACES if name in known), None)


def recipe_class(arguments: Sequence[str]) -> str:
    """Class of the data of the recipe among these arguments, after `--config`; "" where it does not say."""
    recipe = Path(arguments[arguments.index("--config") + 1])
    data = (yaml.safe_load(recipe.read_text(encoding="utf-8")) or {}).get("data")
    return str(data.get("class_path", "")) if isinstance(data, dict) else str(data or "")


def reader_of_folder(arguments: Sequence[str], places: Sequence[str] = ("root",)) -> list[str]:
    """`--data=CLASS` where a place is typed for data whose class has none, such as data that ship; else nothing."""
    named = any(word.split("=")[0] in ("--data", "--data.class_path") for word in arguments)
    typed = any(word.split("=")[0] in {f"--data.{place}" for place in places} for word in arguments)
    if named or not typed or "--config" not in arguments or place_field(recipe_class(arguments)) is not None:
        return []
    return [f"--data={FOLDER_CLASS}"]
