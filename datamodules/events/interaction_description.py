"""What a run notes of the event log that it learned from."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.labelled.records import SPLITS
from lightning_tl.contracts.interactions import InteractionLog

if TYPE_CHECKING:
    from datamodules.events.interaction_data import InteractionDataModule


def describe_interactions(data: InteractionDataModule) -> dict[str, Any]:
    """See `DescribedData`: the windows, and which columns were read as what."""
    names = {name: str(path) for name, path in (("items", data.items_path), ("users", data.users_path)) if path}
    log, windows = data.log, data.windows
    return {
        "task": "retrieval",
        "columns": {**names, "events": str(data.event_files()), **asdict(data.columns), "exclude": data.exclude},
        "splits": {name: _split(data, name, getattr(windows, name)) for name in SPLITS},
        "data": {
            "class": f"{type(data).__module__}.{type(data).__qualname__}",
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "validation_start": windows.validation_start,
            "test_start": windows.test_start,
        },
    }


def _split(data: InteractionDataModule, name: str, events: NDArray[np.int64]) -> dict[str, Any]:
    """How many events a window has and of how many users, and a hash of what is learned or asked."""
    asked = events if name == "train" else data.queries(name).events
    rule = "" if name == "train" else data.exclude  # which items are ranked is a part of the question
    users = len(np.unique(data.log.users[asked]))
    return {"samples": len(events), "classes": {}, "users": users, "sha256": events_digest(data.log, asked, rule)}


def events_digest(log: InteractionLog, events: NDArray[np.int64], rule: str = "") -> str:
    """A hash of events: who took what and when, by the names of users and items.

    Args:
        log: with all events.
        events: [n] places in it.
        rule: goes into the hash, too.
    """
    digest = hashlib.sha256(rule.encode())
    for numbers, ids in ((log.users[events], log.user_ids), (log.items[events], log.item_ids)):
        kinds, place = np.unique(numbers, return_inverse=True)
        digest.update("\0".join(str(ids[kind]) for kind in kinds).encode())
        digest.update(place.astype("<i8").tobytes())
    digest.update(log.times[events].astype("<i8").tobytes())
    return digest.hexdigest()
