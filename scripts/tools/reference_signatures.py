"""For the site: constructors made by `arguments_of` with the arguments that they take, not those in their source.

mkdocstrings reads the source and runs nothing; `mkdocs.yml` names this file among the extensions of its reader.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

DECORATOR = "lightning_tl.strategies.arguments_of.arguments_of"


class ReferenceSignatures(griffe.Extension):  # type: ignore[misc, unused-ignore]
    """Imports the classes concerned and takes signature and text over."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Of each function that was read."""
        if not any(one.callable_path == DECORATOR for one in func.decorators) or func.parent is None:
            return
        made = getattr(getattr(importlib.import_module(func.module.path), func.parent.name), func.name)
        func.parameters = griffe.Parameters(*map(_parameter, inspect.signature(made).parameters.values()))
        if func.docstring is not None:
            func.docstring.value = inspect.getdoc(made) or ""


def _parameter(one: inspect.Parameter) -> griffe.Parameter:
    empty, kind = inspect.Parameter.empty, griffe.ParameterKind[one.kind.name.lower()]
    nothing = "{}" if one.kind is one.VAR_KEYWORD else None
    return griffe.Parameter(
        one.name,
        annotation=None if one.annotation is empty else _short(one.annotation),
        kind=kind,
        default=nothing if one.default is empty else repr(one.default),
    )


def _short(annotation: Any) -> str:
    """Without the modules of its names."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(annotation))
