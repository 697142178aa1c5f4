"""What each part of the two-tower recipe is worth on MovieLens-100K: the recipe, and the recipe with one thing changed.

    python scripts/benchmarks/retrieval_ablation.py run --root ml-100k                     # every arm with three seeds
    python scripts/benchmarks/retrieval_ablation.py run --root ml-100k --arms full no_text --seeds 1
    python scripts/benchmarks/retrieval_ablation.py table

Each run is the recipe's own command with one thing changed, in a process of its own. Settings were chosen on the
validation window, and the arms are judged there, too: a run gets a folder whose ratings end where the recipe's test
window begins, so that none of the last is read, and what it calls test is the recipe's validation window. All arms have
the recipe's rates, epochs and sizes, which were chosen for the whole: a difference is what the recipe loses without a
part, not how good the best recipe without it is. A seed fixes the first weights, dropout and the order of the rows.

Finished runs are kept in a JSON Lines file with the rank of each query, so an interrupted `run` goes on where it was;
changing the recipe (`--recipe`, a name or a file) measures anew. Differences are those of the same queries and seed,
averaged over seeds; intervals draw whole users with all of their queries and seeds. The seeds are not drawn: what they
change is told seed by seed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from kept_runs import kept_run, read_runs
from numpy.typing import NDArray

from datamodules import MovieLensDataModule
from lightning_tl.contracts.interactions import Queries
from lightning_tl.reports.summary import read_summary
from lightning_tl.retrieval.judging.rank_gains import rank_gains
from lightning_tl.retrieval.judging.rank_report import mean_over_users, paired_difference

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = Path(__file__).resolve().parent / "retrieval_ablation.jsonl"
RECIPE = "movielens_two_tower"
Rows = list[dict[str, Any]]  # kept rankings of the same queries
METRICS, BY_SEED = ("HR@10", "HR@100", "MRR"), "HR@100"  # whose differences are told seed by seed
ARMS: dict[str, tuple[list[str], str]] = {  # what is changed, and in words
    "full": ([], "the recipe"),
    "no_log_q": (["--model.log_q=false"], "without log-q correction"),
    "no_masking": (["--model.mask_taken=false"], "taken items stay negatives"),
    "hard_negatives": (["--data.hard_negatives=1"], "with a hard negative of the same genre"),
    "no_uniform": (["--data.uniform_negatives=0"], "without uniform negatives"),
    "no_item_to_user": (["--model.item_to_user=0"], "without items finding users"),
    # A class inside another cannot be set to null by itself; what is not named here stays as the recipe has it.
    "no_text": (
        ['--model.items={"class_path": "lightning_tl.retrieval.ItemTower", "init_args": {"encoder": null}}'],
        "without text",
    ),
    "no_ids": (["--model.items.ids=false"], "without numbers of items"),
    "history_mean": (["--model.users=lightning_tl.retrieval.HistoryMean"], "histories as the mean of their items"),
}


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


def write_before_test(data: MovieLensDataModule, folder: Path) -> list[str]:
    """Copy the data without its test window; returns the options with which its validation window is tested."""
    start, end = data.windows.validation_start, data.windows.test_start
    if start is None or end is None or data.root is None:
        sys.exit("the recipe must part its events by time: set data.split to temporal")
    log = data.log.select(data.log.times < end)
    users, items = np.array(log.user_ids)[log.users], np.array(log.item_ids)[log.items]
    pd.DataFrame({"user": users, "item": items, "time": log.times}).to_parquet(folder / "data.parquet", index=False)
    for name in ("u.item", "u.user", "items.parquet", "users.parquet"):
        if (Path(data.root) / name).is_file():
            shutil.copyfile(Path(data.root) / name, folder / name)
    date = datetime.fromtimestamp(start, UTC).isoformat()
    windows = ["--data.validation=0.1", f"--data.test={date}", "--data.train_on_validation=true"]
    return [f"--data.root={folder}", f"--data.cache={folder / 'cache'}", *windows]


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


def run_arm(words: list[str], recipe: str, seed: int, windows: list[str], queries: str) -> dict[str, Any]:
    """Train and test in a process of its own; costs, and the rank of every query."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        fixed = ["--retrieval_report.export=false", "--trainer.enable_progress_bar=false", f"--run_folder={run}"]
        options = [f"--recipe={recipe_file(recipe)}", f"--seed_everything={seed}", *windows, *words, *fixed]
        command = [sys.executable, str(ROOT / "scripts" / "fit.py"), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        found, table = asked(run)
        if found != queries:
            sys.exit(f"the run ranked other queries ({len(table):,}) than those of the recipe's validation window")
        return {
            "seconds": read_summary(run)["seconds"],
            **ranks_row(table["user"].tolist(), table["rank_two_tower"].to_numpy()),
        }


def key_of(arm: str, recipe: str, seed: int) -> dict[str, Any]:
    """What a kept run is found by, besides its queries: all that it trains with, and not what is reported beside it."""
    trained = {**yaml.safe_load(recipe_file(recipe).read_text()), "retrieval_report": None}
    settings = yaml.safe_dump(trained) + " ".join(ARMS[arm][0])
    return {"arm": arm, "seed": seed, "settings": hashlib.sha256(settings.encode()).hexdigest()[:12]}


def run(root: Path, recipe: str, arms: list[str], seeds: int, path: Path) -> None:
    """Measure what is not kept yet."""
    data = recipe_data(root, recipe, train_on_validation=False)
    queries = digest(data.queries("validation"))
    with tempfile.TemporaryDirectory() as folder:
        windows = write_before_test(data, Path(folder))
        for seed, arm in itertools.product(range(seeds), arms):
            key, words = {**key_of(arm, recipe, seed), "queries": queries}, ARMS[arm][0]
            row = kept_run(path, key, lambda: run_arm(words, recipe, seed, windows, queries))  # noqa: B023
            print(f"{arm}, seed {seed}: HR@100 {rank_gains(row['ranks'], 'HR@100').mean():.4f}", flush=True)


def kept_arms(recipe: str, path: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The kept runs by arm and seed whose settings are still the recipe's; all of one set of queries."""
    rows = [row for row in read_runs(path) if row["arm"] in ARMS]
    rows = [row for row in rows if row["settings"] == key_of(row["arm"], recipe, row["seed"])["settings"]]
    if len({row["queries"] for row in rows}) > 1:
        sys.exit(f"{path} has runs on different data: keep each data set's in a file of its own (--results FILE)")
    return {arm: {row["seed"]: row for row in rows if row["arm"] == arm} for arm in ARMS}


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


def table(recipe: str, path: Path) -> str:
    """Every arm beside the recipe, in Markdown."""
    kept = kept_arms(recipe, path)
    full = kept["full"]
    if not full:
        sys.exit(f"{path} has no run of the recipe itself: run the arm full")
    _, users = stacked([next(iter(full.values()))])
    heads = [*METRICS, *(f"{metric} minus full" for metric in METRICS), f"{BY_SEED} minus full, by seed"]
    lines = [f"| validation window, {len(users):,} queries of {users.max() + 1:,} users | {' | '.join(heads)} |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for arm, (_, what) in ARMS.items():
        rows = [kept[arm][seed] for seed in sorted(kept[arm])]
        if not rows:
            continue
        cells = [f"{arm}: {what}", *(cell(score(rows, metric)) for metric in METRICS)]
        common = sorted(kept[arm].keys() & full.keys()) if arm != "full" else []
        first, second = ([side[seed] for seed in common] for side in (kept[arm], full))
        cells += [cell(difference(first, second, metric), "+") if common else "" for metric in METRICS]
        pairs = zip(first, second, strict=True)
        cells.append(", ".join(f"{difference([one], [two], BY_SEED)['value']:+.3f}" for one, two in pairs))
        lines.append(f"| {' | '.join(cells)} |")
    numbers = [len(rows) for rows in kept.values() if rows]
    seeds = f"{min(numbers)} to {max(numbers)}" if min(numbers) < max(numbers) else f"{numbers[0]}"
    noise = "; where there is one, the seed's noise is not in them" if min(numbers) == 1 else ""
    lines += ["", f"Seeds of an arm: {seeds}. 95% intervals over users, of the mean of these seeds{noise}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--root", type=Path, help="the unpacked folder ml-100k")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.command == "table":
        print(table(given.recipe, given.results))
    elif given.root is None or given.seeds < 1:
        parser.error(f"run needs --root FOLDER and --seeds of at least 1, got {given.root} and {given.seeds}")
    else:
        run(given.root, given.recipe, given.arms, given.seeds, given.results)


if __name__ == "__main__":
    main()
