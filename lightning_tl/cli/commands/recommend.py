"""`recommend`: what a trained two-tower model would show to one user."""

from __future__ import annotations

from typing import Any, ClassVar

from lightning_tl.cli.commands.recommend_options import RecommendOptions
from lightning_tl.cli.commands.two_tower_run import TwoTowerCLI
from lightning_tl.retrieval import Recommender
from lightning_tl.search.rules.boost import boosts_of
from lightning_tl.search.rules.item_rules import ItemRules

_SHOWN = 10  # items of the history that are printed


class RecommendCLI(TwoTowerCLI):
    """Reads a run as `predict` does, builds model and data but no Trainer, and searches the run's index.

    Args:
        options: from `read_recommend_options`.
    """

    command: ClassVar[str] = "recommend"

    def __init__(self, options: RecommendOptions) -> None:
        self.wanted = options
        self.rules = ItemRules(boosts_of(options.boost), options.diversity)
        super().__init__(options.run)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        module, data, run = self.opened()
        recommender = Recommender.open(module, data, run / "index", data.log)
        self.rules.bounds(recommender.store)  # a wrong one is named, whatever is shown
        rules: dict[str, Any] = {} if self.rules.is_plain else {"rules": self.rules}  # one's own may know of none
        found = recommender.recommend(self.wanted.user, self.wanted.k, **rules)
        if found.note:
            print(found.note)
        if not self.rules.is_plain and found.popular:
            print("popular items are shown as they are, without boosts or diversity")
        elif self.rules.told:
            print(self.rules.told)
        if recommender.missing and not found.popular:
            print(
                f"items that came after the index: {recommender.missing:,}, which are not offered; once they are among "
                "the run's own data, test the run again to make the index anew"
            )
        ids, titles = data.log.item_ids, data.item_titles
        if found.history:
            names = [titles[item] or ids[item] for item in found.history[-_SHOWN:]]
            more = f" (the last {len(names)} of {len(found.history)})" if len(names) < len(found.history) else ""
            print(f"history{more}: {'; '.join(names)}")
        if len(found.items) < self.wanted.k:
            print(f"there are no more than {len(found.items):,} items to be shown, {self.wanted.k:,} were asked for")
        print(f"{'rank':>4}  {'events' if found.popular else 'score':>7}  {'item':<12}  title")
        for rank, (item, score) in enumerate(zip(found.items, found.scores, strict=True), 1):
            number = f"{score:7,.0f}" if found.popular else f"{score:7.3f}"
            print(f"{rank:>4}  {number}  {ids[item]:<12}  {titles[item]}".rstrip())
