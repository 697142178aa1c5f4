"""`arguments_of`: a strategy's constructor takes the arguments of the adaptation that it stands for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, get_type_hints

from docstring_parser import parse

from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones.base import Backbone

_Kinds = Sequence[type[Adaptation]]


def arguments_of(
    *kinds: type[Adaptation], choose: Callable[[Backbone], type[Adaptation]] | None = None, **renamed: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate `__init__(self, backbone, adaptation, **kwargs)` to take an adaptation's arguments in place of it.

    Names, order, types, defaults and descriptions are the adaptation's, so that they are written in its file alone; the
    command line, `help` and the reference show them as the strategy's own. A type checker, which runs no decorators,
    takes any arguments.

    Args:
        *kinds: the adaptation; or several, of which each backbone has one. An argument that only some of them have is
            None by default, and then left to the adaptation.
        choose: the adaptation of a backbone, where there are several.
        **renamed: the adaptation's names by those that the strategy has for them, where the base has one of that name.

    Raises:
        TypeError: an argument of several adaptations differs between them, or there is none of a name in `renamed`.
    """
    added = _merged(kinds, renamed)

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function)
        own = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in _parameters(function)]
        module, backbone, _, *more = own
        signature = inspect.Signature([module, backbone, *added.values(), *more], return_annotation=None)

        @functools.wraps(function)
        def init(*args: Any, **kwargs: Any) -> None:
            given = dict(signature.bind(*args, **kwargs).arguments)
            rest = given.pop(more[-1].name, {})
            self, reader = given.pop(module.name), given.pop(backbone.name)
            kind = kinds[0] if choose is None else choose(reader)
            theirs = {renamed.get(name, name): value for name, value in given.items()}
            function(self, reader, _built(kind, kinds, theirs, reader), **rest)

        init.__signature__ = signature  # type: ignore[attr-defined]
        init.__doc__ = _documented(function, kinds, list(added), renamed)
        return init

    return decorate


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    return list(inspect.signature(function).parameters.values())


def _merged(kinds: _Kinds, renamed: Mapping[str, str]) -> dict[str, Parameter]:
    """The arguments of these adaptations, by the strategy's names for them."""
    own_names = {theirs: own for own, theirs in renamed.items()}
    found: dict[str, list[Parameter]] = {}
    for kind in kinds:
        hints = get_type_hints(kind.__init__)
        for one in _parameters(kind):
            found.setdefault(one.name, []).append(one.replace(annotation=hints[one.name]))
    if absent := own_names.keys() - found.keys():
        raise TypeError(f"{', '.join(kind.__name__ for kind in kinds)} has no argument {min(absent)}")
    merged = {}
    for name, alike in found.items():
        one = alike[0].replace(name=own_names.get(name, name))
        if any(other != alike[0] for other in alike):
            raise TypeError(f"{name} differs between {', '.join(kind.__name__ for kind in kinds)}")
        if len(alike) < len(kinds):
            one = one.replace(annotation=one.annotation | None, default=None)
        merged[one.name] = one
    return merged


def _built(kind: type[Adaptation], kinds: _Kinds, given: Mapping[str, Any], backbone: Backbone) -> Adaptation:
    takes, by_all = _names(kind), set.intersection(*map(_names, kinds))
    for name, value in given.items():
        if value is not None and name not in takes:
            raise ValueError(
                f"{name} is no argument of {kind.__name__}, which is for {type(backbone).__name__}; leave it out, got "
                f"{value!r}"
            )
    return kind(**{name: value for name, value in given.items() if name in by_all or value is not None})


def _names(kind: type[Adaptation]) -> set[str]:
    return {one.name for one in _parameters(kind)}


def _documented(function: Callable[..., None], kinds: _Kinds, names: Sequence[str], renamed: Mapping[str, str]) -> str:
    """The text of the constructor, with the adaptations' descriptions of their arguments in the order of the names."""
    told: dict[str, str] = {}
    by_all = set.intersection(*map(_names, kinds))
    for kind in kinds:
        for one in parse(kind.__doc__ or "").params:
            whose = "" if one.arg_name in by_all else f"with {kind.__name__}: "
            told.setdefault(one.arg_name, whose + (one.description or ""))
    own = parse(inspect.getdoc(function) or "")
    first, _, *rest = [(one.arg_name, one.description or "") for one in own.params]
    described = [first, *((name, told.get(renamed.get(name, name), "")) for name in names), *rest]
    lines = [f"    {name}: " + text.replace("\n", "\n        ") for name, text in described]
    return "\n".join([own.short_description or "", "", "Args:", *lines, ""])
