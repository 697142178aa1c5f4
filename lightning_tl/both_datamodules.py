"""Our `datamodules` beside a package of the same name in the user's folder, a usual name in Lightning projects."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "datamodules"
_OWN = Path(__file__).resolve().parents[3] / NAME


def import_own_datamodules() -> None:
    """Import ours, whatever lies on `sys.path`, and let modules and names of others be found where ours has none."""
    if NAME in sys.modules:
        return
    others = [folder for entry in sys.path if (folder := Path(entry or ".").resolve() / NAME).is_dir()]
    others = [folder for folder in dict.fromkeys(others) if folder != _OWN]
    ours = _load(NAME, [_OWN, *others])
    theirs = [folder for folder in others if (folder / "__init__.py").is_file()]

    def elsewhere(name: str) -> Any:
        for number, folder in enumerate(theirs):
            alias = f"{NAME}_of_this_folder{number or ''}"
            found = sys.modules.get(alias) or _load(alias, [folder])
            if name in vars(found):
                return vars(found)[name]
        raise AttributeError(f"module '{NAME}' has no attribute '{name}'")

    if theirs:
        ours.__getattr__ = elsewhere  # type: ignore[method-assign]


def _load(name: str, folders: list[Path]) -> ModuleType:
    """The package in the first folder, whose modules may lie in any of them."""
    paths = [str(folder) for folder in folders]
    spec = importlib.util.spec_from_file_location(name, folders[0] / "__init__.py", submodule_search_locations=paths)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
