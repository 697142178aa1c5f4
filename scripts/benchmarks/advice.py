"""What `advise` predicts of a run, beside what the run then takes: time and peak memory of every strategy.

    python scripts/benchmarks/advice.py --recipe satellite_fine_tune --fields trainer.max_epochs=6
    python scripts/benchmarks/advice.py --recipe text_fine_tune --fields data.label_fraction=0.1

Each strategy is tried as `advise` tries it, and then trained whole, one after the other in processes of their own. On a
machine that does other things meanwhile the ratios mean little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import yaml

from lightning_tl.choosing.advice.trials import Trials
from lightning_tl.choosing.study import arm_of
from lightning_tl.choosing.study.processes import Processes
from lightning_tl.cli import main
from lightning_tl.cli.reading.recipes import find_recipe
from lightning_tl.reports.resources import duration_text, memory_text


def measure(recipe: str, strategies: list[str], fields: list[str]) -> None:
    """Print a line for each strategy, and the medians."""
    base = yaml.safe_load(find_recipe(recipe).read_text(encoding="utf-8"))
    ratios: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), Processes(main, (), ["lightning_tl.cli.transfer_cli"]), fields, print)
        trials.count_labels(arm_of("fine_tune", base))
        for strategy in strategies:
            arm = arm_of(strategy, base)
            told = trials.cost(arm)
            summary = json.loads((trials.run(arm, "all", []) / "summary.json").read_text(encoding="utf-8"))
            seconds = summary["seconds"]["training"]
            memory = summary.get("peak_gpu_memory_bytes") or summary["peak_memory_bytes"]
            ratios.append((told.seconds / seconds, told.peak_bytes / memory))
            both = (
                (duration_text(told.seconds), duration_text(seconds)),
                (memory_text(told.peak_bytes), memory_text(memory)),
            )
            for (predicted, taken), ratio in zip(both, ratios[-1], strict=True):
                print(f"{strategy}: {predicted} predicted, {taken} taken ({ratio:.2f})", flush=True)
    time, space = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median of predicted by taken: time {time:.2f}, memory {space:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--strategies", nargs="+", default=["linear_probe", "lora", "fine_tune", "from_scratch"])
    parser.add_argument("--fields", nargs="*", default=[], help="of the recipe, as NAME=VALUE")
    options = parser.parse_args()
    measure(options.recipe, options.strategies, [f"--{field}" for field in options.fields])
