"""`ItemFilter`: which items may be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ItemFilter:
    """Which items a search may find; every store applies it inside the search, never to what was found.

    Args:
        allow: ids to which the choice is limited; None for all.
        deny: ids that are left out, such as those that a user has seen.
        where: by column of the table of items one value, a list of the values that are allowed, or a range
            `{"from": lowest, "to": highest}`, both ends included and either may be left out. Of several columns all
            must hold; an item whose cell is empty never does.
    """

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether everything may be found."""
        return self.allow is None and not self.deny and not self.where
