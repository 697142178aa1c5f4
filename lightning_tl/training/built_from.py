"""How a module was built, as plain values: for `load_from_checkpoint` without arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lightning_tl.contracts.class_paths import class_of, public_path

_KEY = "built_from"  # in a checkpoint
_TRUSTED = ("lightning_tl.", "torch.optim.")  # a checkpoint may name classes of these alone: it comes from anywhere
_CLASS, _ARGUMENTS, _OBJECT, _VALUES, _PARTIAL = "class", "arguments", "object", "values", "partial"


def given_arguments(kind: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor by name; those of its `**kwargs` beside the others."""
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    try:
        bound = dict(signature.bind(None, *args, **kwargs).arguments)
    except TypeError:  # the constructor itself says what is wrong with them
        return {}
    bound.pop(next(iter(signature.parameters)))  # self
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound |= bound.pop(name, {})
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and bound.pop(name, None):
            return {}  # it hands its own way of naming them on
    return bound


def note_building(checkpoint: dict[str, Any], given: Mapping[str, Any], num_classes: int | None) -> None:
    """Write into a checkpoint with which arguments the module was built.

    Args:
        checkpoint: changed in place.
        given: arguments by name. An object that cannot be described leaves the name of its class alone.
        num_classes: as it turned out to be.
    """
    noted = {name: _described(value) for name, value in given.items()}
    if "backbone" in noted:
        checkpoint[_KEY] = {**noted, "num_classes": num_classes}


def arguments_of(path: Any, given: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Arguments for building the module of a checkpoint again.

    Args:
        path: of the checkpoint.
        given: arguments that the caller has; they stay.
        module: name of the class, for messages.

    Raises:
        ValueError: naming the arguments that have to be given.
    """
    if "://" in str(path) or not Path(path).is_file():
        return dict(given)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if _KEY not in checkpoint or "hyper_parameters" in checkpoint:
        return dict(given)
    noted = {name: value for name, value in checkpoint[_KEY].items() if name not in given}
    missing = [f"{name} (was {value[_OBJECT]})" for name, value in noted.items() if _is(value, _OBJECT)]
    if missing:
        raise ValueError(
            f"the checkpoint {path} holds no code and cannot say how to build: {', '.join(missing)}. "
            f"Give them: {module}.load_from_checkpoint(path, {', '.join(f'{m.split()[0]}=…' for m in missing)})"
        )
    return {name: _built(value) for name, value in noted.items()} | dict(given)


def _is(value: Any, key: str) -> bool:
    return isinstance(value, dict) and key in value


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_described(item) for item in value]
        return {_OBJECT: type(value).__name__} if any(_is(item, _OBJECT) for item in items) else items
    if isinstance(value, dict) and all(isinstance(item, str | int | float) for pair in value.items() for item in pair):
        return {_VALUES: dict(value)}
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, functools.partial) and (made := _made_by(value)) is not None:
        given = {name: _described(item) for name, item in value.keywords.items()}
        if not any(_is(item, _OBJECT) for item in given.values()):
            return {_PARTIAL: public_path(made), _ARGUMENTS: given}
    path = public_path(kind)
    if path.startswith(_TRUSTED):
        if isinstance(value, type):
            return {_CLASS: path}
        arguments = _arguments(value)
        if arguments is not None:
            return {_CLASS: path, _ARGUMENTS: arguments}
    return {_OBJECT: kind.__qualname__}


def _made_by(value: functools.partial[Any]) -> type | None:
    """The class that a partial makes, as the command line has one for an optimizer: around its own instantiator."""
    kinds = [part for part in (value.func, *value.args) if isinstance(part, type)]
    return kinds[0] if len(kinds) == 1 and public_path(kinds[0]).startswith(_TRUSTED) else None


def _arguments(value: Any) -> dict[str, Any] | None:
    """The arguments of an object's constructor, from its attributes of the same names, or from its `arguments`."""
    wanted = inspect.signature(type(value)).parameters
    noted: Mapping[str, Any] | None = getattr(value, "arguments", None)
    kept = vars(value) if vars(value).keys() >= wanted.keys() else noted
    if kept is None:
        return None
    found = {name: _described(kept[name]) for name in wanted if name in kept}
    needed = {name for name, parameter in wanted.items() if parameter.default is inspect.Parameter.empty}
    return None if needed - found.keys() or any(_is(one, _OBJECT) for one in found.values()) else found


def _built(value: Any) -> Any:
    if isinstance(value, list):
        return [_built(item) for item in value]
    if _is(value, _VALUES):
        return value[_VALUES]
    if not _is(value, _CLASS) and not _is(value, _PARTIAL):
        return value
    path: str = value[_PARTIAL] if _is(value, _PARTIAL) else value[_CLASS]
    if not path.startswith(_TRUSTED):
        raise ValueError(f"the checkpoint names the class {path}, none of this package or torch.optim")
    kind: Any = class_of(path)
    arguments = {key: _built(one) for key, one in value.get(_ARGUMENTS, {}).items()}
    if _is(value, _PARTIAL):
        return functools.partial(kind, **arguments)
    return kind(**arguments) if _ARGUMENTS in value else kind
