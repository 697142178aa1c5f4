"""Ranks of queries, as benchmarks keep them: of which queries they are, and what they say with intervals over users."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from datamodules import MovieLensDataModule
from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import mean_over_users, paired_difference

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = "movielens_two_tower"
Rows = list[dict[str, Any]]  # kept rankings of the same queries
METRICS = ("HR@10", "HR@100", "MRR")


def recipe_file(recipe: str) -> Path:
    """The file of a recipe's name, or the file itself."""
    path = Path(recipe) if recipe.endswith(".yaml") else ROOT / "recipes" / f"{recipe}.yaml"
    if not path.is_file():
        sys.exit(f"there is no recipe {recipe}: give the name of one in recipes/, or a YAML file")
    return path


def recipe_data(root: Path, recipe: str, train_on_validation: bool) -> MovieLensDataModule:
    """The recipe's data, read."""
    own = yaml.safe_load(recipe_file(recipe).read_text())["data"].get("init_args", {})
    own |= {"cache": Path(own["cache"])} if own.get("cache") else {}
    data = MovieLensDataModule(**{**own, "root": root, "train_on_validation": train_on_validation})
    try:
        data.setup()
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
    return data


def digest_of(users: Iterable[str], items: Iterable[str], times: Iterable[int]) -> str:
    """Of queries, to know them again."""
    lines = (f"{user} {item} {time}\n" for user, item, time in zip(users, items, times, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def digest(queries: Queries) -> str:
    """Of a log's queries: who took what and when."""
    log = queries.log
    users, items = (log.user_ids[k] for k in queries.users), (log.item_ids[k] for k in queries.targets)
    return digest_of(users, items, queries.times.tolist())


def asked(run: Path) -> tuple[str, pd.DataFrame]:
    """What a run folder's test asked, and the table of its ranks."""
    path = run / "predictions" / "test.parquet"
    if not path.is_file():
        sys.exit(f"{run} has no predictions/test.parquet: give the folder of a two-tower run that was tested")
    table = pd.read_parquet(path)
    return digest_of(table["user"], table["item"], table["time"]), table


def ranks_row(users: Sequence[Any], ranks: NDArray[np.int64]) -> dict[str, Any]:
    """What is kept of a ranking: the queries lie user by user."""
    return {"queries_of_users": [len(list(own)) for _, own in itertools.groupby(users)], "ranks": ranks.tolist()}


def stacked(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks and numbers of users of all queries of all rows, [rows × queries] both."""
    users = [np.repeat(np.arange(len(row["queries_of_users"])), row["queries_of_users"]) for row in rows]
    return np.concatenate([np.array(row["ranks"]) for row in rows]), np.concatenate(users)


def score(rows: Rows, metric: str) -> dict[str, float | None]:
    """The mean over rows and queries, with its interval over users."""
    ranks, users = stacked(rows)
    return mean_over_users(rank_gains(ranks, metric), users, draws=2000, seed=0)


def difference(rows: Rows, others: Rows, metric: str) -> dict[str, float | None]:
    """Of rows and others in pairs: how much better the first are, averaged over pairs, with its interval over users."""
    ranks, users = stacked(rows)
    return paired_difference(ranks, stacked(others)[0], users, metric)


def cell(found: dict[str, float | None], sign: str = "") -> str:
    ends = "" if found["low"] is None else f" [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"
    return f"{found['value']:{sign}.3f}{ends}"
