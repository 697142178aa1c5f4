"""The peer of the two towers: what it reads, how it is ranked, trained and chosen, and what is compared."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from movielens_files import write_movielens

from datamodules import MovieLensDataModule

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import kept_ranks
import sequence_peer as peers

SETTING: dict[str, Any] = {"rate": 3e-3, "epochs": 2, "dropout": 0.1, "width": 8, "reads": "before"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root, recipe = write_movielens(tmp_path_factory.mktemp("peer"))
    return root, str(recipe)


@pytest.fixture(scope="module")
def data(small: tuple[Path, str]) -> MovieLensDataModule:
    return kept_ranks.recipe_data(*small, train_on_validation=False)


def test_a_state_reads_the_items_before_it_and_no_others() -> None:
    torch.manual_seed(0)
    peer = peers.Peer(10, 6, SETTING)
    peer.model.eval()
    history = torch.tensor([[3, 4, 5, -1, -1, -1], [1, 2, 3, 4, 5, 6]])
    row, position = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 3, 2, 6])
    found = peer.states(history, row, position)
    for state, read in zip(found, ([], [3, 4, 5], [1, 2], [1, 2, 3, 4, 5, 6]), strict=True):
        alone = peer.model(torch.tensor([[10, *read]]))  # the start token, then what it reads, and no padding
        torch.testing.assert_close(peer.model.lm_head(state), alone.logits[0, -1], rtol=1e-4, atol=1e-5)


def test_ranks_are_those_of_the_models_own_logits(data: MovieLensDataModule) -> None:
    """Against a loop over queries, one without padding at a time, and over items."""
    peer = peers.trained(data, SETTING, seed=0)
    queries = data.queries("validation")[:40]
    found = peer.ranks(queries, data.history_length)
    log, count = queries.log, len(data.item_texts)
    for query, event in enumerate(queries.events.tolist()):
        past = [k for k in range(len(log)) if log.users[k] == log.users[event] and log.times[k] < log.times[event]]
        seen = {int(log.items[k]) for k in past}
        read = [int(log.items[k]) for k in past[-data.history_length :]]
        with torch.no_grad():
            scores = peer.model(torch.tensor([[count, *read]])).logits[0, -1, :count].tolist()
        target = int(log.items[event])
        ahead = sum(scores[k] > scores[target] for k in range(count) if k not in seen and k != target)
        assert found[query] == 1 + ahead


@pytest.mark.parametrize("reads", ["before", "next"])
def test_training_reads_what_stands_before_the_target(reads: str, data: MovieLensDataModule) -> None:
    rows, log = peers.training_rows(data), data.log
    everything = np.arange(len(rows.pieces))
    batch = rows.fetch(everything, 0)
    found = peers.positions(batch, rows.pieces.begin[everything], reads)
    assert sorted(batch["index"].tolist()) == sorted(data.windows.train.tolist())  # each training event once
    shared = 0
    columns = (batch["row"], found, batch["index"], batch["target"])
    for row, position, event, target in zip(*(column.tolist() for column in columns), strict=True):
        earlier = [k for k in range(event) if log.users[k] == log.users[event]]
        strictly = [k for k in earlier if log.times[k] < log.times[event]]
        allowed = strictly if reads == "before" else earlier
        read = batch["history"][row, :position].tolist()
        assert read == [int(log.items[k]) for k in allowed[len(allowed) - len(read) :]]
        assert target == log.items[event]
        shared += len(earlier) > len(strictly)
        assert reads == "before" or len(read) >= min(len(earlier), data.history_length // 2)
    assert shared > 50  # the log has seconds that several events share


def test_it_learns_and_a_seed_fixes_it(data: MovieLensDataModule) -> None:
    queries = data.queries("validation")
    setting = {**SETTING, "epochs": 25, "width": 16}
    learned = peers.trained(data, setting, seed=0).ranks(queries, data.history_length)
    chance = peers.Peer(len(data.item_texts), data.history_length, setting).ranks(queries, data.history_length)
    assert (1 / learned).mean() > 1.3 * (1 / chance).mean()
    once, again, other = (
        peers.trained(data, SETTING, seed=seed).ranks(queries, data.history_length) for seed in (1, 1, 2)
    )
    assert once.tolist() == again.tolist() and once.tolist() != other.tolist()
    starts = [peers.trained(data, {**SETTING, "epochs": 0}, seed).model.lm_head.weight for seed in (1, 1, 2)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


# ---------------------------------------------------------------- choosing

TABLE = {  # two settings that are only better together after a second round
    (1, "a"): 0.1, (2, "a"): 0.2, (3, "a"): 0.15, (1, "b"): 0.1, (2, "b"): 0.3, (3, "b"): 0.4,
}  # fmt: skip


def test_settings_are_tried_one_after_the_other_until_nothing_changes() -> None:
    asked: list[tuple[Any, ...]] = []

    def value(setting: peers.Setting) -> float:
        asked.append((setting["x"], setting["y"]))
        return TABLE[asked[-1]]

    assert peers.climb({"x": (1, 2, 3), "y": ("a", "b")}, value) == {"x": 3, "y": "b"}
    assert asked[0] == (1, "a") and asked[:5] == [(1, "a"), (2, "a"), (3, "a"), (2, "a"), (2, "b")]


def test_the_first_value_wins_ties() -> None:
    assert peers.climb({"x": (5, 1, 2), "y": ("b", "a")}, lambda setting: 0.0) == {"x": 5, "y": "b"}


def kept_row(part: str, seed: int, ranks: list[int], **other: Any) -> dict[str, Any]:
    fixed = {"part": part, "queries": "q", "length": 6, **peers.FIXED, **SETTING, "seconds": 1.0}
    return {**fixed, "seed": seed, "queries_of_users": [2, 1], "ranks": ranks, **other}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("others", "edge"),
    [
        ([{"width": 4}, {"width": 16}, {"epochs": 1}, {"epochs": 3}], "rate, dropout"),
        ([{"width": 4}, {"epochs": 1}], "rate, epochs, dropout, width"),
    ],
)
def test_what_was_tried_is_listed_best_first(others: list[dict[str, Any]], edge: str, tmp_path: Path) -> None:
    rows = [kept_row("validation", 0, [50, 60, 70], **other) for other in others]
    rows += [kept_row("validation", 0, [1, 2, 300]), kept_row("test", 0, [1, 1, 1])]
    key = {name: rows[0][name] for name in ("part", "queries", "length", *peers.FIXED)}
    text = peers.chosen(key, SETTING, "HR@10", write_rows(tmp_path / "kept.jsonl", rows))
    lines = text.splitlines()
    assert lines[2] == "| 0.003 | 2 | 0.1 | 8 | before | 0.6667 | 0.6667 | 0.5011 | 1.0 |"
    assert len([line for line in lines if line.startswith("| 0.003")]) == 1 + len(others)
    assert lines[-1].endswith(f"the lowest or highest that was tried: {edge}")


# ---------------------------------------------------------------- the whole


def call(words: list[str], capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> str:
    patch.setattr(sys, "argv", ["sequence_peer.py", *words])
    peers.main()
    return capsys.readouterr().out


def write_run(folder: Path, table: pd.DataFrame, trained_on_both: bool = True) -> Path:
    """What `versus` reads of a run folder."""
    (folder / "predictions").mkdir(parents=True)
    table.to_parquet(folder / "predictions" / "test.parquet", index=False)
    words = str(trained_on_both).lower()
    (folder / "config.yaml").write_text(f"data:\n  init_args:\n    train_on_validation: {words}\n")
    return folder


def test_from_choosing_to_comparing(
    small: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.jsonl"
    grid = ["--rate", "0.003", "--epochs", "1", "2", "--dropout", "0.1", "--width", "8"]
    shared = ["--root", str(small[0]), "--recipe", small[1], *grid, "--metric", "MRR", "--results", str(kept)]
    with pytest.raises(SystemExit, match=r"has no validation of .*run `choose` first, with the same grid and metric"):
        call(["test", *shared], capsys, monkeypatch)
    said = call(["choose", *shared], capsys, monkeypatch)
    tried = [json.loads(line) for line in kept.read_text().splitlines()]
    assert 3 <= len(tried) <= 4 and {row["part"] for row in tried} == {"validation"}
    best = max(tried, key=lambda row: float(np.mean([1 / rank for rank in row["ranks"]])))
    assert f"'epochs': {best['epochs']}" in said and f"'reads': '{best['reads']}'" in said
    call(["test", *shared, "--seeds", "2"], capsys, monkeypatch)
    tested = [json.loads(line) for line in kept.read_text().splitlines()][len(tried) :]
    assert [row["seed"] for row in tested] == [0, 1] and {row["part"] for row in tested} == {"test"}
    assert all(row[name] == best[name] for row in tested for name in peers.GRID)
    assert tested[0]["ranks"] != tested[1]["ranks"]

    whole = kept_ranks.recipe_data(*small, train_on_validation=True)
    queries = whole.queries("test")
    found = peers.trained(whole, {name: best[name] for name in peers.GRID}, 1).ranks(queries, whole.history_length)
    assert tested[1]["ranks"] == found.tolist()  # it was trained on both windows
    names = [whole.log.user_ids[k] for k in queries.users], [whole.log.item_ids[k] for k in queries.targets]
    mine = 1 + np.arange(len(queries)) % 20
    table = pd.DataFrame({"user": names[0], "item": names[1], "time": queries.times, "rank_two_tower": mine})
    run = write_run(tmp_path / "run", table)
    text = call(["versus", "--run", str(run), "--results", str(kept)], capsys, monkeypatch)
    hits = [np.mean(mine <= 10) - np.mean(np.array(row["ranks"]) <= 10) for row in tested]
    last = next(line for line in text.splitlines() if "minus peer" in line)
    assert float(re.findall(r"[+-][\d.]+", last)[0]) == pytest.approx(np.mean(hits), abs=6e-4)
    assert "with one run or seed its noise is not in them" in text and "peer, seeds: 2" in text


RANKS = pd.DataFrame(
    {"user": ["1", "1", "2"], "item": ["a", "b", "a"], "time": [1, 2, 3], "rank_two_tower": [1, 9, 40]}
)


def test_each_run_meets_each_seed(tmp_path: Path) -> None:
    """Two runs and three seeds: the difference is that of the two means, loops over all."""
    runs = [write_run(tmp_path / name, RANKS.assign(rank_two_tower=ranks)) for name, ranks in
            (("one", [1, 9, 40]), ("two", [11, 2, 3]))]  # fmt: skip
    query = kept_ranks.asked(runs[0])[0]
    seeds = [[20, 1, 5], [30, 12, 7], [90, 80, 70]]
    rows = [kept_row("test", seed, ranks, queries=query) for seed, ranks in enumerate(seeds)]
    text = peers.versus(runs, write_rows(tmp_path / "kept.jsonl", rows))
    last = next(line for line in text.splitlines() if "minus peer" in line).split("|")[2]
    wanted = np.mean([[1, 1, 0], [0, 1, 1]]) - np.mean([[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    assert last.strip().startswith(f"{wanted:+.3f} [") and "with one run" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("single", "was not trained on the validation window, as the peer was"),
        ("other", "different test queries: give runs on the same data"),
        ("none", r"of one setting, got 0 tests: run `test`"),
        ("two", r"of one setting, got 2 tests: run `test`"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: str, words: str, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "one", RANKS, trained_on_both=change != "single")]
    if change == "other":
        runs.append(write_run(tmp_path / "two", RANKS.assign(time=[1, 2, 4])))
    query = kept_ranks.asked(runs[0])[0] if change != "none" else "another"
    rows = [kept_row("test", 0, [1, 1, 1], queries=query)]
    if change == "two":
        rows.append(kept_row("test", 1, [1, 1, 1], queries=query, width=64))
    with pytest.raises(SystemExit, match=words):
        peers.versus(runs, write_rows(tmp_path / "kept.jsonl", rows))
