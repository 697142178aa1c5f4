"""The ablation of the two-tower recipe: what a run is given, what is kept of it, and what the table says."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from movielens_files import write_movielens

from lightning_tl.cli import main
from lightning_tl.contracts.interactions import InteractionLog, Queries
from lightning_tl.retrieval.judging.rank_gains import rank_gains

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import retrieval_ablation as ablation


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> tuple[Path, str]:
    root, recipe = write_movielens(tmp_path_factory.mktemp("ablation"), saved_models / "minilm")
    return root, str(recipe)


# ---------------------------------------------------------------- what a run is given


def options_of(words: list[str]) -> dict[str, Any]:
    return {word.split("=", 1)[0].removeprefix("--data."): word.split("=", 1)[1] for word in words}


def test_a_run_is_tested_on_the_validation_window_and_knows_nothing_later(
    small: tuple[Path, str], tmp_path: Path
) -> None:
    data = ablation.recipe_data(*small, train_on_validation=False)
    given = options_of(ablation.write_before_test(data, tmp_path))
    assert given["root"] == str(tmp_path) and given["train_on_validation"] == "true"
    assert pd.read_parquet(tmp_path / "data.parquet")["time"].max() < data.windows.test_start
    windows = {"validation": float(given["validation"]), "test": given["test"], "train_on_validation": True}
    cut = type(data)(**windows, root=tmp_path, cache=tmp_path / "cache", history_length=6)
    cut.setup()
    for mine, theirs in ((cut.training_log, data.training_log), (cut.log, before(data.log, data.windows.test_start))):
        for name in ("users", "items", "times"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        assert list(mine.user_ids) == list(theirs.user_ids) and list(mine.item_ids) == list(theirs.item_ids)
    asked, meant = cut.queries("test"), data.queries("validation")
    assert len(asked) > 20 and ablation.digest(asked) == ablation.digest(meant)
    np.testing.assert_array_equal(asked.history(6), meant.history(6))
    np.testing.assert_array_equal(cut.profiles, data.profiles)
    assert list(cut.item_texts) == list(data.item_texts)


def before(log: InteractionLog, end: int) -> InteractionLog:
    return log.select(np.array([time < end for time in log.times]))


WITHOUT = "model.init_args.items.init_args.encoder"
CHANGES = {
    "full": {},
    "no_log_q": {"model.init_args.log_q": False},
    "no_masking": {"model.init_args.mask_taken": False},
    "hard_negatives": {"data.init_args.hard_negatives": 1},
    "no_uniform": {"data.init_args.uniform_negatives": 0},
    "no_item_to_user": {"model.init_args.item_to_user": 0},
    "no_text": {WITHOUT: None},
    "no_ids": {"model.init_args.items.init_args.ids": False},
    "history_mean": {"model.init_args.users.class_path": "lightning_tl.retrieval.HistoryMean"},
}


def fields(recipe: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Every field of a command line, by its dotted name."""
    with pytest.raises(SystemExit) as ended:
        main(["--recipe", recipe, *words, "--print_config"])
    assert ended.value.code in (0, None)

    def flat(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {name: value}
        return {key: leaf for part, one in value.items() for key, leaf in flat(one, f"{name}.{part}").items()}

    return {name.removeprefix("."): value for name, value in flat(yaml.safe_load(capsys.readouterr().out), "").items()}


def test_each_arm_is_the_shipped_recipe_with_one_thing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(ablation.recipe_file(ablation.RECIPE))
    whole = fields(recipe, [], capsys)
    assert ablation.ARMS.keys() == CHANGES.keys()
    for arm, change in CHANGES.items():
        found = fields(recipe, ablation.ARMS[arm][0], capsys)
        differing = {name for name in whole.keys() | found.keys() if whole.get(name, "-") != found.get(name, "-")}
        for name, value in change.items():
            assert found[name] == value and any(each.startswith(name) for each in differing), arm
        within = {
            name.split(".init_args.users")[0] + ".init_args.users" if ".users" in name else name for name in change
        }
        assert all(any(each.startswith(name) for name in within) for each in differing), (arm, differing)


# ---------------------------------------------------------------- a run for real


def test_a_run_keeps_the_ranks_of_the_recipes_validation(
    small: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the validation of the recipe itself, on the whole log, at the end of its last epoch."""
    root, recipe = small
    kept = tmp_path / "kept.jsonl"
    ablation.run(root, recipe, ["full"], 1, kept)
    (row,) = map(json.loads, kept.read_text().splitlines())
    queries = ablation.recipe_data(root, recipe, train_on_validation=False).queries("validation")
    assert row["queries_of_users"] == [int((queries.users == user).sum()) for user in np.unique(queries.users)]
    whole = [f"--data.root={root}", "--data.train_on_validation=false", "--test=false", "--seed_everything=0"]
    capsys.readouterr()
    main(["--recipe", recipe, *whole, "--retrieval_report.export=false", f"--run_folder={tmp_path / 'whole'}"])
    logged = pd.read_csv(next((tmp_path / "whole").rglob("metrics.csv")))
    for name, metric in (("val_hr_10", "HR@10"), ("val_mrr", "MRR"), ("val_ndcg_10", "NDCG@10")):
        assert rank_gains(row["ranks"], metric).mean() == pytest.approx(logged[name].dropna().iloc[-1], abs=1e-6)
    before = kept.read_bytes()
    ablation.run(root, recipe, ["full"], 1, kept)  # is kept: nothing runs
    assert kept.read_bytes() == before
    assert f"| {len(queries)} queries of" in ablation.table(recipe, kept).replace("validation window,", "|")


def test_a_failing_run_shows_its_command_and_what_went_wrong(small: tuple[Path, str]) -> None:
    with pytest.raises(SystemExit, match=r"(?s)fit\.py .*--seed_everything=3.*\nerror: there is no recipe 'nope'"):
        ablation.run_arm(["--recipe=nope"], small[1], 3, [], "queries")


# ---------------------------------------------------------------- the table


def row_of(arm: str, seed: int, ranks: list[int], recipe: str, **other: Any) -> dict[str, Any]:
    fixed = {"queries": "q", "queries_of_users": SIZES, "ranks": ranks}
    return {**ablation.key_of(arm, recipe, seed), **fixed, **other}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# Queries of a user are much alike: an interval over single queries would be half as wide as that over users.
SIZES = [2, 7, 3, 9, 4, 12, 5, 8, 6, 4, 7, 3]
ASKERS = np.repeat(np.arange(12), SIZES)
NOISE = np.random.default_rng(1)
FULL = [(1 + 15 * (ASKERS % 3) + NOISE.integers(0, 8, len(ASKERS))).tolist() for _ in range(2)]
OTHER = [(1 + 60 * (ASKERS % 2) + NOISE.integers(0, 60, len(ASKERS))).tolist() for _ in range(3)]


def test_differences_are_seed_by_seed_and_intervals_over_users(small: tuple[Path, str], tmp_path: Path) -> None:
    """Against loops over draws of users, seeds and queries."""
    recipe = small[1]
    rows = [row_of("full", seed, ranks, recipe) for seed, ranks in enumerate(FULL)]
    rows += [row_of("no_ids", seed, ranks, recipe) for seed, ranks in enumerate(OTHER)]  # a seed that full has not
    text = ablation.table(recipe, write_rows(tmp_path / "kept.jsonl", rows))
    cells = [part.strip() for part in next(line for line in text.splitlines() if "no_ids" in line).split("|")[1:-1]]
    queries = {user: np.flatnonzero(np.equal(ASKERS, user)) for user in range(len(SIZES))}
    for column, within in ((1, 10), (2, 100)):
        hits = [[rank <= within for rank in ranks] for ranks in OTHER]
        gaps = np.array(
            [
                [(b <= within) - (a <= within) for a, b in zip(*pair, strict=True)]
                for pair in zip(FULL, OTHER, strict=False)
            ]
        )
        for shown, values in ((cells[column], np.array(hits)), (cells[column + 3], gaps)):
            value, low, high = (float(number) for number in re.findall(r"[+-]?[\d.]+", shown))
            generator, means = np.random.default_rng(5), []
            for _ in range(4000):
                drawn = np.concatenate([queries[user] for user in generator.integers(0, len(SIZES), len(SIZES))])
                means.append(values[:, drawn].mean())
            assert value == pytest.approx(values.mean(), abs=6e-4)
            # Twelve users are few: shares have Wilson's interval, which lies nearer to one half than the draws'.
            ends = np.quantile(means, [0.025, 0.975])
            assert [low, high] == pytest.approx(ends, abs=0.25 * np.ptp(ends) + 0.02) and low < value < high
            assert 0.8 <= (high - low) / np.ptp(ends) <= 1.6
    by_seed = [np.mean(np.array(OTHER[k]) <= 100) - np.mean(np.array(FULL[k]) <= 100) for k in range(2)]
    assert cells[-1] == ", ".join(f"{value:+.3f}" for value in by_seed)
    assert "Seeds of an arm: 2 to 3." in text and "noise" not in text and f"{len(ASKERS)} queries of 12 users" in text


def test_one_seed_says_that_its_noise_is_not_told(small: tuple[Path, str], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "kept.jsonl", [row_of("full", 0, FULL[0], small[1])])
    assert "where there is one, the seed's noise is not in them" in ablation.table(small[1], path)


def test_runs_of_another_recipe_are_left_out(small: tuple[Path, str], tmp_path: Path) -> None:
    stale = row_of("no_ids", 0, OTHER[0], small[1], settings="old")
    path = write_rows(tmp_path / "kept.jsonl", [row_of("full", 0, FULL[0], small[1]), stale])
    assert "no_ids" not in ablation.table(small[1], path)
    changed = tmp_path / "changed.yaml"
    changed.write_text(Path(small[1]).read_text().replace("lr: 0.01", "lr: 0.02"))
    with pytest.raises(SystemExit, match="has no run of the recipe itself: run the arm full"):
        ablation.table(str(changed), path)


def test_runs_on_different_data_are_refused(small: tuple[Path, str], tmp_path: Path) -> None:
    rows = [row_of("full", 0, FULL[0], small[1]), row_of("no_ids", 0, OTHER[0], small[1], queries="other")]
    with pytest.raises(SystemExit, match="different data: keep each data set's in a file of its own"):
        ablation.table(small[1], write_rows(tmp_path / "kept.jsonl", rows))


def test_queries_are_known_again_by_who_what_and_when() -> None:
    def queries(users: list[int], items: list[int], times: list[int]) -> Queries:
        arrays = np.array(users, np.int32), np.array(items, np.int32), np.array(times, np.int64)
        return Queries.of(InteractionLog(*arrays, ["a", "b"], ["x", "y"]), np.arange(2))

    base = ablation.digest(queries([0, 1], [0, 1], [5, 6]))
    assert base == ablation.digest_of(["a", "b"], ["x", "y"], [5, 6])
    others = [queries([0, 0], [0, 1], [5, 6]), queries([0, 1], [1, 1], [5, 6]), queries([0, 1], [0, 1], [5, 7])]
    assert base not in {ablation.digest(each) for each in others}


def test_a_folder_without_ratings_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has neither u\.item nor items\.parquet: set root"):
        ablation.recipe_data(tmp_path, ablation.RECIPE, train_on_validation=False)


def test_a_recipe_that_is_not_there_and_a_folder_without_a_test(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no recipe movielens"):
        ablation.recipe_file("movielens")
    with pytest.raises(SystemExit, match=r"has no predictions/test\.parquet: give the folder of a two-tower run"):
        ablation.asked(tmp_path)
