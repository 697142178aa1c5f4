"""`NamedRows`: checkpoints that say what the rows of embeddings stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from lightning_tl.retrieval.retrieval_data import RetrievalData, UserProfiles, split_rule
from lightning_tl.retrieval.towers.item_tower import ItemTower
from lightning_tl.retrieval.towers.profile_fields import ProfileFields, resize
from lightning_tl.training.adapted_module import AdaptedModule

_KEY = "rows"  # in a checkpoint


class NamedRows(AdaptedModule):
    """Finds the rows of its embeddings by ids and values, and not by their places in the data of the day.

    A table of items may be sorted anew and grow between training and use, and so may the log. A checkpoint holds the
    ids of the items that had events in training, and the values of the profile fields, in the order of their rows; on
    loading, the data's numbers are led to these rows. Items without a row, such as those whose events came later, take
    the row for unknown items, and values that training did not know the code for these.
    """

    items: ItemTower
    profiles: Tensor  # [users, fields]

    def name_rows(self, data: RetrievalData) -> None:
        """Note what the rows stand for, once both towers are built."""
        self._item_ids: Sequence[str] = data.training_log.item_ids
        self._user_profiles: UserProfiles | None = data.user_profiles if len(data.profile_sizes) else None
        known: list[int] = self.items.rows.nonzero()[:, 0].tolist() if self.items.ids else []  # in the order of rows
        fields = {} if self._user_profiles is None else self._user_profiles.vocabulary
        self._until = int(data.training_log.times.max()) if len(data.training_log) else 0
        self._rows: dict[str, Any] = {
            "items": [self._item_ids[number] for number in known],
            "profile": fields,
            "until": self._until,
            "split": split_rule(data),
            "reads_texts": self.items.encoder is not None,
        }
        self.register_buffer("profiles", torch.from_numpy(data.profiles), persistent=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        # One text: torch's safe reader takes seconds for a list of a million.
        checkpoint[_KEY] = json.dumps(self._rows)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises:
        ValueError: the data has none of the model's items, or lacks a profile field.
        """
        self._check_texts(json.loads(checkpoint.get(_KEY, "{}")).get("reads_texts"))
        super().on_load_checkpoint(checkpoint)
        if _KEY not in checkpoint:
            raise ValueError(
                "the checkpoint does not say which items its weights belong to, as those of earlier versions: "
                "train again"
            )
        self._rows = json.loads(checkpoint[_KEY])
        if self._trainer is not None and self._trainer.state.fn == "fit":
            self._rows["until"] = max(self._until, self._rows.get("until", 0))  # it goes on with the data of today
        self._find_items(self._rows["items"])
        self._find_profiles(self._rows["profile"])

    @property
    def trained_until(self) -> int:
        """Second of the last event that was trained on."""
        return int(self._rows.get("until", 0))

    def check_is_later(self, data: RetrievalData) -> None:
        """Check that what is validated or tested came after all that the model was trained on.

        Raises:
            ValueError: the window begins before the end of training.
        """
        leaks_and_says_so = "leave_last_out" == split_rule(data) == self._rows.get("split")
        if self.trainer.state.fn == "fit" or leaks_and_says_so:
            return
        window = "test" if self.trainer.testing else "validation"
        queries = data.queries(window)
        if len(queries) == 0 or int(queries.times.min()) > self.trained_until:
            return
        seconds = int(queries.times.min()), self.trained_until
        begin, end = (f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}" for second in seconds)
        raise ValueError(
            f"the {window} window begins at {begin} UTC, and the model was trained on events up to {end}: it would be "
            f"scored on what it has seen. Set data.{window} to a later time, or train again"
        )

    def _check_texts(self, reads_texts: bool | None) -> None:
        """Raises:
        ValueError: the model reads texts and there is no table of items, or the other way round.
        """
        if reads_texts is True and self.items.encoder is None:
            raise ValueError("the model reads texts of items, and there is no table of items: name it with data.items")
        if reads_texts is False and self.items.encoder is not None:
            raise ValueError(
                "the model was trained without texts of items, by their numbers alone, and there is a table of items "
                "now: leave data.items out, or train again"
            )

    def _find_items(self, known: Sequence[str]) -> None:
        if not self.items.ids:
            return
        places = {item: row for row, item in enumerate(known, 1)}
        rows = torch.tensor([places.get(item, 0) for item in self._item_ids], dtype=torch.int64)
        if known and not rows.any():
            raise ValueError(
                f"the data has none of the {len(known):,} items that the model was trained on (its first is "
                f"'{known[0]}', that of the data '{next(iter(self._item_ids), '')}'): take the run's own events and "
                "items, or train again"
            )
        self.items.rows = rows.to(self.items.rows.device)
        resize(self.items.embedding, len(known) + 1)

    def _find_profiles(self, vocabulary: Mapping[str, Any]) -> None:
        if self._user_profiles is None:
            if vocabulary:
                raise ValueError(
                    f"the model reads the profile fields {', '.join(vocabulary)}, and the data has none: name the "
                    "table of users with data.users"
                )
            return
        found = self._user_profiles.coded_by(vocabulary)
        self.profiles = torch.from_numpy(found.codes).to(self.profiles.device)
        for part in self.modules():
            if isinstance(part, ProfileFields):
                part.resize(found.sizes)
