"""Runs a study: trial, search, draws, and at the end the test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.outcome import Outcome, mean_best, read_outcome
from lightning_tl.choosing.study.plan import Cell, StudyPlan, labels_text
from lightning_tl.choosing.study.processes import Job, Runner
from lightning_tl.choosing.study.search import first_rates, search_rate
from lightning_tl.choosing.study.source import Source
from lightning_tl.choosing.study.source_left import measure_source, try_source
from lightning_tl.choosing.study.study_folder import StudyFolder, finished
from lightning_tl.choosing.study.trials import Trials

_SHORT, _LONG = 2, 12  # steps of the two trials whose difference times a step


@dataclass
class Chosen:
    """What a study came to.

    Args:
        rates: for each arm and number of labels the rate that was chosen, None where there was nothing to search.
        draws: those of which each has a test; all where they are not named.
        searches: the mean of the monitored validation metric of each rate that was tried.
        failed: why an arm has no result at a number of labels.
        unfit: why an arm was left out.
    """

    rates: dict[tuple[str, int | None], float | None] = field(default_factory=dict)
    draws: dict[tuple[str, int | None], tuple[int, ...]] = field(default_factory=dict)
    searches: dict[tuple[str, int | None], dict[float, float]] = field(default_factory=dict)
    failed: dict[tuple[str, int | None], str] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)

    def cells(self, plan: StudyPlan) -> list[Cell]:
        """The runs that are tested."""
        return [Cell(*group, draw, rate) for group, rate in self.rates.items() for draw in self.draws_of(plan, *group)]

    def draws_of(self, plan: StudyPlan, arm: str, size: int | None) -> tuple[int, ...]:
        """Numbers of the draws of an arm at a number of labels that are tested."""
        return self.draws.get((arm, size), tuple(range(plan.draws)))


def compare(
    plan: StudyPlan,
    folder: StudyFolder,
    processes: Runner,
    say: Callable[[str], None],
    skip_unfit: bool = False,
    report_only: bool = False,
    retry: bool = False,
    source: Source | None = None,
) -> Chosen:
    """Run what of a study has not been run.

    Args:
        plan: what is to be found out.
        folder: of the study; what finished in it is not run again.
        processes: run the commands.
        say: tells a line of progress.
        skip_unfit: leave out a strategy that does not fit, and go on with the others.
        report_only: run nothing; what has been tested counts, with however many draws.
        retry: run again what failed before.
        source: what the backbone knew before, of which the runs may have left less; None where nobody asks.

    Raises:
        ValueError: the folder holds another study or another process works on it; a strategy does not fit the recipe,
            or a budget is less than one of its steps; the data are not those that the study began with; the source
            cannot be read.
    """
    with folder.held():
        folder.open(plan)
        study = _Study(plan, folder, processes, say, retry)
        if report_only:
            return study.found()
        study.try_arms(skip_unfit)
        if source is not None:
            adapted = [arm.name for arm in plan.arms if arm.pretrained and arm.search]
            try_source(folder, processes, source, [folder.path / "trials" / f"{name}-{_SHORT}" for name in adapted])
        study.search()
        study.draw()
        study.test()
        if source is not None:
            measure_source(plan, folder, processes, study.chosen.rates, source, say, retry)
    return study.chosen


class _Study:
    def __init__(
        self, plan: StudyPlan, folder: StudyFolder, processes: Runner, say: Callable[[str], None], retry: bool
    ) -> None:
        self.plan, self.folder, self.processes, self.say, self.retry = plan, folder, processes, say, retry
        self._tried: set[Cell] = set()
        self.chosen, self.trials = Chosen(), Trials(plan)
        self.step_s: dict[str, float] = {}

    def found(self) -> Chosen:
        """What has been tested so far, with the rates that have the most tested draws."""
        for arm, size in self.plan.groups():
            group = (arm.name, size)
            rates = self.plan.rates(arm)
            draws = range(self.plan.draws)
            tested = {r: tuple(d for d in draws if self.folder.tested(Cell(*group, d, r))) for r in rates}
            rate = max(tested, key=lambda rate: len(tested[rate]))
            if tested[rate]:
                self.chosen.rates[group], self.chosen.draws[group] = rate, tested[rate]
            if arm.search:
                tried = {r: self._outcomes(arm, size, r) for r in rates if r is not None}
                self.chosen.searches[group] = {r: mean_best(found) for r, found in tried.items() if found}
        return self.chosen

    # ---------------------------------------------------------------- whether strategies fit

    def try_arms(self, skip_unfit: bool) -> None:
        for arm in self.plan.arms:
            try:
                self.step_s[arm.name] = self._trial(arm)
            except ValueError as error:
                if not skip_unfit:
                    raise ValueError(
                        f"{arm.name} does not fit: {error}; leave it out of --strategies, or add --skip_unfit"
                    ) from None
                self.chosen.unfit[arm.name] = str(error)
                self.say(f"{arm.name} is left out: {error}")
        if len(self.chosen.unfit) == len(self.plan.arms):
            raise ValueError(f"no strategy fits; the first: {next(iter(self.chosen.unfit.values()))}")

    def _trial(self, arm: Arm) -> float:
        """Seconds of a step, 0 where nobody asks; raises where the arm cannot run."""
        if not arm.search:  # costs little: its first run tells
            cell = Cell(arm.name, self._sizes()[0], 0, None)
            self.run([cell])
            outcome = self.folder.outcome(cell)
            if outcome is not None and outcome.error is not None:
                raise ValueError(outcome.error)
            self.trials.check(arm, self.folder.run(cell))
            return 0.0
        short = self.folder.number(f"{arm.name}-{_SHORT}-steps", lambda: self._timed(arm, _SHORT))
        self.trials.check(arm, self._trial_run(arm, _SHORT))
        if self.plan.budget.kind != "time":
            return 0.0
        long = self.folder.number(f"{arm.name}-{_LONG}-steps", lambda: self._timed(arm, _LONG))
        step_s = max((long - short) / (_LONG - _SHORT), 1e-6)
        self.plan.budget.steps(step_s)
        return step_s

    def _timed(self, arm: Arm, steps: int) -> float:
        cell = Cell(arm.name, self._sizes()[-1], 0, None)
        run = self._trial_run(arm, steps)
        # Whatever an earlier trial left is in the way of the run that is made now.
        self.folder.clear(run)
        options = [f"--trainer.max_steps={steps}", "--trainer.max_epochs=-1", "--trainer.limit_val_batches=1"]
        recipe = self.plan.recipe_command(cell, self.folder.recipes, run)
        job = Job(
            [*recipe, *options, "--unfreezing=null", "--early_stopping=null"], self.folder.log(f"trials/{run.name}")
        )
        for _, error in self.processes.run([job]):
            if error is not None:
                raise ValueError(error)
        return read_outcome(run).seconds

    def _trial_run(self, arm: Arm, steps: int) -> Path:
        return self.folder.path / "trials" / f"{arm.name}-{steps}"

    def _sizes(self) -> list[int | None]:
        return sorted(self.plan.labels, key=lambda size: (size is None, size or 0))

    # ---------------------------------------------------------------- runs

    def groups(self) -> list[tuple[Arm, int | None]]:
        return [(arm, size) for arm, size in self.plan.groups() if arm.name not in self.chosen.unfit]

    def run(self, cells: Sequence[Cell]) -> None:
        """Run those that have no outcome yet; interrupted ones go on where they were."""
        waiting = []
        for cell in dict.fromkeys(cells):
            outcome = self.folder.outcome(cell)
            if outcome is not None and (outcome.error is None or not self.retry or cell in self._tried):
                continue
            self._tried.add(cell)
            if finished(self.folder.run(cell)):
                self._keep(cell, None, 0.0)
            else:
                waiting.append(cell)
        began = {cell: time.monotonic() for cell in waiting}
        jobs = [Job(self._command(cell), self.folder.log(cell.key)) for cell in waiting]
        for done, (number, error) in enumerate(self.processes.run(jobs), 1):
            self.say(f"[{done} of {len(jobs)}] {self._keep(waiting[number], error, began[waiting[number]])}")

    def _keep(self, cell: Cell, error: str | None, began: float) -> str:
        outcome = self.folder.keep(cell, error)
        rate = "" if cell.rate is None else f", rate {cell.rate:g}"
        labels = "" if self.plan.labels == (None,) else f"{labels_text(cell.labels)} labels a class, "
        what = f"{cell.arm}, {labels}draw {cell.draw}{rate}"
        if outcome.error is not None:
            return f"{what}: failed: {outcome.error}"
        self.folder.check_data(outcome.data)
        value = "" if math.isnan(outcome.best) else f"{outcome.monitor} {outcome.best:.4f}, "
        return f"{what}: {value}{outcome.seconds:.0f} s"

    def _command(self, cell: Cell) -> list[str]:
        run = self.folder.run(cell)
        if (run / "checkpoints" / "last.ckpt").is_file():
            return ["fit", "--resume", str(run), "--test=false"]
        self.folder.clear(run)
        return self.plan.command(cell, self.folder.recipes, run, self.step_s.get(cell.arm, 0.0))

    # ---------------------------------------------------------------- search, draws, test

    def _search_cells(self, arm: Arm, size: int | None, rates: Sequence[float]) -> list[Cell]:
        return [Cell(arm.name, size, draw, rate) for rate in rates for draw in range(self.plan.search_draws)]

    def search(self) -> None:
        self.run(
            [
                cell
                for arm, size in self.groups()
                if arm.search
                for cell in self._search_cells(arm, size, first_rates(self.plan.rates(arm), self.plan.search))
            ]
        )
        for arm, size in self.groups():
            group = (arm.name, size)
            if not arm.search:
                self.chosen.rates[group] = None
                continue
            grid = [rate for rate in self.plan.rates(arm) if rate is not None]
            best, found = search_rate(grid, self.plan.search, lambda rates, a=arm, s=size: self._losses(a, s, rates))  # type: ignore[misc]
            self.chosen.searches[group] = {rate: mean_best(self._outcomes(arm, size, rate)) for rate in sorted(found)}
            if best is None:
                errors = [self.folder.outcome(cell) for cell in self._search_cells(arm, size, list(found))]
                told = [outcome.error for outcome in errors if outcome is not None and outcome.error is not None]
                self.chosen.failed[group] = told[0] if told else "no run had a monitored metric that is a number"
            else:
                self.chosen.rates[group] = best

    def _losses(self, arm: Arm, size: int | None, rates: Sequence[float]) -> Mapping[float, float]:
        self.run(self._search_cells(arm, size, rates))
        return {rate: float(np.mean([found.loss for found in self._outcomes(arm, size, rate)])) for rate in rates}

    def _outcomes(self, arm: Arm, size: int | None, rate: float) -> list[Outcome]:
        found = [self.folder.outcome(cell) for cell in self._search_cells(arm, size, [rate])]
        return [outcome for outcome in found if outcome is not None]

    def draw(self) -> None:
        self.run(self.chosen.cells(self.plan))
        for group, rate in list(self.chosen.rates.items()):
            outcomes = [self.folder.outcome(Cell(*group, draw, rate)) for draw in range(self.plan.draws)]
            failed = [outcome.error for outcome in outcomes if outcome is not None and outcome.error is not None]
            if failed:
                self.chosen.failed[group] = str(failed[0])
                del self.chosen.rates[group]

    def test(self) -> None:
        """Score the chosen runs, when every rate is chosen."""
        cells = [cell for cell in self.chosen.cells(self.plan) if not self.folder.tested(cell)]
        jobs = [
            Job(
                ["test", "--run", str(self.folder.run(cell)), *_devices(self.plan)], self.folder.log(f"{cell.key}/test")
            )
            for cell in cells
        ]
        for done, (number, error) in enumerate(self.processes.run(jobs), 1):
            cell = cells[number]
            self.say(f"[{done} of {len(jobs)}] test of {cell.key}{f' failed: {error}' if error else ''}")
            if error is not None:
                self.chosen.failed[cell.arm, cell.labels] = error
                self.chosen.rates.pop((cell.arm, cell.labels), None)


def _devices(plan: StudyPlan) -> list[str]:
    return [option for option in plan.options if option.startswith(("--trainer.accelerator", "--trainer.devices"))]
