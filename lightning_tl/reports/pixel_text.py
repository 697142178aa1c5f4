"""The test of masks as lines of text."""

from __future__ import annotations

from typing import Any

from lightning_tl.reports.against import against_lines
from lightning_tl.reports.display_text import cells, padded, short_names

INDENT, LABEL, COLUMNS = 2, 15, 80
_LEAST_NAME = 12
_HEAD = "  IoU  95% interval  recall  precision       pixels"


def pixel_sections(test: dict[str, Any]) -> list[list[str]]:
    """The sections of a summary that tell what was found in a test of masks."""
    return [_scores(test), _classes(test["pixel_classes"])]


def _scores(test: dict[str, Any]) -> list[str]:
    lines = [f"Test on {test['samples']:,} images, {test['pixels']:,} pixels with a label", ""]
    for label, name in (("mean IoU", "miou"), ("right pixels", "pixel_accuracy")):
        value, interval = test[name], test.get(f"{name}_interval")
        told = "not defined: no pixel has a label" if value is None else f"{value:.3f}"
        if interval is not None and value is not None:
            told += f"   {interval['level']:.0%} interval {interval['low']:.3f} to {interval['high']:.3f}"
            told += f" (bootstrap over {interval['blocks']:,} {_over(interval)})"
        lines.append(" " * INDENT + label.ljust(LABEL) + told)
    for number, text in enumerate(against_lines(test["against"]) if test.get("against") else ()):
        lines.append(" " * INDENT + ("" if number else "against").ljust(LABEL) + text)
    return lines


def _over(interval: dict[str, Any]) -> str:
    return "blocks" if interval["over"] == "blocks" else "images"


def _classes(classes: list[dict[str, Any]]) -> list[str]:
    names = short_names([one["name"] for one in classes], max(_LEAST_NAME, COLUMNS - len(_HEAD) - INDENT - 2))
    width = max(cells(name) for name in ("class", *names))
    lines = [f"  {padded('class', width)}  {_HEAD}"]
    for name, one in zip(names, classes, strict=True):
        if one["iou"] is None:
            lines.append(f"  {padded(name, width)}  neither there nor predicted")
            continue
        interval = one["iou_interval"]
        ends = "" if interval is None else f"{interval['low']:.2f} to {interval['high']:.2f}"
        lines.append(
            f"  {padded(name, width)}  {one['iou']:5.3f}  {ends:>12}  {one['recall']:6.3f}  {one['precision']:9.3f}"
            f"  {one['pixels']:11,}"
        )
    return lines
