"""`recommend --users`: recommendations for many users, to a file."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import ClassVar

from datamodules.events.item_table import id_texts
from datamodules.tables.tables import check_column, read_table
from lightning_tl.cli.commands.recommend_options import USERS, RecommendOptions
from lightning_tl.cli.commands.two_tower_run import TwoTowerCLI
from lightning_tl.cli.process.parts_job import PartsJob
from lightning_tl.cli.process.parts_on_ray import PartsOnRay
from lightning_tl.embedding import Ranks
from lightning_tl.reports.progress import progress_bar
from lightning_tl.retrieval import Recommender
from lightning_tl.retrieval.batches.many_recommendations import ManyRecommendations
from lightning_tl.search.rules.boost import boosts_of
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.storage.parts_on_disk import PartsOnDisk


class RecommendManyCLI(TwoTowerCLI):
    """Reads a table of users, and writes what the run would show to each; several processes share the work.

    Args:
        options: from `read_recommend_options`, with users and output.
        only_open: open the job, and make nothing.
    """

    command: ClassVar[str] = "recommend"

    def __init__(self, options: RecommendOptions, only_open: bool = False) -> None:
        self.wanted, self.only_open = options, only_open
        self.rules = ItemRules(boosts_of(options.boost), options.diversity)
        self.ray: PartsOnRay | None = None
        with ExitStack() as self.stack:
            super().__init__(options.run)

    def before_instantiate_classes(self) -> None:
        """Connect to the cluster, before anything long."""
        super().before_instantiate_classes()
        if self.wanted.ray is not None:
            opener = partial(_opened, replace(self.wanted, ray=None))
            self.ray = self.stack.enter_context(PartsOnRay(self.wanted.ray, opener))

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        users = self._users()
        with Ranks() as ranks:
            self.job = self._job(users)
            if self.only_open:
                return
            elsewhere = None if self.ray is None else self.ray.make
            rows = self.job.share(ranks, self.wanted.overwrite, elsewhere)
            if rows is not None:
                print(f"{self.wanted.output}: {rows:,} rows for {len(users):,} users")

    def _users(self) -> list[str]:
        path, column = self.wanted.users, self.datamodule.columns.user
        assert path is not None
        frame = read_table(path)
        check_column(frame, "user", column, path)
        if frame[column].isna().any():
            raise ValueError(f"{path} has rows without a user in '{column}': leave them out")
        return id_texts(frame[column])

    def _job(self, users: list[str]) -> PartsJob:
        wanted, every = self.wanted, self.wanted.save_every
        assert wanted.output is not None
        module, data, run = self.opened()
        recommender = Recommender.open(module, data, run / "index", data.log)
        self.rules.bounds(recommender.store)  # a wrong one is named before anything is written
        card = (run / "index" / "index.json").read_bytes()
        other = [] if every == USERS else [every]
        told = json.dumps([users, wanted.k, len(data.log), str(data.exclude), *_told(self.rules), *other]).encode()
        job: dict[str, object] = {"sha256": hashlib.sha256(told + card).hexdigest()}
        parts = PartsOnDisk(wanted.output, job, -(-len(users) // every))
        many: list[ManyRecommendations] = []

        def make(left: list[int], shown: bool) -> None:
            if left and not many:
                many.append(ManyRecommendations(recommender, wanted.k, self.rules))  # encodes the catalogue
            bar = progress_bar(len(left), "Recommending", "parts", shown)
            for part in left:
                some = users[part * every : (part + 1) * every]
                parts.write(part, lambda some=some: many[0].table(some))  # type: ignore[misc]
                bar.update(1)
            bar.close()

        return PartsJob(parts, make)


def _opened(options: RecommendOptions) -> PartsJob:
    return RecommendManyCLI(options, only_open=True).job


def _told(rules: ItemRules) -> list[str]:
    """What makes a job another than that of the same users without rules."""
    return [] if rules.is_plain else [repr(rules)]
