"""`NamedRows`: what the rows of embeddings stand for, in checkpoints that say so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.retrieval.retrieval_data import RetrievalData, UserProfiles, split_rule
from lightning_tl.retrieval.towers.item_tower import ItemTower
from lightning_tl.retrieval.towers.profile_fields import ProfileFields, resize

_KEY = "rows"  # in a checkpoint


class NamedRows:
    """Finds the rows of embeddings by ids and values, and not by their places in the data of the day.

    A table of items may be sorted anew and grow between training and use, and so may the log. A checkpoint holds the
    ids of the items that had events in training, and the values of the profile fields, in the order of their rows; on
    loading, the data's numbers are led to these rows. Items without a row, such as those whose events came later, take
    the row for unknown items, and values that training did not know the code for these.

    Args:
        items: the item tower, built.
        data: of the day.
    """

    def __init__(self, items: ItemTower, data: RetrievalData) -> None:
        self._item_ids: Sequence[str] = data.training_log.item_ids
        self._user_profiles: UserProfiles | None = data.user_profiles if len(data.profile_sizes) else None
        known: list[int] = items.rows.nonzero()[:, 0].tolist() if items.ids else []  # in the order of rows
        fields = {} if self._user_profiles is None else self._user_profiles.vocabulary
        self._places: dict[str, int] = {}  # made when it is asked for
        self._until = int(data.training_log.times.max()) if len(data.training_log) else 0
        self._rows: dict[str, Any] = {
            "items": [self._item_ids[number] for number in known],
            "profile": fields,
            "until": self._until,
            "split": split_rule(data),
            "reads_texts": items.encoder is not None,
        }

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write what the rows stand for into a checkpoint."""
        # One text: torch's safe reader takes seconds for a list of a million.
        checkpoint[_KEY] = json.dumps(self._rows)

    def load(self, checkpoint: dict[str, Any], goes_on: bool) -> None:
        """Take over what a checkpoint's rows stand for.

        Args:
            checkpoint: as Lightning reads it from the file.
            goes_on: training continues with the data of today.

        Raises:
            ValueError: an earlier version's checkpoint.
        """
        if _KEY not in checkpoint:
            raise ValueError(
                "the checkpoint does not say which items its weights belong to, as those of earlier versions: "
                "train again"
            )
        self._rows, self._places = json.loads(checkpoint[_KEY]), {}
        if goes_on:
            self._rows["until"] = max(self._until, self._rows.get("until", 0))

    @property
    def vocabulary(self) -> Mapping[str, Any]:
        """What the codes of each profile field stand for, in order; empty without fields."""
        return dict(self._rows["profile"])

    @property
    def trained_until(self) -> int:
        """Second of the last event that was trained on."""
        return int(self._rows.get("until", 0))

    def row_of(self, item: str) -> int:
        """The row of an item's number in the embedding; that of unknown ones where training saw no event of it."""
        if not self._places:
            self._places = {name: row for row, name in enumerate(self._rows["items"], 1)}
        return self._places.get(item, 0)

    def check_is_later(self, data: RetrievalData, window: str) -> None:
        """Check that what is validated or tested came after all that the model was trained on.

        Args:
            data: that is validated or tested on.
            window: "validation" or "test".

        Raises:
            ValueError: the window begins before the end of training.
        """
        if "leave_last_out" == split_rule(data) == self._rows.get("split"):
            return  # it leaks, and says so
        queries = data.queries(window)
        if len(queries) == 0 or int(queries.times.min()) > self.trained_until:
            return
        seconds = int(queries.times.min()), self.trained_until
        begin, end = (f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}" for second in seconds)
        raise ValueError(
            f"the {window} window begins at {begin} UTC, and the model was trained on events up to {end}: it would be "
            f"scored on what it has seen. Set data.{window} to a later time, or train again"
        )

    @staticmethod
    def check_texts(checkpoint: dict[str, Any], items: ItemTower) -> None:
        """Refuse a checkpoint of the other kind.

        Raises:
            ValueError: the model reads texts and there is no table of items, or the other way round.
        """
        reads_texts = json.loads(checkpoint.get(_KEY, "{}")).get("reads_texts")
        if reads_texts is True and items.encoder is None:
            raise ValueError("the model reads texts of items, and there is no table of items: name it with data.items")
        if reads_texts is False and items.encoder is not None:
            raise ValueError(
                "the model was trained without texts of items, by their numbers alone, and there is a table of items "
                "now: leave data.items out, or train again"
            )

    def lead_items(self, items: ItemTower) -> None:
        """Lead the data's items to the rows of the checkpoint.

        Raises:
            ValueError: the data has none of them.
        """
        known: Sequence[str] = self._rows["items"]
        if not items.ids:
            return
        places = {item: row for row, item in enumerate(known, 1)}
        rows = torch.tensor([places.get(item, 0) for item in self._item_ids], dtype=torch.int64)
        if known and not rows.any():
            raise ValueError(
                f"the data has none of the {len(known):,} items that the model was trained on (its first is "
                f"'{known[0]}', that of the data '{next(iter(self._item_ids), '')}'): take the run's own events and "
                "items, or train again"
            )
        items.rows = rows.to(items.rows.device)
        resize(items.embedding, len(known) + 1)

    def lead_profiles(self, parts: Iterable[nn.Module], now: Tensor) -> Tensor:
        """The users' profiles in the codes of the checkpoint.

        Args:
            parts: of the model; those that hold rows of profile fields get as many as the checkpoint has.
            now: [users, fields], as the data have them; returned where there are no fields.

        Raises:
            ValueError: the data lack a profile field.
        """
        vocabulary: Mapping[str, Any] = self._rows["profile"]
        if self._user_profiles is None:
            if vocabulary:
                raise ValueError(
                    f"the model reads the profile fields {', '.join(vocabulary)}, and the data has none: name the "
                    "table of users with data.users"
                )
            return now
        found = self._user_profiles.coded_by(vocabulary)
        for part in parts:
            if isinstance(part, ProfileFields):
                part.resize(found.sizes)
        return torch.from_numpy(found.codes).to(now.device)
