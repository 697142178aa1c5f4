"""Nulls where a class takes none: the parser lets them pass within classes."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from lightning_tl.cli.errors import UserError


def check_nulls(config: Any, where: str = "") -> None:
    """Refuse a null for a parameter whose annotation does not name None.

    Args:
        config: parsed, or a part of it.
        where: the option that the part belongs to.

    Raises:
        UserError: naming the first such option.
    """
    if isinstance(config, list):
        for number, part in enumerate(config):
            check_nulls(part, f"{where}[{number}]")
    if not isinstance(config, Namespace | Mapping):
        return
    items = dict(config.items()) if isinstance(config, Mapping) else vars(config)
    items = {str(name).lstrip("\u200b"): value for name, value in items.items()}  # jsonargparse hides names so
    path, own = items.get("class_path"), items.get("init_args")
    if isinstance(path, str) and own is not None:
        hints, nulls = _hints(path), own.items() if isinstance(own, Mapping) else vars(own).items()
        for name, value in ((name.lstrip("\u200b"), value) for name, value in nulls):
            if value is None and name in hints and not _takes_none(hints[name]):
                kind = getattr(hints[name], "__name__", str(hints[name]))
                raise UserError(f"{where}.{name}: expected {kind}, got null")
        check_nulls(own, where)
        return
    for name, value in items.items():
        check_nulls(value, f"{where}.{name}".lstrip("."))


def _hints(path: str) -> dict[str, Any]:
    """What the parameters of a class or function must be, those that it hands on to bases included.

    Without those that may be left out as None, whatever their annotation says.
    """
    module, _, name = path.rpartition(".")
    found: dict[str, Any] = {}
    try:
        made: Any = getattr(importlib.import_module(module), name)
        for base in reversed(made.__mro__ if isinstance(made, type) else [made]):
            function = vars(base).get("__init__") if isinstance(base, type) else base
            if not inspect.isfunction(function):
                continue
            hints = typing.get_type_hints(function)
            for parameter in inspect.signature(function).parameters.values():
                found.pop(parameter.name, None)
                if parameter.name in hints and parameter.default is not None:
                    found[parameter.name] = hints[parameter.name]
    except (ImportError, AttributeError, NameError, TypeError, ValueError):
        return {}  # what cannot be looked up is left to the class
    return found


def _takes_none(hint: Any) -> bool:
    hint = getattr(hint, "__value__", hint)  # of `type Name = …`
    if typing.get_origin(hint) in (typing.Union, types.UnionType, typing.Annotated):
        return any(_takes_none(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return None in typing.get_args(hint)
    return hint in (None, type(None), Any, object) or isinstance(hint, typing.TypeVar)
