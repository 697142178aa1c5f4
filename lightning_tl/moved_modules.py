"""Modules by the paths at which earlier versions had them, for code and files that name them so."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_INPUTS = ("image_files", "pixel_values", "tiff_files")
_RENAMED = {
    **{
        f"{room}.{name}": f"lightning_tl.inputs.{name}"
        for room in ("datamodules", "datamodules.images")
        for name in _INPUTS
    },
    "lightning_tl.module": "lightning_tl.training.transfer_module",
    "lightning_tl.scheduled_module": "lightning_tl.training.trained_module",
    "lightning_tl.adapted_module": "lightning_tl.training.trained_module",
    "lightning_tl.trained_weights": "lightning_tl.training.frozen_weights",
}
_ROOTS = {name: Path(__file__).resolve().parent.parent / name for name in ("lightning_tl", "datamodules")}


class MovedModules(MetaPathFinder, Loader):
    """Finds a module that lies in another room today by its file's name, if one file alone has it; with a warning.

    It is asked last, so that what exists is never looked for elsewhere.
    """

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        return importlib.util.spec_from_loader(fullname, self) if place_of(fullname) is not None else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module where it is now."""
        place = place_of(spec.name)
        assert place is not None
        warnings.warn(f"{spec.name} is {place} now", FutureWarning, stacklevel=2)
        module = importlib.import_module(place)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do, but to leave the module as it was."""
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)


def place_of(fullname: str) -> str | None:
    """Where the module of an old path lies; None where that is not known."""
    if fullname in _RENAMED:
        return _RENAMED[fullname]
    package, _, name = fullname.rpartition(".")
    top = package.partition(".")[0]
    if top not in _ROOTS or name.startswith("_"):
        return None
    root = _ROOTS[top]
    places = [".".join(file.relative_to(root.parent).with_suffix("").parts) for file in root.rglob(f"{name}.py")]
    near = [place for place in places if place.startswith(f"{package}.")]
    found = near if len(near) == 1 else places
    return found[0] if len(found) == 1 else None


def find_moved_modules() -> None:
    """From now on old paths lead to the modules' places."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
