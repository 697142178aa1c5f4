"""summary.json for programs and summary.txt for people."""

from __future__ import annotations

import json
import os
import re
import textwrap
from pathlib import Path
from typing import Any

from lightning_tl.partial_file import write_whole
from lightning_tl.reports.data_text import MOST_CLASSES, data_lines, samples_of_classes
from lightning_tl.reports.display_text import cells, padded, short_name, short_names
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.reports.retrieval_text import retrieval_sections

_INDENT = 2
_LABEL = 15  # characters of the first column
_COLUMNS = 80
_LEAST_NAME = 12  # cells of a class name, which are always there


def read_summary(run_folder: Path) -> dict[str, Any]:
    """What earlier parts of the run wrote to summary.json; empty when there is none or it is damaged."""
    try:
        summary = json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(summary, dict):
        return {}
    if isinstance(model := summary.get("model"), dict) and {"folder", "load"} <= model.keys():
        model["load"] = _from_here(str(model["load"]), run_folder / str(model["folder"]))
    return summary


def _from_here(load: str, folder: Path) -> str:
    """The line that loads an export, with the folder where it lies now: the run may have been moved or copied."""
    end = re.escape(folder.name)
    return re.sub(rf'"(local-dir:)?[^"]*/{end}"', lambda found: f'"{found[1] or ""}{folder}"', load, count=1)


def write_summary(run_folder: Path, summary: dict[str, Any]) -> str:
    """Write summary.json and summary.txt.

    Returns:
        the text.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    text = summary_text(summary, run_folder)
    for name, content in (("summary.json", json.dumps(summary, indent=2) + "\n"), ("summary.txt", text)):
        write_whole(run_folder / name, content)
    return text


def summary_text(summary: dict[str, Any], run_folder: Path) -> str:
    """The summary as plain text, at most 80 columns except for paths and commands, which stay whole."""
    test, sections = summary.get("test"), []
    if test and test.get("task") == "retrieval":
        sections += retrieval_sections(test)
    elif test:
        sections.append(_scores(test))
        if test.get("classes"):
            sections.append(_class_table(test["classes"], samples_of_classes(summary.get("data"), "train")))
        if test.get("values"):
            sections.append(_value_table(test["values"]))
    sections.append([f"  {note}" for note in summary.get("notes", ())])
    sections.append([*_data(summary), *_costs(summary)])
    sections.append(_where(summary, run_folder))
    return "\n" + "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def short_path(path: Path) -> str:
    """The path as seen from the current folder, when it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else os.fspath(absolute)


def _line(label: str, *values: str) -> str:
    return (" " * _INDENT + label.ljust(_LABEL) + "".join(values)).rstrip()


def _scores(test: dict[str, Any]) -> list[str]:
    lines = [f"Test on {test['samples']:,} samples", ""]
    if "accuracy" in test:
        interval, note = test["interval"], ""
        if interval is not None:
            note = f"   {interval['level']:.0%} interval {interval['low']:.3f} to {interval['high']:.3f}"
            note += f" ({_method(interval)})"
        lines.append(_line("accuracy", f"{test['accuracy']:.3f}", note))
        if test["task"] == "several labels":
            lines.append(_line("", "the share of right labels, mean over samples"))
        lines.append(_line("macro-F1", f"{test['macro_f1']:.3f}", _interval(test.get("macro_f1_interval"))))
        if "micro_f1" in test:
            lines.append(_line("micro-F1", f"{test['micro_f1']:.3f}", _interval(test.get("micro_f1_interval"))))
        if "calibration_error" in test:
            error = f"{test['calibration_error']:.3f}"
            lines.append(_line("calibration", error, "   expected error of the confidence"))
        if "test_temperature" in test.get("logged", {}):
            lines.append(_line("temperature", f"{test['logged']['test_temperature']:g}", "   of the confidence"))
    elif not test.get("values"):
        lines += [_line(name, f"{value:.4f}") for name, value in test.get("logged", {}).items()]
    elif (interval := test["values"][0]["mae_interval"]) is not None:
        lines.append(f"  95% intervals in brackets ({_method(interval)})")
    return lines


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
                lines.append(_line(f"  {label}", "not defined: all true values are equal"))
                continue
            interval = value[f"{name}_interval"]
            ends = "" if interval is None else f"   [{interval['low']:.4g}, {interval['high']:.4g}]"
            lines.append(_line(f"  {label}", f"{value[name]:.4g}", ends))
    return lines


def _method(interval: dict[str, Any]) -> str:
    return f"{interval.get('method', 'bootstrap')} over {interval['blocks']:,} {interval['over']}"


def _class_table(classes: list[dict[str, Any]], trained: dict[str, int]) -> list[str]:
    """A line for each class: scores, samples of the test, and of training where these are few classes."""
    ends = any(c.get("f1_interval") for c in classes)
    counted = bool(trained) and len(classes) <= MOST_CLASSES
    head = f"recall  precision     F1       n{'    train' if counted else ''}{'  95% of F1' if ends else ''}"
    most = _COLUMNS - len(f"  {'':2}{head}{'   ' if ends else ''}")  # an interval is wider than its heading
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


def _data(summary: dict[str, Any]) -> list[str]:
    lines = [_line(label, text) for label, text in data_lines(summary.get("data"), _COLUMNS - _INDENT - _LABEL)]
    return [*lines, *(_line("", text) for text in summary.get("limits") or ())] if lines else []


def _costs(summary: dict[str, Any]) -> list[str]:
    lines = []
    if parameters := summary.get("parameters"):
        lines.append(_line("parameters", f"{parameters['trainable']:,} trainable of {parameters['total']:,}"))
    if seconds := summary.get("seconds"):
        total = duration_text(sum(seconds.values()))
        parts = ", ".join(f"{name} {duration_text(value)}" for name, value in seconds.items())
        lines.append(_line("time", total, f" ({parts})" if len(seconds) > 1 else ""))
    if memory := summary.get("peak_memory_bytes"):
        on_gpu = summary.get("peak_gpu_memory_bytes")
        note = f", on the GPU {memory_text(on_gpu)}" if on_gpu else ""
        processes = summary.get("processes", 1)
        note += f" (the first of {processes} processes)" if processes > 1 else ""
        lines.append(_line("peak memory", memory_text(memory), note))
    return lines


def _where(summary: dict[str, Any], run_folder: Path) -> list[str]:
    lines = [_line("run folder", short_path(Path(summary.get("run", run_folder))))]
    if "run" in summary:
        lines.append(_line("this test", short_path(run_folder)))
    if model := summary.get("model"):
        folder = run_folder / model["folder"]
        lines.append(_line("model", short_path(folder)))
        lines += [_line("", part) for part in textwrap.wrap(model.get("is") or "", _COLUMNS - _INDENT - _LABEL)]
        lines += [_line("load it with"), f"    {model['load'].replace(os.fspath(folder), short_path(folder))}"]
    if index := summary.get("index"):
        recall = f"{index['kind']}, recall@100 {index['recall_at_100']:.3f}"
        lines.append(_line("index", short_path(run_folder / index["folder"]), f"   {recall}"))
    if command := summary.get("next_command"):
        lines += [_line("next"), f"    {command}"]
    return lines
