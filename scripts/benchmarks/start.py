"""How long the command line takes to say that something is misspelt, against `import lightning.pytorch` alone.

    python scripts/benchmarks/start.py

Medians of `--repeats` starts of each command, taken in turn so that a busy minute falls on all of them. Wall seconds
are what a user waits; the ratio of CPU seconds is the one to compare between machines and days.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

FIT = str(Path(__file__).resolve().parents[1] / "fit.py")
IMPORT = "import lightning.pytorch"
COMMANDS = {
    IMPORT: ["-c", IMPORT],
    "--help": [FIT, "--help"],
    "misspelt command": [FIT, "fitt"],
    "misspelt recipe": [FIT, "--recipe", "satelite_vit"],
    "misspelt field": [FIT, "--recipe", "satellite_vit", "--trainer.max_epoch=3"],
    "misspelt field of a model": [FIT, "--recipe", "text_linear_probe", "--model.lrr=3"],
    "misspelt field of data": [FIT, "--recipe", "two_tower", "--data.batchsize=3"],
    "all fields": [FIT, "fit", "--help"],
}


def start(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one start."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    if repeats < 1:
        raise SystemExit(f"--repeats must be at least 1, got {repeats}")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, arguments in COMMANDS.items():
            taken[name].append(start(arguments))
    medians = {name: [statistics.median(part) for part in zip(*times, strict=True)] for name, times in taken.items()}
    print(f"{'':<28}{'wall s':>8}{'CPU s':>8}{'wall ratio':>12}{'CPU ratio':>11}")
    for name, (wall, cpu) in medians.items():
        ratios = wall / medians[IMPORT][0], cpu / medians[IMPORT][1]
        print(f"{name:<28}{wall:>8.2f}{cpu:>8.2f}{ratios[0]:>12.2f}{ratios[1]:>11.2f}")


if __name__ == "__main__":
    main()
