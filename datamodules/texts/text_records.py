"""Which texts a data set has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datamodules.labelled.records import Records


@dataclass(frozen=True, kw_only=True)
class TextRecords(Records):
    """Texts with names, labels and splits; see `Records`.

    Args:
        texts: the texts.
        seconds: the second text of each pair, where samples are pairs.
    """

    texts: Sequence[str]
    seconds: Sequence[str] | None = None

    def sizes(self) -> dict[str, int]:
        """Lengths that must all be the same."""
        extra = {} if self.seconds is None else {"seconds": len(self.seconds)}
        return {**super().sizes(), "texts": len(self.texts), **extra}
