"""A run's test beside another run's on the same samples: what is ahead, and whether transfer helped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_tl.metrics.block_bootstrap import bootstrap_difference

PREDICTIONS = Path("predictions") / "test.parquet"
_FROM_SCRATCH = "FromScratch"  # the strategy whose runs say what pretraining is worth


def right_samples(path: Path) -> pd.DataFrame:
    """Whether each sample of a file of test predictions is right, by name and in their order.

    Args:
        path: `predictions/test.parquet` of a run.

    Returns:
        columns right and, where samples come in blocks, block. Of several labels all must be right.

    Raises:
        ValueError: it has no predicted classes.
    """
    columns = pd.read_parquet(path)
    if not {"label", "predicted", "id"} <= set(columns) or pd.api.types.is_numeric_dtype(columns["predicted"]):
        raise ValueError(f"{path} has no predicted classes, so none can be right")
    right = [_same(a, b) for a, b in zip(columns["label"], columns["predicted"], strict=True)]
    found = pd.DataFrame({"right": right}, index=columns["id"])
    if "block" in columns:
        found["block"] = columns["block"].to_numpy()
    return found.sort_index(kind="stable")


def image_scores(path: Path) -> pd.DataFrame | None:
    """The mean IoU of each image of a file of a test of masks, by name and in their order; None of another test.

    Args:
        path: `predictions/test.parquet` of a run.

    Returns:
        columns right, in 0…1, and, where images come in blocks, block; images without a known pixel are left out.
    """
    columns = pd.read_parquet(path)
    if not {"id", "miou", "confusion"} <= set(columns):
        return None
    columns = columns[columns["miou"].notna()]
    found = pd.DataFrame({"right": columns["miou"].to_numpy(dtype=float)}, index=columns["id"])
    if "block" in columns:
        found["block"] = columns["block"].to_numpy()
    return found.sort_index(kind="stable")


def judged_samples(path: Path) -> pd.DataFrame:
    """How right each sample of a file of test predictions is: 1 or 0, or of masks the mean IoU of each image."""
    found = image_scores(path)
    return right_samples(path) if found is None else found


def _same(label: Any, predicted: Any) -> bool:
    if isinstance(label, str):
        return bool(label == predicted)
    return set(label) == set(predicted)


def against(run: Path, other: Path, strategy: str) -> dict[str, Any]:
    """The paired difference of two runs' shares of right test samples, or of masks mean IoU of test images.

    Args:
        run: the folder of this run, with its test predictions.
        other: that of the other one.
        strategy: name of this run's class.

    Returns:
        run, difference, low, high, level, samples, verdict, and whether it is about transfer; or run and why there is
        no comparison.
    """
    if not (other / PREDICTIONS).is_file():
        return {"run": str(other), "why": f"it has no {PREDICTIONS}"}
    mine, theirs = judged_samples(run / PREDICTIONS), judged_samples(other / PREDICTIONS)
    if not mine.index.equals(theirs.index):
        common = len(mine.index.intersection(theirs.index))
        why = f"it was tested on other samples: {common:,} of {len(mine):,} here and {len(theirs):,} there are the same"
        return {"run": str(other), "why": why}
    blocks = mine["block"].to_numpy() if "block" in mine else None
    first, second = (table["right"].to_numpy(dtype=float) for table in (mine, theirs))
    gap = bootstrap_difference(first, second, blocks)
    verdict = "ahead" if gap.low > 0 else "behind" if gap.high < 0 else "undecided"
    return {
        "run": str(other),
        "difference": gap.mean,
        "low": gap.low,
        "high": gap.high,
        "level": gap.level,
        "samples": gap.samples,
        "verdict": verdict,
        "transfer": _strategy_of(other) == _FROM_SCRATCH != strategy,
    }


def _strategy_of(run: Path) -> str:
    try:
        described = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return str(described["model"]["class"]).rpartition(".")[2]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def against_lines(found: dict[str, Any]) -> list[str]:
    """What is found, in words: the difference, and the verdict.

    Args:
        found: from `against`.
    """
    if "why" in found:
        return [f"no comparison with {found['run']}: {found['why']}"]
    ends = f"{found['level']:.0%} interval {found['low']:+.3f} to {found['high']:+.3f}"
    words = {"ahead": "ahead of it", "behind": "behind it", "undecided": "which is ahead is not established"}
    if found["transfer"]:
        words = {
            "ahead": "transfer helps",
            "behind": "transfer hurts: from scratch is ahead",
            "undecided": "whether transfer helps is not established",
        }
    return [f"{found['difference']:+.3f}   {ends}", words[found["verdict"]], str(found["run"])]
