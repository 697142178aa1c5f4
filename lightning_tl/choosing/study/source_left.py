"""`SourceLeft`: how much of the source ability each arm of a study left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.choosing.study.plan import Cell, StudyPlan, labels_text
from lightning_tl.choosing.study.processes import Runner
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.storage.partial_file import write_whole


@dataclass(frozen=True)
class SourceLeft:
    """What was found of the first draw of an arm at a number of labels.

    Args:
        arm: its name.
        labels: for each class; None for all.
        found: as `forget` writes it, or with the one key `error`.
    """

    arm: str
    labels: int | None
    found: dict[str, Any]

    @property
    def error(self) -> str | None:
        """Why nothing was found; None where something was."""
        return self.found.get("error")

    @property
    def unchanged(self) -> bool:
        """Whether the run left every weight of its backbone as it was."""
        return bool(self.found.get("unchanged"))

    @property
    def measured(self) -> bool:
        """Whether there are scores."""
        return self.error is None and not self.unchanged

    def interval(self, name: str) -> BootstrapInterval:
        """`before`, `after` or `change`."""
        return BootstrapInterval(**self.found[name])

    @property
    def alignment(self) -> dict[str, float]:
        """Centred kernel alignment by layer; not a number where a layer does not tell samples apart."""
        return {name: float("nan") if v is None else float(v) for name, v in self.found["alignment"].items()}


Rates = Mapping[tuple[str, int | None], float | None]
"""Of each arm and number of labels the rate that a study chose."""


def try_source(folder: StudyFolder, processes: Runner, source: Source, trials: Sequence[Path]) -> None:
    """Read the source once with a trial run, before anything long begins.

    Args:
        folder: of the study.
        processes: run the command.
        source: the samples.
        trials: run folders of adapted arms; the first that is there is taken.

    Raises:
        ValueError: it cannot be read, or is not for this backbone.
    """
    there = [run for run in trials if run.is_dir()][:1]
    if not there or _found(source.kept(folder, "trial")):
        return
    for _, error in processes.run([source.job(folder, there[0], "trial")]):
        if error is not None:
            raise ValueError(f"the source {source.place} does not serve: {error}")


def measure_source(
    plan: StudyPlan,
    folder: StudyFolder,
    processes: Runner,
    rates: Rates,
    source: Source,
    say: Callable[[str], None],
    retry: bool = False,
) -> None:
    """Measure the first draw of every arm that began with pretrained weights, at each number of labels.

    Args:
        plan: of the study.
        folder: with its runs; what was measured before is kept there.
        processes: run the commands.
        rates: that the study chose.
        source: the samples.
        say: tells a line of progress.
        retry: measure again what failed before.
    """
    source.note(folder)
    cells = []
    for cell in _first_draws(plan, rates):
        before = _found(source.kept(folder, cell.key))
        if plan.arm(cell.arm).pretrained and (before is None or (retry and "error" in before)):
            cells.append(cell)
    jobs = [source.job(folder, folder.run(cell), cell.key) for cell in cells]
    for done, (number, error) in enumerate(processes.run(jobs), 1):
        cell = cells[number]
        if error is not None:
            write_whole(source.kept(folder, cell.key), json.dumps({"error": error}) + "\n")
        what = f"what {cell.arm} left of the source, {labels_text(cell.labels)} {plan.unit}"
        say(f"[{done} of {len(jobs)}] {what}{f': failed: {error}' if error else ''}")


def source_left(plan: StudyPlan, folder: StudyFolder, rates: Rates, source: Source) -> list[SourceLeft]:
    """What was found so far, few labels first.

    Args:
        plan: of the study.
        folder: with what was measured.
        rates: that the study chose.
        source: the samples.

    Raises:
        ValueError: the source has changed between two measurements, so that arms cannot be told apart by it.
    """
    found = []
    for cell in _first_draws(plan, rates):
        kept = _found(source.kept(folder, cell.key))
        if kept is not None:
            found.append(SourceLeft(cell.arm, cell.labels, kept))
    digests = {left.found["source_sha256"]: left.arm for left in found if left.error is None}
    if len(digests) > 1:
        raise ValueError(
            f"the source {source.place} had other samples for {' than for '.join(digests.values())}, so it has "
            f"changed since: remove {folder.path / 'forgetting' / source.digest} to measure all of them again"
        )
    return found


def _found(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _first_draws(plan: StudyPlan, rates: Rates) -> list[Cell]:
    groups = [(arm.name, size) for arm, size in plan.groups()]
    return [Cell(*group, 0, rates[group]) for group in groups if group in rates]
