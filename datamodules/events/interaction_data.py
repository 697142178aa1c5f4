"""`InteractionDataModule`: event logs, cut into windows of time, for retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from datamodules.events.evaluation_windows import Split, evaluation_queries, evaluation_windows, undivided
from datamodules.events.history_samples import Pieces, QueryRows, TrainingRows, cut_pieces
from datamodules.events.interaction_description import describe_interactions
from datamodules.events.item_pictures import ItemPictures
from datamodules.events.item_table import ItemTable, item_table
from datamodules.events.negatives import Negatives
from datamodules.events.profiles import user_ids, user_profiles
from datamodules.events.reading.event_files import EventColumns, Events, read_events
from datamodules.events.temporal_split import are_coarse, newest_of_training
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.loading.unused_options import check_has_effect, check_table_is_there
from datamodules.tables.named_table import named_table
from lightning_tl.contracts.interactions import Exclude, InteractionLog, Queries

_LONGEST = 10_000  # events of a history, whose attention alone then takes gigabytes


class InteractionDataModule(ResumableDataModule):
    """Events of users and items from Parquet or CSV files, with tables of items and users where there are any.

    What is learned comes from the training window alone, and each query of validation and test is foretold from what
    its user had done strictly before that second, whether in training or later. Queries ask for items that the user had
    not taken before; other events are told and left out.

    Args:
        events: a file, a folder of files, or several.
        items: table of items; None where only their ids are known.
        users: table of users; None likewise.
        user: column of the user's id, in events and users.
        item: column of the item's id, in events and items.
        time: column of the time: seconds since 1970 in UTC, or dates with time.
        time_unit: of times that are whole numbers.
        completion: column, in 0…1, of how much of the item was consumed; below `min_completion` it was seen only.
        min_completion: see `completion`.
        weight: column, above 0, of how much an event counts in training.
        texts: columns of items that an encoder reads, the title first; default title, description, tags where there.
        category: column of items, for slices and hard negatives.
        picture: column of items: paths (from the table's folder) or contents of image files.
        profile: columns of users that the user tower reads; default all but the id.
        split: by time, or each user's last event, which leaks: other users' later events are then in training.
        validation: share of the events, or a date, or UTC seconds, with which the validation window begins.
        test: likewise.
        train_on_validation: train on the validation window too, with settings that were chosen before; nothing is
            validated then.
        unknown_items: what becomes of events whose item has no row in `items`.
        exclude: what is not offered to a user again, neither in evaluation nor by `recommend`: "taken" what the user
            took; "seen" also what was seen and not taken (see `completion`), such as films rated low; "none" nothing,
            for music and groceries: then repetitions are asked for in evaluation as well.
        history_length: the most items of a history that the user tower reads.
        queries_per_row: the most events of a row that are foretold, others each epoch; None for all.
        max_events_per_user: newest events of each user to train on; older ones are dropped, and told. None for all.
        validation_queries: the most queries of the validation window to ask, drawn at random, always the same; None for
            all. The test is always whole.
        uniform_negatives: items drawn with equal chances for each batch.
        hard_negatives: for each query, items that the user saw and did not take, else others of the same category.
        cache: folder of prepared events; default beside other caches of Hugging Face data sets.
        **options: of `ResumableDataModule`; a sample of training is a row, which serves up to `history_length` queries.
    """

    def __init__(
        self,
        events: Path | list[Path] | None = None,
        items: Path | None = None,
        users: Path | None = None,
        user: str = "user",
        item: str = "item",
        time: str = "time",
        time_unit: Literal["s", "ms", "us", "ns"] | None = None,
        completion: str | None = None,
        min_completion: float = 0.5,
        weight: str | None = None,
        texts: Sequence[str] | None = None,
        category: str | None = None,
        picture: str | None = None,
        profile: Sequence[str] | None = None,
        split: Split = "temporal",
        validation: int | float | str = 0.1,
        test: int | float | str = 0.1,
        train_on_validation: bool = False,
        unknown_items: Literal["error", "skip", "text-less"] = "error",
        exclude: Exclude = "seen",
        history_length: int = 50,
        queries_per_row: int | None = None,
        max_events_per_user: int | None = None,
        validation_queries: int | None = None,
        uniform_negatives: int = 0,
        hard_negatives: int = 0,
        cache: Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value, least in (
            ("history_length", history_length, 2),
            ("queries_per_row", 1 if queries_per_row is None else queries_per_row, 1),
            ("max_events_per_user", 2 if max_events_per_user is None else max_events_per_user, 2),
            ("validation_queries", 1 if validation_queries is None else validation_queries, 1),
            ("uniform_negatives", uniform_negatives, 0),
            ("hard_negatives", hard_negatives, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if history_length > _LONGEST:
            raise ValueError(f"history_length must be at most {_LONGEST:,}, got {history_length:,}")
        self.columns = EventColumns(user, item, time, completion, weight)
        self.time_unit, self.min_completion, self.unknown_items = time_unit, min_completion, unknown_items
        self.events_path, self.items_path, self.users_path = events, items, users
        self.texts, self.category, self.picture, self.profile = texts, category, picture, profile
        self.split, self.validation, self.test = split, validation, test
        self.train_on_validation, self.exclude = train_on_validation, exclude
        self.history_length, self.queries_per_row = history_length, queries_per_row
        self.max_events_per_user, self.validation_queries = max_events_per_user, validation_queries
        self.uniform_negatives, self.hard_negatives = uniform_negatives, hard_negatives
        self.cache, self._undivided = cache, False
        self.events: Events | None = None

    # ---------------------------------------------------------------- reading

    def prepare_data(self) -> None:
        """Prepare the events in one process, before all ranks read what it kept."""
        self._read()

    def describe(self) -> dict[str, Any]:
        """See `DescribedData`: the windows, and which columns were read as what."""
        return describe_interactions(self)

    def setup(self, stage: str | None = None) -> None:
        """Read the log and its tables, and part the events in time."""
        events = self._read()
        if stage == "fit":
            for note in (*events.notes, *self.notes):
                rank_zero_info(note)
            _ = self.negatives  # refuses what cannot be drawn, before anything is encoded

    def take_everything(self) -> None:
        """Part nothing into windows, for a model that was trained before: all events are known."""
        self._undivided = True

    def tables(self) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
        """The tables of items and users as they come; a subclass may make them."""
        paths = {"items": self.items_path, "users": self.users_path, "events": self.events_path}
        return named_table("items", paths), named_table("users", paths)

    def event_files(self) -> Path | list[Path]:
        """Where the events are; a subclass may make them first."""
        if self.events_path is None:
            raise ValueError("there are no events: set events to a Parquet or CSV file, or a folder of them")
        return self.events_path

    def _read(self) -> Events:
        if self.events is not None:
            return self.events
        items, users = self.tables()
        check_table_is_there("items", items, texts=self.texts, category=self.category, picture=self.picture)
        check_table_is_there("users", users, profile=self.profile)
        check_has_effect("min_completion", self.min_completion, 0.5, "completion", self.columns.completion)
        check_has_effect("unknown_items", self.unknown_items, "error", "items", items)
        path, columns = Path(self.items_path or "the items"), (self.texts, self.category, self.picture)
        known = None if items is None else item_table(items, self.columns.item, *columns, path)
        people = None if users is None else user_ids(users, self.columns.user, Path(self.users_path or "the users"))
        ids, rules = None if known is None else known.ids, (self.unknown_items, self.time_unit, self.min_completion)
        events = read_events(self.event_files(), self.columns, ids, people, *rules, self.cache)
        events, first = self._windowed(events)
        log = events.taken
        self.items = (known or ItemTable([], [], [], [], [])).extended(log.item_ids[len(known or []) :])
        self.item_texts: Sequence[str] = self.items.texts if known is not None else []
        self.item_titles: Sequence[str] = self.items.titles
        self.item_pictures = None if self.picture is None else ItemPictures(self.items.pictures, self.items.ids)
        train = np.zeros(len(log), bool)
        train[self.windows.train] = True
        self.training_log: InteractionLog = log.select(train)
        trained = self.training_log.user_counts() > 0
        self.user_profiles, self.notes = user_profiles(users, self.columns.user, self.profile, trained)
        self._in_order = self.split == "leave_last_out" and are_coarse(log.times)
        if self._in_order:
            self.notes.append("times do not tell what came first: histories are in the order of the file")
        how = self.exclude, events.viewed, self._in_order
        self._queries, notes = evaluation_queries(log, self.windows, first, *how)
        if (most := self.validation_queries) is not None and most < len(asked := self._queries["validation"]):
            chosen = np.sort(np.random.default_rng(0).choice(len(asked), most, replace=False))
            self._queries["validation"] = asked[chosen]
            notes.append(f"{most:,} of {len(asked):,} validation queries are asked, drawn at random")
        self.notes += [*notes, *([] if known is None else known.blanks())]
        if self.split == "leave_last_out":
            self.notes.append("leave_last_out leaks: training sees what happened after other users' test events")
        self.events = events
        return events

    def _windowed(self, events: Events) -> tuple[Events, NDArray[np.bool_]]:
        """The events that are used, with their windows; and whether each was the first of its user with its item."""
        log, cuts = events.taken, (self.split, self.validation, self.test, self.train_on_validation)
        self.windows = undivided(log) if self._undivided else evaluation_windows(log, *cuts)
        first, most = log.first_takes(), self.max_events_per_user
        if most is None or self._undivided:
            return events, first
        kept = newest_of_training(log, self.windows, most)
        dropped = int((~kept).sum())
        if not dropped:
            return events, first
        self.windows = self.windows.without(~kept)
        notes = (*events.notes, f"{dropped:,} training events beyond the newest {most:,} of their users are dropped")
        return Events(log.select(kept), events.viewed, notes), first[kept]

    # ---------------------------------------------------------------- what a model asks for

    @property
    def log(self) -> InteractionLog:
        """Everything that was taken, of all times."""
        return self._read().taken

    @property
    def training_chances(self) -> NDArray[np.float64] | None:
        """[training events] with which chance each is foretold in an epoch; None where all are, once."""
        if self.queries_per_row is None:
            return None
        return self._pieces().chances(self.queries_per_row)

    def _pieces(self) -> Pieces:
        return cut_pieces(self.log.user_starts()[:-1], self.training_log.user_counts(), self.history_length)

    @property
    def profiles(self) -> NDArray[np.int64]:
        """[users, fields] code of each profile field; 0 for what is not known."""
        return self.user_profiles.codes

    @property
    def profile_sizes(self) -> Sequence[int]:
        """How many codes each profile field has."""
        return self.user_profiles.sizes

    @property
    def profile_labels(self) -> Mapping[str, NDArray[np.str_]]:
        """Each profile field's value by user, for reports."""
        return self.user_profiles.labels

    @property
    def item_categories(self) -> Sequence[str]:
        """[items]; empty where not known."""
        return self.items.categories

    @property
    def viewed(self) -> InteractionLog | None:
        """Everything that was seen and not taken, of all times; None where that is not known."""
        return self._read().viewed

    def queries(self, split: str) -> Queries:
        """What is to be foretold in "validation" or "test", each after its rolling history."""
        return self._queries[split]

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Events by user, item and second."""
        log = self.log
        return [f"{log.user_ids[log.users[k]]} → {log.item_ids[log.items[k]]} at {log.times[k]}" for k in indices]

    # ---------------------------------------------------------------- loaders

    def train_dataloader(self) -> ResumableLoader:
        """Batches of the epoch that the Trainer is in."""
        log, pieces = self.log, self._pieces()
        everything = Queries.of(log, np.arange(len(log)), in_order=self._in_order)
        samples = TrainingRows(everything, pieces, self.history_length, self.negatives, self.queries_per_row, self.seed)
        return self.training_loader(samples, np.arange(len(pieces)), in_memory=True)

    @cached_property
    def negatives(self) -> Negatives | None:
        """What is drawn besides a batch's own items; None for nothing."""
        if not self.uniform_negatives and not self.hard_negatives:
            return None
        categories = self.items.category_numbers() if self.category is not None else None
        counts = self.uniform_negatives, self.hard_negatives
        return Negatives.of(self.training_log, *counts, self._read().viewed, categories, self.seed)

    def val_dataloader(self) -> ResumableLoader | list[ResumableLoader]:
        """Batches of the validation split."""
        return [] if self.train_on_validation else self._query_loader("validation")

    def test_dataloader(self) -> ResumableLoader:
        """Batches of the test split."""
        return self._query_loader("test")

    def _query_loader(self, split: str) -> ResumableLoader:
        queries = self.queries(split)
        rows = QueryRows(queries, self.history_length)
        return self.evaluation_loader(rows, np.arange(len(queries)), split, in_memory=True)
