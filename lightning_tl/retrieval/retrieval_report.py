"""`RetrievalReport`: fills the run folder of a two-tower model, beside the baselines that it has to beat."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lightning_tl.callbacks.run_folder_report import RunFolderReport
from lightning_tl.interactions import Queries
from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.embedding_picture import draw_embedding_map
from lightning_tl.reports.gather import Batch
from lightning_tl.reports.popularity_picture import draw_popularity
from lightning_tl.reports.retrieval_text import COMPARED
from lightning_tl.reports.slice_picture import SliceBar, draw_slices
from lightning_tl.retrieval.baselines import EASE, ItemSimilarity, Popularity, RecentPopularity
from lightning_tl.retrieval.item_index import ItemIndex
from lightning_tl.retrieval.rank_report import COVERAGE_AT, paired_difference, rank_metrics
from lightning_tl.retrieval.ranking import EmbeddingScorer, Scorer, ranks, top_items
from lightning_tl.retrieval.slices import history_bands, popularity_bands, slices
from lightning_tl.retrieval.two_tower import TwoTower
from lightning_tl.tensor_digest import tensor_digest

_HELD_OUT = 1_000  # queries of the validation window with which an index is tuned
_CHOOSING = 2_000  # queries of the validation window by which EASE's penalty is chosen


class RetrievalReport(RunFolderReport):
    """Ranks of the trained model and of the baselines on the same queries, where they differ and for whom.

    After a test the run folder holds `predictions/test.parquet` (user, item, second and every model's rank of each
    query), `pictures/slices.png`, `popularity.png` and `embedding_map.png`, the index of the catalogue in `index/`, and
    the summary. Baselines learn from the training window alone.

    Args:
        next_command: what the user may type next; `{run}` stands for the run folder.
        started: when the command began, in seconds since 1970; default now.
        export: whether to write `index/`.
        recent_days: of the popularity at the end of the training window.
        ease_l2: penalties of EASE to choose from by HR@100 in the validation window; the first where there is none.
        ease_history: how many of the newest items of a history EASE reads, to choose from likewise.
        text_history: how many of them the similarity of texts reads.
        min_queries: slices with fewer are in no gap.
    """

    def __init__(
        self,
        next_command: str | None = None,
        started: float | None = None,
        export: bool = True,
        recent_days: float = 7.0,
        ease_l2: Sequence[float] = (300.0, 100.0, 1_000.0, 3_000.0),
        ease_history: Sequence[int] = (20, 100),
        text_history: int = 20,
        min_queries: int = 100,
    ) -> None:
        super().__init__(next_command, started, export)
        if not ease_l2 or min(ease_l2) <= 0:
            raise ValueError(f"ease_l2 must be one or more penalties above 0, got {list(ease_l2)}")
        if not ease_history or min(ease_history) < 1 or text_history < 1:
            raise ValueError(f"histories must be at least 1, got ease_history={ease_history}, {text_history=}")
        self.recent_days, self.ease_l2, self.ease_history = recent_days, ease_l2, ease_history
        self.text_history, self.min_queries = text_history, min_queries

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TwoTower)
        if pl_module.ranking.evaluated is not None:
            self._outputs = [pl_module.ranking.evaluated]
        super().on_test_end(trainer, pl_module)

    def report_test(self, trainer: pl.Trainer, module: TwoTower, run: Path, batches: list[Batch]) -> None:
        """See `RunFolderReport`."""
        if not batches:
            warnings.warn("nothing was ranked in this test: no results kept", stacklevel=2)
            return
        events = np.concatenate([batch["event"] for batch in batches])
        order = np.argsort(events, kind="stable")
        queries = module.data.queries("test")
        queries = queries[np.searchsorted(queries.events, events[order])]
        vectors = torch.from_numpy(np.concatenate([batch["vector"] for batch in batches])[order])
        scorer = EmbeddingScorer("two_tower", queries, vectors, module.ranking.catalogue)
        found = {scorer.name: np.concatenate([batch["rank"] for batch in batches])[order]}
        count = module.item_count
        for other in self.baselines(module):
            found[other.name] = ranks(other, queries, count)
        top, _ = top_items(scorer, queries, count, min(COVERAGE_AT, count))
        self.summary["test"] = self._results(module, queries, found, top)
        self._write(module, run, queries, found)

    def baselines(self, module: TwoTower) -> list[Scorer]:
        """What the model is measured beside, made from the training window; a subclass may add others."""
        log, count = module.data.training_log, module.item_count
        popular = Popularity(log, count)
        made: list[Scorer] = [popular, RecentPopularity(log, count, self.recent_days)]
        ease = attempt("the baseline EASE", lambda: self._ease(module))
        made += [] if ease is None else [ease]
        pretrained = module.items.pretrained_content()
        if pretrained is not None:
            made.append(ItemSimilarity("zero_shot_text", pretrained.cpu(), history=self.text_history, fallback=popular))
        return made

    def _ease(self, module: TwoTower) -> EASE:
        """EASE with the penalty and the history that do best in the validation window."""
        log, count = module.data.training_log, module.item_count
        asked = module.data.queries("validation")
        if len(asked) > _CHOOSING:
            asked = asked[np.sort(np.random.default_rng(0).choice(len(asked), _CHOOSING, replace=False))]
        best: tuple[float, EASE] | None = None
        for penalty, history in itertools.product(self.ease_l2, self.ease_history):
            if best is not None and len(asked) == 0:
                break
            made = EASE(log, count, l2=penalty, history=history)
            hits = float((ranks(made, asked, count) <= COVERAGE_AT).mean()) if len(asked) else 0.0
            if best is None or hits > best[0]:
                best = hits, made
                self.summary["ease"] = {"l2": penalty, "history": history}
        assert best is not None
        return best[1]

    def _results(
        self, module: TwoTower, queries: Queries, found: Mapping[str, NDArray[np.int64]], top: NDArray[np.int64]
    ) -> dict[str, Any]:
        (name, mine), *others = found.items()
        users, count = queries.users, module.item_count
        models = {each: rank_metrics(got, users, count, top if each == name else None) for each, got in found.items()}
        results: dict[str, Any] = {
            "task": "retrieval",
            "model": name,
            "samples": len(queries),
            "split": str(getattr(module.data, "split", "temporal")),
            "models": models,
            "differences": {
                other: {metric: paired_difference(mine, got, users, metric) for metric in COMPARED}
                for other, got in others
            },
            "slices": slices(mine, users, groups_of(module, queries), self.min_queries),
        }
        oracle: Scorer | None = getattr(module.data, "oracle", None)
        if oracle is not None:
            results["oracle"] = rank_metrics(ranks(oracle, queries, count), users, count)
        return results

    def _write(self, module: TwoTower, run: Path, queries: Queries, found: Mapping[str, NDArray[np.int64]]) -> None:
        log, pictures = queries.log, run / "pictures"
        table = pd.DataFrame(
            {
                "user": [log.user_ids[k] for k in queries.users],
                "item": [log.item_ids[k] for k in queries.targets],
                "time": queries.times,
                "history": queries.lengths,
                **{f"rank_{name}": values for name, values in found.items()},
            }
        )
        path = run / "predictions" / "test.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        attempt("predictions/test.parquet", lambda: table.to_parquet(path, index=False))
        overall = self.summary["test"]["models"]["two_tower"]["per_query"]["HR@100"]["value"]
        bars = _bars(self.summary["test"]["slices"])
        attempt("slices.png", partial(draw_slices, bars, overall, "HR@100", pictures / "slices.png"))
        counts = module.data.training_log.item_counts()[queries.targets]
        attempt("popularity.png", partial(draw_popularity, counts, found, pictures / "popularity.png"))
        vectors, categories = (
            module.ranking.catalogue.numpy(),
            getattr(module.data, "item_categories", [""] * module.item_count),
        )
        draw = partial(draw_embedding_map, vectors, categories, pictures / "embedding_map.png")
        attempt("embedding_map.png", draw)

    def export_model(self, module: TwoTower, run: Path) -> None:
        """Write the catalogue's vectors and their index."""
        log = module.data.training_log
        vectors = module.ranking.catalogue.numpy()
        held_out = module.ranking.held_out[:_HELD_OUT].numpy()
        if len(held_out) == 0 and module.ranking.evaluated is not None:  # a test without a validation before it
            held_out = module.ranking.evaluated["vector"][:_HELD_OUT]
        digest = tensor_digest(module.state_dict())
        index = ItemIndex.build(vectors, log.item_ids, module.data.item_titles, digest, held_out)
        index.write(run / "index", vectors)
        self.summary["index"] = {"folder": "index", **index.facts}


def groups_of(module: TwoTower, queries: Queries) -> dict[str, Any]:
    """The slices of each query: how much is known of user and item, who the user is, what kind of item it is."""
    data, log = module.data, module.data.training_log
    groups: dict[str, Any] = {
        "user in training": np.where(log.user_counts()[queries.users] > 0, "known", "cold"),
        "history": history_bands(queries.lengths),
        "item popularity": popularity_bands(log.item_counts(), queries.targets),
    }
    for name, labels in getattr(data, "profile_labels", {}).items():
        groups[name] = labels[queries.users]
    categories = np.array(getattr(data, "item_categories", []), dtype=object)
    if len(categories) and (categories != "").any():
        groups["item category"] = categories[queries.targets]
    return groups


def _bars(found: Mapping[str, Any], most: int = 12) -> list[SliceBar]:
    bars = []
    for grouping, report in found.items():
        largest = sorted(report["slices"], key=lambda name: -report["slices"][name]["queries"])[:most]
        for name in (name for name in report["slices"] if name in largest):
            one = report["slices"][name]
            hit = one["HR@100"]
            bars.append(SliceBar(grouping, name, one["queries"], hit["value"], hit["low"], hit["high"]))
    return bars
