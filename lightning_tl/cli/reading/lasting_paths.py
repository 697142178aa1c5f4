"""Paths within a configuration: made whole, and found again, by the types of the fields that hold them."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jsonargparse import Namespace

from lightning_tl.contracts.file_or_name import FileOrName

Fields = dict[str, Any]
# What decides in which split a sample of the same data lies.
_PARTING = ("split_seed", "validation_fraction", "test_fraction", "fold", "split", "split_column")


def with_lasting_paths(fields: Fields) -> Fields:
    """The same configuration, good in any folder: what is a path here, and exists, becomes an absolute one.

    Args:
        fields: a configuration, with its classes as `{"class_path": …, "init_args": {…}}`.
    """
    for owner, name in _path_fields(fields):
        owner[name] = _lasting(owner[name])
    return fields


def sources(chosen: Any) -> Fields:
    """Class and paths of a data module's configuration: whether two read the same data, whatever else differs.

    Args:
        chosen: the configuration of one object, as `{"class_path": …, "init_args": {…}}`.
    """
    own = chosen.as_dict() if isinstance(chosen, Namespace) else chosen
    if not isinstance(own, Mapping) or "class_path" not in own:
        return {}
    cls = _class(str(own["class_path"]))
    paths = _names_of_paths(cls) if cls is not None else frozenset()
    given = own.get("init_args") or {}
    found = {name: _lasting(given[name]) for name in sorted(paths) if given.get(name) is not None}
    return {"class": cls, **found}


def other_split(chosen: Any, saved: Any) -> str | None:
    """A field by which the run's own data would be parted otherwise than in training; None where there is none.

    Args:
        chosen: the data module's configuration.
        saved: that of the run.
    """
    both = [part.as_dict() if isinstance(part, Namespace) else part for part in (chosen, saved)]
    now, before = ((part.get("init_args") or {}) if isinstance(part, Mapping) else {} for part in both)
    return next((name for name in _PARTING if now.get(name) != before.get(name)), None)


def of_another_class(chosen: Any, saved: Any, typed: Sequence[str]) -> list[str]:
    """Paths that a data module of another class than a run's would take over from the run's, which nobody meant.

    Args:
        chosen: its configuration.
        saved: that of the run.
        typed: the command line.
    """
    now, before = sources(chosen), sources(saved)
    if now.get("class") is before.get("class"):
        return []
    shared = (name for name in now.keys() & before.keys() - {"class"} if now[name] == before[name])
    return [name for name in shared if not any(word.startswith(f"--data.{name}=") for word in typed)]


def _path_fields(value: Any) -> Iterator[tuple[Fields, str]]:
    if isinstance(value, list):
        for each in value:
            yield from _path_fields(each)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("class_path"), str) and isinstance(value.get("init_args"), dict):
        cls, given = _class(value["class_path"]), value["init_args"]
        for name in _names_of_paths(cls) & given.keys() if cls is not None else ():
            yield given, name
    for each in value.values():
        yield from _path_fields(each)


def _class(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return found if inspect.isclass(found) else None


def _names_of_paths(cls: type) -> frozenset[str]:
    """The arguments of a class, or of what it inherits from, that are paths by their type."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in base.__dict__:
            continue
        try:
            hints = get_type_hints(base.__dict__["__init__"], include_extras=True)
        except (NameError, TypeError):  # of a class of the user's, whose types cannot be had here
            continue
        names |= {name for name, hint in hints.items() if _holds_path(hint)}
    return frozenset(names)


def _holds_path(hint: Any) -> bool:
    if hint is FileOrName or (inspect.isclass(hint) and issubclass(hint, os.PathLike)):
        return True
    return any(_holds_path(part) for part in get_args(hint))


def _lasting(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_lasting(each) for each in value]
    if not isinstance(value, str | os.PathLike) or not str(value):
        return value
    path = Path(value).expanduser()
    return str(path.resolve()) if path.exists() else str(value)
