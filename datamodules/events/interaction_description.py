"""What a run notes of the event log that it learned from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from datamodules.labelled.records import SPLITS

if TYPE_CHECKING:
    from datamodules.events.interaction_data import InteractionDataModule


def describe_interactions(data: InteractionDataModule) -> dict[str, Any]:
    """See `DescribedData`: the windows, and which columns were read as what."""
    names = {name: str(path) for name, path in (("items", data.items_path), ("users", data.users_path)) if path}
    log, windows = data.log, data.windows
    return {
        "task": "retrieval",
        "columns": {**names, "events": str(data.event_files()), **asdict(data.columns), "exclude": data.exclude},
        "splits": {name: {"samples": len(getattr(windows, name)), "classes": {}} for name in SPLITS},
        "data": {
            "class": f"{type(data).__module__}.{type(data).__qualname__}",
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "validation_start": windows.validation_start,
            "test_start": windows.test_start,
        },
    }
