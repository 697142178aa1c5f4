"""summary.json for programs and summary.txt for people."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_tl.reports.data_text import data_lines
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.reports.score_text import COLUMNS, INDENT, LABEL, line, score_sections, temperature_text
from lightning_tl.storage.partial_file import write_whole

Sections = Callable[[dict[str, Any]], list[list[str]]]


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


def write_summary(run_folder: Path, summary: dict[str, Any], tested: Sections = score_sections) -> str:
    """Write summary.json and summary.txt.

    Args:
        run_folder: where both files go.
        summary: what is known of the run, as JSON has it.
        tested: gives the lines on the test, in sections, for a summary that has one.

    Returns:
        the text.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    text = summary_text(summary, run_folder, tested)
    for name, content in (("summary.json", json.dumps(summary, indent=2) + "\n"), ("summary.txt", text)):
        write_whole(run_folder / name, content)
    return text


def summary_text(summary: dict[str, Any], run_folder: Path, tested: Sections = score_sections) -> str:
    """The summary as plain text, at most 80 columns except for paths and commands, which stay whole."""
    sections = tested(summary) if summary.get("test") else _untested(summary)
    sections.append([f"  {note}" for note in summary.get("notes", ())])
    sections.append([*_data(summary), *_costs(summary)])
    sections.append(_where(summary, run_folder))
    return "\n" + "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _untested(summary: dict[str, Any]) -> list[list[str]]:
    fitted = summary.get("calibration") or {}
    return [[line("calibration", temperature_text(fitted))]] if "temperature" in fitted else []


def short_path(path: Path) -> str:
    """The path as seen from the current folder, when it lies below it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else os.fspath(absolute)


def _data(summary: dict[str, Any]) -> list[str]:
    lines = [line(label, text) for label, text in data_lines(summary.get("data"), COLUMNS - INDENT - LABEL)]
    return [*lines, *(line("", text) for text in summary.get("limits") or ())] if lines else []


def _costs(summary: dict[str, Any]) -> list[str]:
    lines = []
    if parameters := summary.get("parameters"):
        lines.append(line("parameters", f"{parameters['trainable']:,} trainable of {parameters['total']:,}"))
    if seconds := summary.get("seconds"):
        total = duration_text(sum(seconds.values()))
        parts = ", ".join(f"{name} {duration_text(value)}" for name, value in seconds.items())
        lines.append(line("time", total, f" ({parts})" if len(seconds) > 1 else ""))
    if memory := summary.get("peak_memory_bytes"):
        on_gpu = summary.get("peak_gpu_memory_bytes")
        note = f", on the GPU {memory_text(on_gpu)}" if on_gpu else ""
        processes = summary.get("processes", 1)
        note += f" (the first of {processes} processes)" if processes > 1 else ""
        lines.append(line("peak memory", memory_text(memory), note))
    return lines


def _where(summary: dict[str, Any], run_folder: Path) -> list[str]:
    lines = [line("run folder", short_path(Path(summary.get("run", run_folder))))]
    if "run" in summary:
        lines.append(line("this test", short_path(run_folder)))
    if model := summary.get("model"):
        folder = run_folder / model["folder"]
        lines.append(line("model", short_path(folder)))
        lines += [line("", part) for part in textwrap.wrap(model.get("is") or "", COLUMNS - INDENT - LABEL)]
        lines += [line("load it with"), f"    {model['load'].replace(os.fspath(folder), short_path(folder))}"]
    if index := summary.get("index"):
        recall = f"{index['kind']}, recall@100 {index['recall_at_100']:.3f}"
        lines.append(line("index", short_path(run_folder / index["folder"]), f"   {recall}"))
    if command := summary.get("next_command"):
        lines += [line("next"), f"    {command}"]
    return lines
