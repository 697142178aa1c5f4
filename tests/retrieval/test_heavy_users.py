"""Users with very many events: what they cost, and what is left out because of them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from datamodules import InteractionDataModule
from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.metrics import bootstrap_mean
from lightning_tl.retrieval.judging.rank_report import rank_metrics
from lightning_tl.retrieval.judging.window_facts import window_facts
from lightning_tl.retrieval.negatives.taken_items import TakenItems


def log_of(users: np.ndarray, items: np.ndarray, count: int) -> InteractionLog:
    names = [str(k) for k in range(max(count, int(users.max()) + 1))]
    return InteractionLog(users.astype(np.int32), items.astype(np.int32), np.arange(len(users)), names, names)


def test_a_user_is_looked_up_once_however_often_it_asks() -> None:
    draw, heavy = np.random.default_rng(0), 60_000
    users = np.concatenate([np.zeros(heavy, int), np.repeat(np.arange(1, 51), 40)])
    taken = TakenItems.of(log_of(users, np.concatenate([np.arange(heavy), draw.integers(0, heavy, 2000)]), heavy))
    asking, candidates = torch.tensor([0, -1, 3, 0, 7] * 80), torch.tensor(draw.integers(0, heavy, 400))
    start = time.perf_counter()
    found = taken.among(asking, candidates)
    many = time.perf_counter() - start
    start = time.perf_counter()
    once = taken.among(asking[:5], candidates)
    assert torch.equal(found, once.repeat(80, 1)) and once[0].all() and not once[1].any()
    assert many < 20 * (time.perf_counter() - start) + 0.1  # not 80 times: the user's items are read once


def test_metrics_of_very_many_users_take_seconds_and_have_the_bootstraps_intervals() -> None:
    draw, count = np.random.default_rng(0), 25_000
    users = np.repeat(np.arange(count), draw.integers(1, 4, count))
    values = draw.random(len(users)) + 0.3 * draw.random(count)[users]  # all blocks differ
    few = bootstrap_mean(values[users < 19_000], users[users < 19_000], draws=400)
    many = bootstrap_mean(values, users, draws=400)
    expected = (few.high - few.low) * np.sqrt(19_000 / count)
    assert abs((many.high - many.low) / expected - 1) < 0.1 and many.low < many.mean < many.high
    start = time.perf_counter()
    found = rank_metrics(draw.integers(1, 5_000, len(users)), users, 5_000)
    assert time.perf_counter() - start < 20
    median = found["per_query"]["median_rank"]
    assert median["low"] < median["value"] < median["high"]


def data_of(folder: Path, **options: object) -> InteractionDataModule:
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {"user": np.repeat([0, 1, 2, 3], [400, 30, 30, 30]), "item": draw.integers(0, 300, 490), "time": 0}
    )
    table["time"] = draw.permutation(490) * 50
    table.to_parquet(folder / "log.parquet")
    data = InteractionDataModule(folder / "log.parquet", cache=folder / "cache", **options)
    data.setup()
    return data


def test_the_newest_events_of_a_user_are_trained_on(tmp_path: Path) -> None:
    whole, capped = data_of(tmp_path), data_of(tmp_path, max_events_per_user=25)
    before, after = whole.training_log, capped.training_log
    assert after.user_counts().tolist() == np.minimum(25, before.user_counts()).tolist()
    for user in range(4):
        assert after.times[after.users == user].tolist() == before.times[before.users == user][-25:].tolist()
    assert any("training events beyond the newest 25" in note for note in capped.events.notes)
    for split in ("validation", "test"):  # asked as before, with the same targets
        mine, theirs = whole.queries(split), capped.queries(split)
        assert (mine.targets.tolist(), mine.times.tolist()) == (theirs.targets.tolist(), theirs.times.tolist())


def test_some_validation_queries_and_the_whole_test(tmp_path: Path) -> None:
    whole, some, again = (data_of(tmp_path, validation_queries=n) for n in (None, 10, 10))
    assert len(some.queries("validation")) == 10 and set(some.queries("validation").events) < set(
        whole.queries("validation").events
    )
    assert some.queries("validation").events.tolist() == again.queries("validation").events.tolist()
    assert len(some.queries("test")) == len(whole.queries("test"))
    assert any("validation queries are asked, drawn at random" in note for note in some.notes)


def test_what_a_test_rests_on() -> None:
    log = log_of(np.array([0, 0, 0, 1, 1, 2]), np.array([5, 6, 7, 5, 7, 7]), 9)
    training = log.select(np.array([True, True, False, True, False, False]))
    facts = window_facts(Queries.of(log, np.array([2, 4, 5])), training)
    assert facts == {
        "queries": 3,
        "new_targets": 3,
        "largest_user": {"id": "0", "queries": 1},
        "largest_item": {"id": "7", "queries": 3},
    }
