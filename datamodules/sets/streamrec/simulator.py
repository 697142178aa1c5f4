"""StreamRec: a seeded world of users, items and events whose true preferences are known."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from datamodules.sets.streamrec.draws import Draws
from datamodules.sets.streamrec.events import Events, draw_events
from datamodules.sets.streamrec.items import ItemTruth, draw_items
from datamodules.sets.streamrec.phrasing import write_texts
from datamodules.sets.streamrec.settings import StreamRecSettings
from datamodules.sets.streamrec.thumbnails import paint_thumbnails
from datamodules.sets.streamrec.users import AGE_BANDS, COUNTRIES, GENDERS, UserTruth, draw_users
from datamodules.sets.streamrec.vocabulary import TOPICS

_ITEMS, _TEXTS, _THUMBNAILS, _USERS, _EVENTS = range(5)  # parts of the world, each with its own stream of draws


@dataclass(frozen=True)
class StreamRec:
    """A simulated world: what a service would know, and the truth behind it.

    Args:
        settings: that it was made with.
        items: item, title, description, tags, category, released (seconds since 1970 in UTC).
        users: user, age_band, gender, country.
        events: user, item, time (seconds since 1970 in UTC), completion in [0, 1], sorted by user and time: everything
            that was opened. From 0.5 on it counts as taken; what lies below was seen and given up.
        thumbnails: [items, 32, 32, 3] RGB.
        item_truth: what the items are truly like; not for models.
        user_truth: what the users truly like; not for models.
    """

    settings: StreamRecSettings
    items: pd.DataFrame
    users: pd.DataFrame
    events: pd.DataFrame
    thumbnails: NDArray[np.uint8]
    item_truth: ItemTruth
    user_truth: UserTruth

    def digest(self) -> str:
        """SHA-256 of everything that is shown, in hexadecimal; the same on every machine."""
        found = hashlib.sha256()
        for table in (self.items, self.users, self.events):
            for name in table:
                column = table[name]
                if name == "completion":
                    column = (column * 100).round().astype(np.int64)
                if column.dtype == np.int64:
                    data = column.to_numpy().astype("<i8").tobytes()
                else:
                    data = json.dumps(column.tolist()).encode()
                found.update(f"{name} {len(data)} ".encode() + data)
        found.update(self.thumbnails.tobytes())
        return found.hexdigest()

    def write(self, folder: Path) -> None:
        """Write items.parquet (with the thumbnails as PNG), users.parquet, events.parquet and settings.json.

        Args:
            folder: made if need be; files of these names in it are replaced.
        """
        folder.mkdir(parents=True, exist_ok=True)
        pictures = [_png(thumbnail) for thumbnail in self.thumbnails]
        self.items.assign(thumbnail=pictures).to_parquet(folder / "items.parquet", index=False)
        self.users.to_parquet(folder / "users.parquet", index=False)
        self.events.to_parquet(folder / "events.parquet", index=False)
        (folder / "settings.json").write_text(json.dumps(asdict(self.settings), indent=2) + "\n", encoding="utf-8")


def simulate(settings: StreamRecSettings | None = None) -> StreamRec:
    """The world of these settings (default: `StreamRecSettings()`); the same settings always give the same one."""
    settings = settings or StreamRecSettings()
    items = draw_items(settings, Draws(settings.seed, _ITEMS))
    users = draw_users(settings, Draws(settings.seed, _USERS))
    events = draw_events(settings, items, users, Draws(settings.seed, _EVENTS))
    return StreamRec(
        settings=settings,
        items=_item_table(settings, items),
        users=_user_table(users),
        events=_event_table(events, settings),
        thumbnails=paint_thumbnails(settings, items, Draws(settings.seed, _THUMBNAILS)),
        item_truth=items,
        user_truth=users,
    )


def _item_table(settings: StreamRecSettings, truth: ItemTruth) -> pd.DataFrame:
    texts = write_texts(truth.topics, truth.formats, Draws(settings.seed, _TEXTS))
    return pd.DataFrame(
        {
            "item": _ids("item", settings.items),
            "title": texts.titles,
            "description": texts.descriptions,
            "tags": texts.tags,
            "category": [TOPICS[topic].category for topic in truth.topics],
            "released": truth.released,
        }
    )


def _user_table(truth: UserTruth) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user": _ids("user", len(truth.ages)),
            "age_band": [AGE_BANDS[k] for k in truth.ages],
            "gender": [GENDERS[k] for k in truth.genders],
            "country": [COUNTRIES[k] for k in truth.countries],
        }
    )


def _event_table(events: Events, settings: StreamRecSettings) -> pd.DataFrame:
    users, items = np.array(_ids("user", settings.users), object), np.array(_ids("item", settings.items), object)
    return pd.DataFrame(
        {
            "user": users[events.users],
            "item": items[events.items],
            "time": events.times,
            "completion": events.percent / 100,
        }
    )


def _ids(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number:07d}" for number in range(count)]


def _png(picture: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="PNG", compress_level=3)
    return data.getvalue()
