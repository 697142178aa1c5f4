"""What a wish asks of a model: checked, with what is known of its user filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_tl.search import ItemFilter
from lightning_tl.serving.answering import BadInputError, Wish
from lightning_tl.serving.models.known_users import KnownUsers

Known = Callable[[Sequence[str]], list[bool]]


@dataclass(frozen=True)
class Query:
    """What is to be found.

    Args:
        history: ids of items, oldest first.
        profile: fields by name; None where none is known.
        by: what decides.
        allowed: which items may be found.
        note: for whoever reads the answer.
    """

    history: Sequence[str]
    profile: Mapping[str, str] | None
    by: Literal["history", "profile", "popularity"]
    allowed: ItemFilter
    note: str


def query_of(wish: Wish, users: KnownUsers, known: Known, reads: Known, reads_profiles: bool, most: int) -> Query:
    """A wish as a query.

    Args:
        wish: what is asked for.
        users: who is known.
        known: says which ids are items of the index.
        reads: says which ids histories are read by: those of items that are gone may be among them.
        reads_profiles: whether a profile alone is enough.
        most: the greatest k.

    Raises:
        BadInputError: nothing that identifies a user, an unknown item, or a value out of range.
    """
    if wish.user is None and wish.history is None and wish.profile is None:
        raise BadInputError("a wish names a user, a history or a profile, and this one has none of them")
    if not 1 <= wish.k <= most:
        raise BadInputError(f"k must be from 1 to {most:,}, got {wish.k}")
    if not 0 <= wish.diversity < 1:
        raise BadInputError(f"diversity must be in [0, 1), got {wish.diversity}")
    if wish.exclude not in (None, "taken", "none"):
        raise BadInputError(f"exclude is 'taken' or 'none', got '{wish.exclude}'")
    for name, ids, there in (("history", wish.history or (), reads), ("allow", wish.allow or (), known)):
        unknown = [item for item, one in zip(ids, there(list(ids)), strict=True) if not one]
        if unknown:
            more = f" and {len(unknown) - 1:,} others" if len(unknown) > 1 else ""
            raise BadInputError(f"there is no item '{sorted(unknown)[0]}'{more}, named in {name}", 404)
    stranger = wish.user is not None and wish.user not in users.histories and wish.user not in users.profiles
    taken = users.histories.get(wish.user, ()) if wish.user is not None else ()
    history = list(taken if wish.history is None else wish.history)
    profile = wish.profile
    if profile is None and wish.user is not None:
        profile = users.profiles.get(wish.user)
    readable = [item for item, one in zip(history, reads(history), strict=True) if one]
    notes = []
    if stranger and wish.history is None and wish.profile is None:
        notes.append(f"there is no user '{wish.user}': this is what is popular of late")
    by: Literal["history", "profile", "popularity"] = "history"
    if not readable:
        by = "profile" if reads_profiles and profile is not None else "popularity"
        if not notes:
            notes.append("there is no history: this is by " + ("profile" if by == "profile" else "what is popular"))
    return Query(readable, profile, by, _allowed(wish, users, [*taken, *history]), "; ".join(notes))


def _allowed(wish: Wish, users: KnownUsers, taken: Sequence[str]) -> ItemFilter:
    deny = wish.deny
    if wish.exclude == "taken" or (wish.exclude is None and users.exclude):
        deny = deny | frozenset(taken)
        if wish.user is not None and wish.exclude is None:
            deny = deny | frozenset(users.not_again.get(wish.user, ()))
    return ItemFilter(allow=wish.allow, deny=deny, where=wish.where)
