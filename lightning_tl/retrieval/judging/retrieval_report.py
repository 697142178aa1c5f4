"""`RetrievalReport`: fills the run folder of a two-tower model, beside the baselines that it has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lightning_tl.callbacks.run_folder_report import RunFolderReport, only_trying
from lightning_tl.contracts.interactions import Queries
from lightning_tl.contracts.notice import Notice
from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.gather import Batch
from lightning_tl.reports.pictures.run_pictures import draw_in_run
from lightning_tl.retrieval.judging.chosen_baselines import ChosenBaselines
from lightning_tl.retrieval.judging.coverage import COVERAGE_AT
from lightning_tl.retrieval.judging.held_out import held_out_queries, query_vectors
from lightning_tl.retrieval.judging.pictures.embedding_picture import draw_embedding_map
from lightning_tl.retrieval.judging.pictures.popularity_picture import draw_popularity
from lightning_tl.retrieval.judging.pictures.slice_picture import SliceBar, draw_slices
from lightning_tl.retrieval.judging.rank_report import paired_difference, rank_metrics, telling_metric
from lightning_tl.retrieval.judging.retrieval_text import COMPARED, retrieval_sections
from lightning_tl.retrieval.judging.slices import history_bands, popularity_bands, slices
from lightning_tl.retrieval.judging.window_facts import window_facts
from lightning_tl.retrieval.ranking.ranking import EmbeddingScorer, Scorer, ranks, top_items
from lightning_tl.retrieval.ranking.sharded_ranks import gather_ranks, sharded_ranks, sharded_top
from lightning_tl.retrieval.retrieval_data import KnownTruth, LabelledItems, LabelledUsers, split_rule
from lightning_tl.retrieval.two_tower import TwoTower
from lightning_tl.search.faiss_index.item_index import ItemIndex
from lightning_tl.search.faiss_index.kinds import EXACT_UP_TO
from lightning_tl.storage.tensor_digest import tensor_digest

_HELD_OUT = 1_000  # queries with which an index is tuned, and as many by which it is measured

Rows = NDArray[np.int64]


class RetrievalReport(RunFolderReport):
    """Ranks of the trained model and of the baselines on the same queries, where they differ and for whom.

    After a test the run folder holds `predictions/test.parquet` (user, item, second and every model's rank of each
    query), `pictures/slices.png`, `popularity.png` and `embedding_map.png`, the index of the catalogue in `index/`, and
    the summary. Baselines learn from the training window alone; where several settings are given, the best in the
    validation window is taken, and without one the first. All processes rank their share.

    Args:
        next_command: what the user may type next; `{run}` stands for the run folder.
        started: when the command began, in seconds since 1970; default now.
        export: whether to write `index/`.
        recent_days: of the popularity at the end of the training window.
        ease_l2: penalties of EASE.
        ease_history: how many of the newest items of a history EASE reads.
        text_history: how many of them the similarity of texts reads.
        ease_max_items: catalogues that are larger have no EASE.
        min_queries: slices with fewer are in no gap.
    """

    exports_again: ClassVar[bool] = True  # an index offers items that came since the training, too

    def __init__(
        self,
        next_command: str | None = None,
        started: float | None = None,
        export: bool = True,
        recent_days: float | Sequence[float] = (7.0, 1.0, 30.0, 90.0),
        ease_l2: float | Sequence[float] = (300.0, 100.0, 1_000.0, 3_000.0),
        ease_history: int | Sequence[int] = (20, 100),
        text_history: int | Sequence[int] = (20, 5, 100),
        ease_max_items: int = 20_000,
        min_queries: int = 100,
    ) -> None:
        super().__init__(next_command, started, export)
        self.chosen = ChosenBaselines(recent_days, ease_l2, ease_history, text_history, ease_max_items)
        if min_queries < 1:
            raise ValueError(f"min_queries must be at least 1, got {min_queries}")
        self.min_queries = min_queries
        self._ranked: tuple[Queries, dict[str, Rows], dict[str, Rows]] | None = None

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Rank for everyone, then as the base."""
        assert isinstance(pl_module, TwoTower)
        self._ranked = None if only_trying(trainer) else self._rank(pl_module)
        if self._ranked is not None:
            self._outputs = [{"event": self._ranked[0].events}]
        super().on_test_end(trainer, pl_module)

    def _rank(self, module: TwoTower) -> tuple[Queries, dict[str, Rows], dict[str, Rows]] | None:
        """The queries that were asked, and of every model their ranks and first items; on all processes."""
        queries, count = module.data.queries("test"), module.item_count
        mine = module.ranking.evaluated
        own = np.zeros(0, np.int64) if mine is None else mine["event"]
        events = gather_ranks(own)
        if len(events) == 0:
            return None
        asked, most = queries[np.searchsorted(queries.events, own)], min(COVERAGE_AT, count)
        shown, found = np.zeros((0, most), np.int64), own
        if mine is not None:
            scorer = EmbeddingScorer("two_tower", asked, torch.from_numpy(mine["vector"]), module.ranking.catalogue)
            shown, found = top_items(scorer, asked, count, most)[0], mine["rank"]
        order = np.argsort(events, kind="stable")
        ranked, top = {"two_tower": gather_ranks(found)[order]}, {"two_tower": gather_ranks(shown)[order]}
        queries = queries[np.searchsorted(queries.events, events[order])]
        for other in self.baselines(module):
            ranked[other.name] = sharded_ranks(other, queries, count)
            top[other.name] = sharded_top(other, queries, count, most)
        return queries, ranked, top

    def baselines(self, module: TwoTower) -> list[Scorer]:
        """What the model is measured beside, made from the training window; a subclass may add others."""
        content = module.items.pretrained_content(module.global_rank, module.trainer.world_size)
        data = module.data
        return self.chosen.scorers(data.training_log, module.item_count, content, data.queries("validation"))

    def report_test(self, trainer: pl.Trainer, module: TwoTower, run: Path, batches: list[Batch]) -> None:
        """See `RunFolderReport`."""
        if self._ranked is None:
            warnings.warn("nothing was ranked in this test: no results kept", stacklevel=2, category=Notice)
            return
        queries, found, top = self._ranked
        self.summary["baselines"] = self.chosen.settings
        self.summary["test"] = self._results(module, queries, found, top)
        self._write(module, run, queries, found)

    def _results(
        self, module: TwoTower, queries: Queries, found: Mapping[str, Rows], top: Mapping[str, Rows]
    ) -> dict[str, Any]:
        (name, mine), *others = found.items()
        users, count = queries.users, module.item_count
        results: dict[str, Any] = {
            "task": "retrieval",
            "model": name,
            "samples": len(queries),
            "split": split_rule(module.data),
            "exclude": module.data.exclude,
            "window": window_facts(queries, module.data.training_log),
            "left_out": self.chosen.left_out,
            "models": {each: rank_metrics(got, users, count, top[each]) for each, got in found.items()},
            "differences": {
                other: {metric: paired_difference(mine, got, users, metric) for metric in COMPARED}
                for other, got in others
            },
            "slices": slices(mine, users, groups_of(module, queries), self.min_queries, telling_metric(count)),
        }
        if isinstance(module.data, KnownTruth):
            results["oracle"] = rank_metrics(ranks(module.data.oracle, queries, count), users, count)
        return results

    def _write(self, module: TwoTower, run: Path, queries: Queries, found: Mapping[str, Rows]) -> None:
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
        metric = telling_metric(module.item_count)
        overall = self.summary["test"]["models"]["two_tower"]["per_query"][metric]["value"]
        bars = _bars(self.summary["test"]["slices"], metric)
        draw_in_run(pictures / "slices.png", partial(draw_slices, bars, overall, metric))
        counts = module.data.training_log.item_counts()[queries.targets]
        draw_in_run(pictures / "popularity.png", partial(draw_popularity, counts, found))
        kinds = module.data.item_categories if isinstance(module.data, LabelledItems) else [""] * module.item_count
        draw = partial(draw_embedding_map, module.ranking.catalogue.numpy(), kinds)
        draw_in_run(pictures / "embedding_map.png", draw)

    def tested_sections(self, summary: dict[str, Any]) -> list[list[str]]:
        """See `RunFolderReport`."""
        return retrieval_sections(summary["test"])

    def export_model(self, module: TwoTower, run: Path) -> None:
        """Write the catalogue's vectors and their index."""
        self.summary.pop("index", None)  # of an earlier test: it would be announced even if this one fails
        log, vectors = module.data.training_log, module.ranking.catalogue.numpy()
        held_out = measured = np.zeros((0, vectors.shape[1]), np.float32)
        if len(vectors) > EXACT_UP_TO:
            queries = held_out_queries(module.data, _HELD_OUT)
            held_out, measured = (query_vectors(module, part) for part in queries)
        digest = tensor_digest(module.state_dict())
        index = ItemIndex.build(vectors, log.item_ids, module.data.item_titles, digest, held_out, measured)
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
    for name, labels in (data.profile_labels if isinstance(data, LabelledUsers) else {}).items():
        if len(np.unique(labels)) <= max(50, len(labels) // 2):  # else each user is a group
            groups[name] = labels[queries.users]
    categories = np.array(data.item_categories if isinstance(data, LabelledItems) else [], dtype=object)
    if len(categories) and (categories != "").any():
        groups["item category"] = categories[queries.targets]
    return groups


def _bars(found: Mapping[str, Any], metric: str, most: int = 12) -> list[SliceBar]:
    bars = []
    for grouping, report in found.items():
        largest = sorted(report["slices"], key=lambda name: -report["slices"][name]["queries"])[:most]
        for name in (name for name in report["slices"] if name in largest):
            one = report["slices"][name]
            hit = one[metric]
            bars.append(SliceBar(grouping, name, one["queries"], hit["value"], hit["low"], hit["high"]))
    return bars
