"""What a run was trained on, in lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_tl.reports.display_text import short_name, wrapped

MOST_CLASSES = 20  # in a table with a column of samples; of more, the smallest and the largest are named
_NAME = 24  # cells of a class name


def samples_of_classes(data: Mapping[str, Any] | None, split: str) -> dict[str, int]:
    """How many samples of each class a split has, by class name; empty where it is not known."""
    return dict(((data or {}).get("splits") or {}).get(split, {}).get("classes") or {})


def data_lines(data: Mapping[str, Any] | None, width: int) -> list[tuple[str, str]]:
    """Labels, and what to print behind them: sizes of the splits, and what was left out or cut where anything was.

    Args:
        data: `splits` (for each its `samples`, and of each of its `classes` how many), `dropped` (how many, by
            reason) and `cut` (texts that are longer than the model reads); each may be missing.
        width: in cells, of what stands behind a label.
    """
    data = data or {}
    lines = [*_splits(data.get("splits") or {}), *_classes(samples_of_classes(data, "train"))]
    left_out = [f"{count:,}: {reason}" for reason, count in (data.get("dropped") or {}).items() if count]
    lines += [("left out" if number == 0 else "", text) for number, text in enumerate(left_out)]
    if cut := data.get("cut"):
        what = "text that is" if cut == 1 else "texts that are"
        lines.append(("cut", f"{cut:,} {what} longer than the model reads"))
    return [
        (label if number == 0 else "", part)
        for label, text in lines
        for number, part in enumerate(wrapped(text, width))
    ]


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    sizes = {name: int(split["samples"]) for name, split in splits.items() if split.get("samples")}
    if "train" not in sizes:
        return []
    others = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if name in ("validation", "test"))
    return [("trained on", f"{sizes['train']:,}{f' ({others})' if others else ''}")]


def _classes(trained: Mapping[str, int]) -> list[tuple[str, str]]:
    """Of many classes, which have the fewest and the most samples."""
    if len(trained) <= MOST_CLASSES:
        return []
    least, most = (choose(trained, key=lambda name: trained[name]) for choose in (min, max))
    ends = " to ".join(f"{trained[name]:,} ({short_name(name, _NAME)})" for name in (least, most))
    return [("", f"{len(trained):,} classes of {ends} samples")]
