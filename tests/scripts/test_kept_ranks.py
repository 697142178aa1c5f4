"""Ranks that benchmarks keep: how their queries are known again, and what is no folder of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lightning_tl.contracts.interactions import InteractionLog, Queries

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import kept_ranks


def test_queries_are_known_again_by_who_what_and_when() -> None:
    def queries(users: list[int], items: list[int], times: list[int]) -> Queries:
        arrays = np.array(users, np.int32), np.array(items, np.int32), np.array(times, np.int64)
        return Queries.of(InteractionLog(*arrays, ["a", "b"], ["x", "y"]), np.arange(2))

    base = kept_ranks.digest(queries([0, 1], [0, 1], [5, 6]))
    assert base == kept_ranks.digest_of(["a", "b"], ["x", "y"], [5, 6])
    others = [queries([0, 0], [0, 1], [5, 6]), queries([0, 1], [1, 1], [5, 6]), queries([0, 1], [0, 1], [5, 7])]
    assert base not in {kept_ranks.digest(each) for each in others}


def test_a_folder_without_ratings_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has neither u\.item nor items\.parquet: set root"):
        kept_ranks.recipe_data(tmp_path, kept_ranks.RECIPE, train_on_validation=False)


def test_a_recipe_that_is_not_there_and_a_folder_without_a_test(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no recipe movielens"):
        kept_ranks.recipe_file("movielens")
    with pytest.raises(SystemExit, match=r"has no predictions/test\.parquet: give the folder of a two-tower run"):
        kept_ranks.asked(tmp_path)
