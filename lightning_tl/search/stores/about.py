"""`About`: what a store says of a catalogue, and the two ways in which it is not the one that is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_tl.search.stores.circuit import UnreachableError

KINDS = ("texts", "numbers", "truth values", "dates", "lists of texts")
"""What a column may hold."""


class NoCatalogueError(ValueError):
    """A store has no catalogue of this name."""


class OtherModelError(OSError):
    """A catalogue holds vectors of another model than the one that asks."""


AWAY = (UnreachableError, NoCatalogueError, OtherModelError)
"""What a store raises where it is of no use now, whatever is asked."""


@dataclass(frozen=True, kw_only=True)
class About:
    """A catalogue as it is now.

    Args:
        place: name of the table or collection in which its items lie.
        dim: length of the vectors.
        model_sha256: of the model that made them.
        columns: by name what each holds, of `KINDS`.
        graph: whether it is searched by a graph, which finds nearly all, or exactly.
        shards: of a cluster; None for its own default.
        replicas: of each shard; None for its own default.
    """

    place: str
    dim: int
    model_sha256: str
    columns: Mapping[str, str]
    graph: bool = False
    shards: int | None = None
    replicas: int | None = None

    @property
    def named(self) -> str:
        """The columns, for messages."""
        return ", ".join(sorted(self.columns)) or "none"

    def kind(self, column: str, purpose: str = "filter") -> str:
        """What a column holds.

        Raises:
            ValueError: there is no such column.
        """
        found = self.columns.get(column)
        if found is None:
            raise ValueError(f"the table of items has no column '{column}' to {purpose} by; it has: {self.named}")
        return found

    def check_numbers(self, column: str) -> None:
        """Make sure that a column holds numbers or truth values.

        Raises:
            ValueError: it does not, or there is none.
        """
        kind = self.kind(column, "boost")
        if kind not in ("numbers", "truth values"):
            raise ValueError(f"'{column}' is a column of {kind}; numbers are needed")

    def check_model(self, name: str, asked: str | None) -> None:
        """Refuse vectors of another model.

        Args:
            name: of the catalogue.
            asked: hash of the model that asks; None takes any.

        Raises:
            OtherModelError: they are.
        """
        if asked is not None and asked != self.model_sha256:
            raise OtherModelError(
                f"the catalogue {name} holds vectors of another model (hash {self.model_sha256[:12]}) than this one "
                f"(hash {asked[:12]}): load it with: lightning-tl index build --run RUN --store …"
            )


def checked_name(name: str) -> str:
    """The name of a catalogue.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", name):
        raise ValueError(f"a catalogue's name is of small letters, digits and underscores, 41 at most, got '{name}'")
    return name


def checked_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Columns of a new catalogue.

    Raises:
        ValueError: one is of no kind that is known.
    """
    for column, kind in columns.items():
        if kind not in KINDS:
            raise ValueError(f"the column '{column}' must hold one of {', '.join(KINDS)}, got {kind}")
    return dict(columns)
