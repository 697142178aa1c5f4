"""Formulas over bands, such as "(nir - red) / (nir + red)": arithmetic alone, and no code is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_LONGEST = 400  # characters
_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "sqrt": (1, np.sqrt),
    "abs": (1, np.abs),
    "log": (1, np.log),
    "exp": (1, np.exp),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}


class Formula:
    """A formula over names of bands.

    Numbers, names, `+ - * / **`, parentheses and the functions sqrt, abs, log, exp, min and max of two.

    Args:
        text: the formula.

    Raises:
        ValueError: it is no formula of this kind, with what is wrong.
    """

    def __init__(self, text: str) -> None:
        self.text = str(text).strip()
        if len(self.text) > _LONGEST:
            raise ValueError(f"a formula has at most {_LONGEST} characters, got {len(self.text)}: {self.text[:60]}…")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            self.names = tuple(dict.fromkeys(_names(self._tree, self.text)))
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError(
                f"'{self.text}' is no formula: write it with names of bands, numbers and + - * / **, such as "
                "(nir - red) / (nir + red)"
            ) from None
        if not self.names:
            raise ValueError(f"the formula '{self.text}' names no band")

    def __call__(self, bands: Mapping[str, NDArray[Any]]) -> Values:
        """The formula's values.

        Args:
            bands: an array for each of `names`, all of one shape.

        Returns:
            of that shape; where it is not defined (a division by 0, the root of a negative number) not a number.
        """
        with np.errstate(all="ignore"):
            found = np.asarray(_value(self._tree, bands), np.float64)
        return np.where(np.isfinite(found), found, np.nan)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text,)


def _names(node: ast.AST, text: str) -> list[str]:
    """Names in a formula, checking that it is one."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return []
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return [*_names(node.left, text), *_names(node.right, text)]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        return _names(node.operand, text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        wanted = _FUNCTIONS.get(node.func.id)
        if wanted is not None and len(node.args) == wanted[0]:
            return [name for part in node.args for name in _names(part, text)]
    part = ast.get_source_segment(text, node) if hasattr(node, "lineno") else None
    raise ValueError(
        f"'{part or text}' in the formula '{text}' is not understood: it may have names of bands, numbers, + - * / **, "
        f"parentheses and {', '.join(_FUNCTIONS)}"
    )


def _value(node: ast.AST, bands: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(node, ast.Name):
        return np.asarray(bands[node.id], np.float64)
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp):
        return _OPERATIONS[type(node.op)](_value(node.left, bands), _value(node.right, bands))
    if isinstance(node, ast.UnaryOp):
        return _OPERATIONS[type(node.op)](_value(node.operand, bands))
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _FUNCTIONS[node.func.id][1](*[_value(part, bands) for part in node.args])
