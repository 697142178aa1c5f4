"""Every strategy on the shipped reviews with 100, 500, 4,500 and all labels, beside a TF-IDF logistic regression.

    python scripts/benchmarks/text_strategies.py run                       # departments, eight draws of the labels
    python scripts/benchmarks/text_strategies.py run --target rating
    python scripts/benchmarks/text_strategies.py run --arms all --labels 4500 --draws 1
    python scripts/benchmarks/text_strategies.py run --arms progressive fine_tune lora linear_probe tfidf --labels all
    python scripts/benchmarks/text_strategies.py table
    python scripts/benchmarks/text_strategies.py strategies                # 4,500 labels; or --labels all

Each run is a recipe's own command with fewer labels, in a process of its own; the rates are the recipes', which were
chosen on validation. A draw fixes which labels are used, and everything random: arms are compared draw by draw on the
same labels. The logistic regression chooses its penalty and its word groups on the same few validation texts. Finished
runs are kept in a JSON Lines file, so an interrupted `run` goes on where it was; changing a recipe measures anew.
Mixed precision with bfloat16 where the machine has it. Intervals are drawn over the labels' draws and over the
products that are reviewed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kept_runs import kept_run, read_runs
from numpy.typing import NDArray
from tfidf import run_tfidf

from datamodules import TextDataModule
from lightning_tl.embedding.precision import has_bf16
from lightning_tl.metrics.confusion_bootstrap import accuracy, mean_f1, quadratic_kappa, score_interval
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.reports.summary import read_summary

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = Path(__file__).resolve().parent / "text_strategies.jsonl"
MAIN = ("tfidf", "linear_probe", "lora", "fine_tune")  # of the table by number of labels
ALL = ("tfidf", "zero_shot", "linear_probe", "prompt_tuning", "lora", "lora_all_linear", "adapters", "progressive",
       "fine_tune", "from_scratch")  # fmt: skip
CHANGED = {  # arms that are another's recipe with other options; its rate was chosen like the recipes'
    "lora_all_linear": ("lora", ("--model.targets=all-linear", "--model.backbone_lr=1e-3")),
}
EPOCHS = {100: 12, 500: 6}  # of arms that train step by step; with more labels the recipe's own
SCORES = {"accuracy": accuracy, "macro-F1": mean_f1, "quadratic kappa": quadratic_kappa}


def options(arm: str, target: str, labels: int | None, draw: int, total: int) -> list[str]:
    """What is typed after `fit.py`."""
    recipe, changes = CHANGED.get(arm, (arm, ()))
    words = [f"--recipe=text_{recipe}", f"--data.label={target}", f"--data.seed={draw}", f"--seed_everything={draw}"]
    words += changes
    if labels is not None and arm != "zero_shot":
        words.append(f"--data.label_fraction={labels / total!r}")
    if arm not in ("zero_shot", "linear_probe") and labels in EPOCHS:
        words.append(f"--trainer.max_epochs={EPOCHS[labels]}")
    if has_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu")):
        words.append("--trainer.precision=bf16-mixed")
    return words


def run_recipe(words: list[str], data: TextDataModule) -> dict[str, Any]:
    """Train and test in a process of its own; costs, and the class predicted for every test text."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        fixed = ["--report.export=false", "--report.wrong_samples=1", "--trainer.enable_progress_bar=false"]
        command = [sys.executable, str(ROOT / "scripts" / "fit.py"), *words, *fixed, f"--run_folder={run}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        summary = read_summary(run)
        table = pd.read_parquet(run / "predictions" / "test.parquet").set_index("id")
        numbers = {name: number for number, name in enumerate(data.records.class_names)}
        predicted = [numbers[name] for name in table.loc[test_ids(data), "predicted"]]
        best = sorted((run / "checkpoints").glob("best*.ckpt"))
        return {
            "predicted": "".join(map(str, predicted)),
            "seconds": {name: round(value, 1) for name, value in summary["seconds"].items()},
            "peak_memory_bytes": summary["peak_memory_bytes"],
            "trainable": summary["parameters"]["trainable"],
            "checkpoint_bytes": best[-1].stat().st_size if best else None,
        }


def test_ids(data: TextDataModule) -> list[str]:
    return data.sample_ids(np.flatnonzero(data.records.splits == "test").tolist())


def key_of(arm: str, target: str, labels: int | None, draw: int, words: list[str]) -> dict[str, Any]:
    """What a kept run is found by."""
    file = ROOT / "recipes" / f"text_{CHANGED.get(arm, (arm,))[0]}.yaml"
    recipe = "" if arm == "tfidf" else file.read_text().split("\n", 1)[1]
    digest = hashlib.sha256((recipe + " ".join(words)).encode()).hexdigest()[:12]
    return {"arm": arm, "target": target, "labels": labels, "draw": draw, "settings": digest}


def run(target: str, arms: list[str], sizes: list[int | None], draws: int, path: Path) -> None:
    data = TextDataModule(label=target)
    total = int((data.records.splits == "train").sum())
    for draw, labels, arm in itertools.product(range(draws), sizes, arms):
        words = [] if arm == "tfidf" else options(arm, target, labels, draw, total)
        key = key_of(arm, target, labels, draw, words)
        row = kept_run(
            path,
            key,
            lambda: run_tfidf(labels, draw, data) if arm == "tfidf" else run_recipe(words, data),  # noqa: B023
        )
        hits = np.array(list(map(int, row["predicted"]))) == data.records.labels[data.records.splits == "test"]
        print(f"{target}, {labels or 'all'} labels, draw {draw}, {arm}: {hits.mean():.4f}", flush=True)


class Kept:
    """The kept runs of one target whose settings are still the recipes'."""

    def __init__(self, target: str, path: Path) -> None:
        self.data = TextDataModule(label=target)
        test = np.flatnonzero(self.data.records.splits == "test")
        self.truth, self.blocks = self.data.records.labels[test], self.data.blocks(test.tolist())
        self.classes, total = len(self.data.records.class_names), int((self.data.records.splits == "train").sum())
        self.rows: dict[tuple[str, int | None], dict[int, dict[str, Any]]] = {}
        for row in read_runs(path):
            arm, labels, draw = row["arm"], row["labels"], row["draw"]
            if row["target"] == target:
                words = [] if arm == "tfidf" else options(arm, target, labels, draw, total)
                if row["settings"] == key_of(arm, target, labels, draw, words)["settings"]:
                    self.rows.setdefault((arm, labels), {})[draw] = row

    def predicted(self, arm: str, labels: int | None, draws: list[int]) -> NDArray[np.int64]:
        """[draws, test texts]"""
        return np.array([list(map(int, self.rows[arm, labels][draw]["predicted"])) for draw in draws])

    def cell(self, score: str, arm: str, labels: int | None) -> str:
        """Mean and standard deviation over the draws."""
        draws = sorted(self.rows.get((arm, labels), {}))
        if not draws:
            return ""
        values = [self.score(score, arm, labels, draw) for draw in draws]
        spread = f" ± {np.std(values, ddof=1):.3f}" if len(draws) > 1 else ""
        return f"{np.mean(values):.3f}{spread} ({len(draws)})"

    def score(self, score: str, arm: str, labels: int | None, draw: int) -> float:
        cells = self.truth * self.classes + self.predicted(arm, labels, [draw])[0]
        counts = np.bincount(cells, minlength=self.classes**2).reshape(self.classes, -1).astype(np.float64)
        return float(SCORES[score](counts))

    def difference(self, score: str, arm: str, other: str, labels: int | None) -> str:
        draws = sorted(self.rows.get((arm, labels), {}).keys() & self.rows.get((other, labels), {}).keys())
        if not draws:
            return ""
        one, two = (self.predicted(name, labels, draws) for name in (arm, other))
        found = score_interval(SCORES[score], self.truth, one, two, self.classes, self.blocks)
        return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def table(target: str, path: Path) -> str:
    """By number of labels: scores, and differences from the logistic regression."""
    kept = Kept(target, path)
    sizes: tuple[int | None, ...] = (100, 500, 4500, None)
    scores = ["accuracy"] if target == "department" else list(SCORES)
    lines = []
    for score in scores:
        lines += [f"| {target}, {score} | {' | '.join(str(size or 'all') for size in sizes)} |", "|---|" + "---|" * 4]
        lines += [f"| {arm} | {' | '.join(kept.cell(score, arm, size) for size in sizes)} |" for arm in MAIN]
        for arm in MAIN[1:]:
            cells = [kept.difference(score, arm, "tfidf", size) for size in sizes]
            lines.append(f"| {arm} − tfidf | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def strategies(path: Path, labels: int | None) -> str:
    """All strategies with one number of labels."""
    kept = Kept("department", path)
    size = "all" if labels is None else f"{labels:,}"
    lines = [
        f"| {size} labels | accuracy | minus fine_tune | trainable | checkpoint | training | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ALL:
        rows = kept.rows.get((arm, labels))
        if not rows:
            continue
        row = rows[min(rows)]
        stored, memory = row.get("checkpoint_bytes"), row.get("peak_memory_bytes")
        cells = [
            arm,
            kept.cell("accuracy", arm, labels),
            kept.difference("accuracy", arm, "fine_tune", labels) if arm != "fine_tune" else "",
            f"{row['trainable']:,}",
            "" if stored is None else f"{stored / 1e6:.1f} MB",
            duration_text(row["seconds"]["training"]),
            "" if memory is None else memory_text(memory),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table", "strategies"))
    parser.add_argument("--target", choices=("department", "rating"), default="department")
    parser.add_argument("--arms", nargs="+", choices=(*ALL, "all"), default=list(MAIN))
    parser.add_argument("--labels", nargs="+", default=["100", "500", "4500"])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    sizes = [None if size == "all" else int(size) for size in given.labels]
    if given.command == "table":
        print(table(given.target, given.results))
    elif given.command == "strategies":
        print(strategies(given.results, sizes[-1]))
    else:
        run(given.target, list(ALL) if "all" in given.arms else given.arms, sizes, given.draws, given.results)


if __name__ == "__main__":
    main()
