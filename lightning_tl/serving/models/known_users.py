"""`KnownUsers`: who took what, and what is popular of late, as answering needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class KnownUsers:
    """What is known of users at the time of a bundle.

    Args:
        histories: by user the ids of what was taken, oldest first.
        not_again: by user further ids that are not offered, such as what was seen and not taken.
        profiles: by user, fields of the profile by name.
        popular: ids of items, the most popular of late first.
        events: of each of these, of late.
        exclude: whether what was taken is left out where nothing else is wished.
    """

    histories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_again: Mapping[str, Sequence[str]] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    popular: Sequence[str] = ()
    events: Sequence[float] = ()
    exclude: bool = True
