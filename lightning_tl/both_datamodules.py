"""Our `datamodules` beside a package of the same name in the user's folder, a usual name in Lightning projects."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning_tl.contracts.notice import Notice

NAME = "datamodules"
_OWN = Path(__file__).resolve().parents[1] / NAME
_OWN_ALIAS = f"{NAME}_of_lightning_tl"


def share_datamodules() -> None:
    """From now on `datamodules` has the modules and names of both, whatever lies first on `sys.path`.

    Ours come first. Where the user's package was imported before, or imports `lightning_tl` while it is being imported
    itself, it stays what it is, and gets ours in addition.
    """
    loaded = sys.modules.get(NAME)
    if loaded is None:
        if not any(isinstance(finder, _BothFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _BothFinder())
    elif hasattr(loaded, "__path__") and str(_OWN) not in (str(Path(entry).resolve()) for entry in loaded.__path__):
        loaded.__path__ = [*loaded.__path__, str(_OWN)]
        _add_names(loaded, _own_names, getattr(loaded, "__getattr__", None))


class _BothFinder(MetaPathFinder):
    """Finds ours under the shared name, with the folders of others as further places of modules."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname != NAME:
            return None
        others = [folder for entry in sys.path if (folder := Path(entry or ".").resolve() / NAME).is_dir()]
        others = [folder for folder in dict.fromkeys(others) if folder != _OWN and not _is_ours(folder)]
        for folder in others:
            _warn_of_hidden(folder)
        return _spec(NAME, [_OWN, *others], _OursFirst)


class _OursFirst(SourceFileLoader):
    """Runs our `__init__.py`; names that ours has not are looked up in those of the other folders."""

    def exec_module(self, module: ModuleType) -> None:
        theirs = [folder for entry in module.__path__[1:] if ((folder := Path(entry)) / "__init__.py").is_file()]

        def others() -> list[ModuleType]:
            return [_load(f"{NAME}_of_this_folder{number or ''}", folder) for number, folder in enumerate(theirs)]

        super().exec_module(module)
        if theirs:
            _add_names(module, others, None)


def _add_names(
    module: ModuleType, further: Callable[[], list[ModuleType]], before: Callable[[str], Any] | None
) -> None:
    """Names that a module has not are looked up by its own `__getattr__`, then in further modules."""

    def elsewhere(name: str) -> Any:
        if before is not None:
            try:
                return before(name)
            except AttributeError:
                pass
        if not (name.startswith("__") and name.endswith("__")):
            for other in further():
                if name in vars(other):
                    return vars(other)[name]
        raise AttributeError(f"module '{NAME}' has no attribute '{name}'")

    module.__getattr__ = elsewhere  # type: ignore[method-assign]


def _own_names() -> list[ModuleType]:
    try:
        return [_load(_OWN_ALIAS, _OWN)]
    except ImportError as error:
        folder = next(iter(sys.modules[NAME].__path__))
        raise ImportError(
            f"the package 'datamodules' in {folder} was imported before lightning_tl and hides modules of the one in "
            f"{_OWN} ({error}): import lightning_tl first, or rename that folder"
        ) from error


def _is_ours(folder: Path) -> bool:
    """Whether a folder is that of another copy of this project, such as a checkout beside an installation."""
    return (folder.parent / "lightning_tl" / "both_datamodules.py").is_file()


def _warn_of_hidden(folder: Path) -> None:
    """Say which modules of a folder cannot be reached, because ours have the same names."""
    hidden = sorted(_module_names(folder) & _module_names(_OWN))
    if hidden:
        warnings.warn(
            f"{', '.join(hidden)} in {folder} cannot be imported: lightning_tl has modules of the same name in {_OWN}, "
            "which come first; rename yours, or that folder",
            stacklevel=2,
            category=Notice,
        )


def _module_names(folder: Path) -> set[str]:
    files = {path.stem for path in folder.glob("*.py")}
    rooms = {path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    return (files | rooms) - {"__init__"}


def _spec(name: str, folders: Sequence[Path], loader: type[SourceFileLoader]) -> ModuleSpec | None:
    """Of the package in the first folder, whose modules may lie in any of them."""
    file = str(folders[0] / "__init__.py")
    paths = [str(folder) for folder in folders]
    return importlib.util.spec_from_file_location(
        name, file, loader=loader(name, file), submodule_search_locations=paths
    )


def _load(name: str, folder: Path) -> ModuleType:
    """The package in a folder under another name; while it is being imported, as far as it is."""
    if name in sys.modules:
        return sys.modules[name]
    spec = _spec(name, [folder], SourceFileLoader)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
