"""`compare`: several strategies on a recipe's data, under one budget, with a report."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import torch
import yaml

from lightning_tl.choosing.study import compare
from lightning_tl.choosing.study.plan import labels_text
from lightning_tl.choosing.study.processes import Command, Processes, Runner
from lightning_tl.choosing.study.report import write_report
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.cli.commands.compare_options import CompareOptions
from lightning_tl.cli.commands.compare_plan import plan_of
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.process.preloaded import PRELOADED
from lightning_tl.cli.reading.source_data import SHIPPED, source_fields
from lightning_tl.embedding.ray_cluster import check_ray_is_installed
from lightning_tl.reports.summary import short_path


def run_compare(wanted: CompareOptions, command: Command) -> None:
    """Run the study, or go on with it, and write its report.

    Args:
        wanted: from `read_compare_options`.
        command: runs a command line; each run of the study is one, in a process of its own.

    Raises:
        UserError: the recipe has no model whose strategy could be exchanged.
        ValueError: see `lightning_tl.choosing.study.compare`.
    """
    folder = StudyFolder(wanted.study)
    plan = folder.plan() if wanted.recipe is None else plan_of(wanted, wanted.recipe)
    source = _source(wanted, folder)
    processes = _runner(wanted, command, folder)
    chosen = compare(plan, folder, processes, _say, wanted.skip_unfit, wanted.report_only, wanted.retry, source)
    page, sentences = write_report(plan, folder, chosen)
    for group, why in {
        **chosen.unfit,
        **{f"{arm}, {labels_text(n)}": w for (arm, n), w in chosen.failed.items()},
    }.items():
        print(f"without a result: {group}: {why}")
    print("\n" + "\n\n".join(textwrap.fill(sentence, 100) for sentence in sentences))
    print(f"\nreport: {short_path(page)}")


def _runner(wanted: CompareOptions, command: Command, folder: StudyFolder) -> Runner:
    """Processes of this machine, or a Ray cluster."""
    if wanted.ray is None or wanted.report_only:
        return Processes(command, _gpus(wanted.fields), PRELOADED)
    check_ray_is_installed()
    from lightning_tl.choosing.study.ray_tasks import RayTasks

    cpu = "--trainer.accelerator=cpu" in wanted.fields
    return RayTasks(command, wanted.ray, cpu, folder.path / ".lock", PRELOADED)


def _source(wanted: CompareOptions, folder: StudyFolder) -> Source | None:
    """The source, which must be there and of the kind that the backbone reads."""
    if wanted.source is None:
        return None
    path = Path(wanted.source).expanduser()
    there = wanted.source != SHIPPED and path.exists()
    source = Source(str(path.absolute()) if there else wanted.source, wanted.source_fields)
    if wanted.report_only and source != Source.noted(folder):
        raise UserError(
            f"--report runs nothing, and what was left of the source {wanted.source} was not measured: leave --report "
            "out to measure it, or --source to read the report as it is"
        )
    data = None if wanted.recipe is None else yaml.safe_load(wanted.recipe.read_text(encoding="utf-8")).get("data")
    if data is not None:
        source_fields(wanted.source, "Text" in str(data.get("class_path") if isinstance(data, dict) else data))
    return source


def _gpus(fields: tuple[str, ...]) -> list[str]:
    """One run on each GPU that is visible, unless the user says where to run."""
    if any(field.startswith(("--trainer.accelerator=", "--trainer.devices=")) for field in fields):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu] if torch.cuda.device_count() > 1 else []
    return [str(k) for k in range(torch.cuda.device_count())] if torch.cuda.device_count() > 1 else []


def _say(line: str) -> None:
    print(line, flush=True)
