"""`ProfileCodes`: fields of a user's profile as the codes that a model learned, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.serving.answering import BadInputError

_UNKNOWN = 0


class ProfileCodes:
    """Looks up the values of each field; those that are not given are unknown.

    Args:
        vocabulary: by field, in order, what its codes from 1 on stand for: its `values`, or the `edges` between its
            numbers.
    """

    def __init__(self, vocabulary: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        self.vocabulary = vocabulary
        self._places = {
            name: {str(value): code for code, value in enumerate(meaning["values"], 1)}
            for name, meaning in vocabulary.items()
            if "values" in meaning
        }

    def codes(self, profile: Mapping[str, str] | None) -> list[int]:
        """[fields] of a profile; 0 for what is not given.

        Raises:
            BadInputError: a field that the model does not read, or a value that it does not know.
        """
        given = profile or {}
        strange = next((name for name in given if name not in self.vocabulary), None)
        if strange is not None:
            known = ", ".join(self.vocabulary) or "none"
            raise BadInputError(f"the model reads no profile field '{strange}'; it reads: {known}")
        return [self._code(name, given[name]) if name in given else _UNKNOWN for name in self.vocabulary]

    def _code(self, name: str, value: str) -> int:
        if name in self._places:
            code = self._places[name].get(str(value))
            if code is None:
                known = ", ".join([*self._places[name]][:20])
                raise BadInputError(f"'{value}' is no value of the profile field '{name}'; known: {known}")
            return code
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadInputError(f"the profile field '{name}' is a number, got '{value}'")
        return int(np.searchsorted(self.vocabulary[name]["edges"], number, side="right")) + 1

    def profile(self, codes: NDArray[np.int64]) -> dict[str, str]:
        """A profile that has these codes; fields that are not known are left out."""
        return {
            name: self._value(name, int(code))
            for name, code in zip(self.vocabulary, codes, strict=True)
            if code != _UNKNOWN
        }

    def _value(self, name: str, code: int) -> str:
        meaning = self.vocabulary[name]
        if "values" in meaning:
            return str(meaning["values"][code - 1])
        edges = meaning["edges"]
        return repr(float(edges[code - 2])) if code > 1 else repr(float(np.nextafter(edges[0], -np.inf)))
