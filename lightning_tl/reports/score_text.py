"""The test of a classifier, or of predicted values, as lines of text."""

from __future__ import annotations

import textwrap
from typing import Any

from lightning_tl.reports.against import against_lines
from lightning_tl.reports.data_text import MOST_CLASSES, samples_of_classes
from lightning_tl.reports.display_text import cells, padded, short_name, short_names
from lightning_tl.reports.pixel_text import pixel_sections

INDENT = 2
LABEL = 15  # characters of the first column
COLUMNS = 80
_LEAST_NAME = 12  # cells of a class name, which are always there


def score_sections(summary: dict[str, Any]) -> list[list[str]]:
    """The sections of a summary that tell what was found in its test."""
    test = summary["test"]
    if "pixel_classes" in test:
        return pixel_sections(test)
    sections = [_scores(test, summary.get("calibration") or {})]
    if test.get("classes"):
        sections.append(_class_table(test["classes"], samples_of_classes(summary.get("data"), "train")))
    if test.get("values"):
        sections.append(_value_table(test["values"]))
    return sections


def line(label: str, *values: str) -> str:
    """A label in the first column, and what is said of it."""
    return (" " * INDENT + label.ljust(LABEL) + "".join(values)).rstrip()


def _scores(test: dict[str, Any], calibration: dict[str, Any]) -> list[str]:
    lines = [f"Test on {test['samples']:,} samples", ""]
    if "accuracy" in test:
        interval, note = test["interval"], ""
        if interval is not None:
            note = f"   {interval['level']:.0%} interval {interval['low']:.3f} to {interval['high']:.3f}"
            note += f" ({_method(interval)})"
        lines.append(line("accuracy", f"{test['accuracy']:.3f}", note))
        if test["task"] == "several labels":
            lines.append(line("", "the share of right labels, mean over samples"))
        lines.append(line("macro-F1", f"{test['macro_f1']:.3f}", _interval(test.get("macro_f1_interval"))))
        if "micro_f1" in test:
            lines.append(line("micro-F1", f"{test['micro_f1']:.3f}", _interval(test.get("micro_f1_interval"))))
        if "calibration_error" in test:
            lines += _calibration(test, calibration)
        if "test_temperature" in test.get("logged", {}):
            lines.append(line("temperature", f"{test['logged']['test_temperature']:g}", "   of the confidence"))
        if compared := test.get("against"):
            lines += [line("against" if not k else "", text) for k, text in enumerate(against_lines(compared))]
    elif not test.get("values"):
        lines += [line(name, f"{value:.4f}") for name, value in test.get("logged", {}).items()]
    elif (interval := test["values"][0]["mae_interval"]) is not None:
        lines.append(f"  95% intervals in brackets ({_method(interval)})")
    return lines


def _calibration(test: dict[str, Any], fitted: dict[str, Any]) -> list[str]:
    """The error as trained, and at the temperature or why there is none."""
    what = "probabilities" if test["task"] == "several labels" else "confidence"
    lines = [line("calibration", f"{test['calibration_error']:.3f}", f"   expected error of the {what}")]
    if "calibrated_error" in test:
        lines.append(line("", f"{test['calibrated_error']:.3f}", f"   at {temperature_text(fitted)}"))
    elif why := fitted.get("why"):
        lines += [line("", part) for part in textwrap.wrap(f"no temperature: {why}", COLUMNS - INDENT - LABEL)]
    return lines


def temperature_text(fitted: dict[str, Any]) -> str:
    """A temperature, and what it was fitted on."""
    return f"temperature {fitted['temperature']:.3g}, fitted on {fitted['samples']:,} validation samples"


def _interval(interval: dict[str, Any] | None) -> str:
    if interval is None:
        return ""
    return f"   {interval['level']:.0%} interval {interval['low']:.3f} to {interval['high']:.3f}"


def _value_table(values: list[dict[str, Any]]) -> list[str]:
    lines = []
    for value in values:
        lines.append(
            f"  {short_name(value['name'], 60)}   (true values: mean {value['mean']:.4g}, deviation {value['std']:.4g})"
        )
        for name, label in (("mae", "MAE"), ("rmse", "RMSE"), ("r2", "R²")):
            if value[name] is None:
                lines.append(line(f"  {label}", "not defined: all true values are equal"))
                continue
            interval = value[f"{name}_interval"]
            ends = "" if interval is None else f"   [{interval['low']:.4g}, {interval['high']:.4g}]"
            lines.append(line(f"  {label}", f"{value[name]:.4g}", ends))
    return lines


def _method(interval: dict[str, Any]) -> str:
    return f"{interval.get('method', 'bootstrap')} over {interval['blocks']:,} {interval['over']}"


def _class_table(classes: list[dict[str, Any]], trained: dict[str, int]) -> list[str]:
    """A line for each class: scores, samples of the test, and of training where these are few classes."""
    ends = any(c.get("f1_interval") for c in classes)
    counted = bool(trained) and len(classes) <= MOST_CLASSES
    head = f"recall  precision     F1       n{'    train' if counted else ''}{'  95% of F1' if ends else ''}"
    most = COLUMNS - len(f"  {'':2}{head}{'   ' if ends else ''}")  # an interval is wider than its heading
    names = short_names([c["name"] for c in classes], max(_LEAST_NAME, most))
    width = max(cells(name) for name in ("class", *names))
    lines = [f"  {padded('class', width)}  {head}"]
    for name, c in zip(names, classes, strict=True):
        scores = f"{c['recall']:6.3f}  {c['precision']:9.3f}  {c['f1']:5.3f}  {c['support']:6,}"
        if counted:
            scores += f"  {trained.get(c['name'], 0):7,}"
        if interval := c.get("f1_interval"):
            scores += f"  {interval['low']:.2f} to {interval['high']:.2f}"
        lines.append(f"  {padded(name, width)}  {scores}")
    return lines
