"""`IdNumbers`: ids of users or items, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

UNKNOWN = -1


class IdNumbers:
    """Numbers for ids: first those of a table in its order, then others as they appear.

    Args:
        table: the known ids; None where there is no table.
        what: "item" or "user", for messages.

    Attributes:
        ids: all ids, by number.
        known: how many of them the table has.

    Raises:
        ValueError: the table has an id twice, or one that is no text.
    """

    def __init__(self, table: Sequence[str] | None, what: str) -> None:
        self.ids: list[str] = list(() if table is None else table)
        self.known = len(self.ids)
        wrong = next((value for value in self.ids if not isinstance(value, str)), None)
        if wrong is not None:
            raise ValueError(f"{what} ids must be texts, got {wrong!r}; convert them with str")
        self._numbers = {value: number for number, value in enumerate(self.ids)}
        if len(self._numbers) < self.known:
            twice = next(value for number, value in enumerate(self.ids) if self._numbers[value] != number)
            raise ValueError(f"{what} ids must differ, but '{twice}' occurs twice in the table; drop one of its rows")

    @property
    def added(self) -> list[str]:
        """Ids that the table lacks."""
        return self.ids[self.known :]

    def numbers(self, values: pa.Array, add: bool) -> tuple[NDArray[np.int32], list[str]]:
        """The number of each id.

        Args:
            values: [events] whole numbers or texts, no nulls.
            add: whether ids without a number get the next ones, in order of appearance; else they are `UNKNOWN`.

        Returns:
            Numbers [events], and the ids that are `UNKNOWN`, each once.
        """
        encoded = values.dictionary_encode()  # every distinct id is looked up once
        texts: list[str] = encoded.dictionary.cast(pa.large_string()).to_pylist()
        numbers = np.fromiter(map(self._numbers.get, texts, repeat(UNKNOWN)), np.int32, len(texts))
        new = [texts[place] for place in np.flatnonzero(numbers == UNKNOWN)]
        if add:
            numbers[numbers == UNKNOWN] = np.arange(len(self.ids), len(self.ids) + len(new))
            self._numbers.update(zip(new, range(len(self.ids), len(self.ids) + len(new)), strict=True))
            self.ids.extend(new)
            new = []
        found: NDArray[np.int32] = numbers[encoded.indices.to_numpy()]
        return found, new
