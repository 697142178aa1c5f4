"""`recommend --users`: recommendations for many users, to a file."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar

from datamodules.events.item_table import id_texts
from datamodules.tables.tables import check_column, read_table
from lightning_tl.cli.commands.recommend_options import RecommendOptions
from lightning_tl.cli.commands.two_tower_run import TwoTowerCLI
from lightning_tl.embedding import Ranks
from lightning_tl.reports.progress import progress_bar
from lightning_tl.retrieval import Recommender
from lightning_tl.retrieval.batches.many_recommendations import ManyRecommendations
from lightning_tl.search.rules.boost import boosts_of
from lightning_tl.search.rules.item_rules import ItemRules
from lightning_tl.storage.parts_on_disk import PartsOnDisk

_USERS_AT_ONCE = 1_000  # the same for any number of processes, so that the rows are the same


class RecommendManyCLI(TwoTowerCLI):
    """Reads a table of users, and writes what the run would show to each; several processes share the work.

    Args:
        options: from `read_recommend_options`, with users and output.
    """

    command: ClassVar[str] = "recommend"

    def __init__(self, options: RecommendOptions) -> None:
        self.wanted = options
        self.rules = ItemRules(boosts_of(options.boost), options.diversity)
        super().__init__(options.run)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        wanted = self.wanted
        assert wanted.users is not None and wanted.output is not None
        frame = read_table(wanted.users)
        column = self.datamodule.columns.user
        check_column(frame, "user", column, wanted.users)
        if frame[column].isna().any():
            raise ValueError(f"{wanted.users} has rows without a user in '{column}': leave them out")
        users = id_texts(frame[column])
        with Ranks() as ranks:
            module, data, run = self.opened()
            recommender = Recommender.open(module, data, run / "index", data.log)
            self.rules.bounds(recommender.store)  # a wrong one is named before anything is written
            card = (run / "index" / "index.json").read_bytes()
            told = json.dumps([users, wanted.k, len(data.log), str(data.exclude), *_told(self.rules)]).encode() + card
            job: dict[str, object] = {"sha256": hashlib.sha256(told).hexdigest()}
            parts = PartsOnDisk(wanted.output, job, -(-len(users) // _USERS_AT_ONCE))
            if ranks.rank == 0:
                parts.begin(wanted.overwrite)
            ranks.wait()
            left = parts.left(ranks.rank, ranks.world_size)
            many = ManyRecommendations(recommender, wanted.k, self.rules)
            bar = progress_bar(len(left), "Recommending", "thousand users", ranks.rank == 0)
            for part in left:
                some = users[part * _USERS_AT_ONCE : (part + 1) * _USERS_AT_ONCE]
                parts.write(part, lambda some=some: many.table(some))  # type: ignore[misc]
                bar.update(1)
            bar.close()
            ranks.wait()
            if ranks.rank == 0:
                print(f"{wanted.output}: {parts.finish():,} rows for {len(users):,} users")
            ranks.wait()


def _told(rules: ItemRules) -> list[str]:
    """What makes a job another than that of the same users without rules."""
    return [] if rules.is_plain else [repr(rules)]
