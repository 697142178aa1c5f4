"""The folder of a study: its plan, its runs, and what each finished one came to."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lightning_tl.choosing.study.kept_results import RESULTS, KeptResults, write_kept
from lightning_tl.choosing.study.measures import Measure, measure_facts, measure_of
from lightning_tl.choosing.study.outcome import Outcome, read_outcome
from lightning_tl.choosing.study.plan import Cell, StudyPlan
from lightning_tl.reports.against import PREDICTIONS
from lightning_tl.storage.partial_file import write_whole


class StudyFolder:
    """Reads and writes a study's folder; nothing in it is written half.

    Args:
        path: of the folder, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.recipes, self.runs = self.path / "recipes", self.path / "runs"
        self._outcomes, self._plan = self.path / "outcomes", self.path / "study.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; a process that is killed lets go.

        Raises:
            ValueError: another process works on this study.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                who = file.read().strip() or "another process"
                raise ValueError(
                    f"{who} works on the study {self.path}; wait for it, or take another --study"
                ) from None
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()}")
            file.flush()
            yield

    def open(self, plan: StudyPlan) -> None:
        """Write the plan down, or find that it is the one that stands there.

        Raises:
            ValueError: the folder holds another study, or something else.
        """
        if not self._plan.is_file():
            others = [path.name for path in self.path.iterdir() if path.name != ".lock"]
            if others:
                raise ValueError(
                    f"{self.path} is no study and not empty (it has {sorted(others)[0]}); name another --study"
                )
            self.recipes.mkdir(parents=True, exist_ok=True)
            for arm in plan.arms:
                text = yaml.safe_dump(arm.recipe, sort_keys=False, allow_unicode=True)
                write_whole(self.recipes / f"{arm.name}.yaml", f"# An arm of a study: {arm.name}.\n{text}")
            write_whole(self._plan, json.dumps(plan.as_json(), indent=2) + "\n")
            return
        before = json.loads(self._plan.read_text(encoding="utf-8"))
        now = json.loads(json.dumps(plan.as_json()))
        for name in now:
            if before.get(name) != now[name]:
                was, is_ = _short(before.get(name)), _short(now[name])
                raise ValueError(
                    f"the study {self.path} has other {name} ({was}) than were asked for ({is_}); go on with the same, "
                    "or name another --study"
                )

    def plan(self) -> StudyPlan:
        """The plan that stands in the folder.

        Raises:
            ValueError: the folder holds no study.
        """
        if not self._plan.is_file():
            raise ValueError(f"{self.path} is no study: it has no study.json")
        return StudyPlan.from_json(self._plan.read_text(encoding="utf-8"))

    def run(self, cell: Cell) -> Path:
        """The run folder of a cell."""
        return self.runs / cell.key

    def outcome(self, cell: Cell) -> Outcome | None:
        """What a cell came to, or None where it did not finish."""
        path = self._outcome(cell)
        if not path.is_file():
            return None if self._kept is None else self._kept.outcome(cell)
        return Outcome.from_json(path.read_text(encoding="utf-8"))

    def tested(self, cell: Cell) -> bool:
        """Whether the run of a cell has its test scores."""
        run = self.run(cell)
        try:
            summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self._kept is not None and self._kept.samples(cell) is not None
        return "test" in summary and (run / PREDICTIONS).is_file()

    def measure(self, cell: Cell) -> Measure:
        """What the run of a cell is scored by.

        Raises:
            ValueError: it learned what no measure is for.
        """
        return measure_of(self._facts(cell))

    def _facts(self, cell: Cell) -> dict[str, Any]:
        run = self.run(cell)
        return self._kept.facts if self._kept is not None and not run.is_dir() else measure_facts(run)

    def samples(self, cell: Cell) -> pd.DataFrame:
        """The test of the run of a cell, as `Measure.samples` has it.

        Raises:
            ValueError: it has no test predictions.
        """
        kept = None if self._kept is None or self._predicted(cell) else self._kept.samples(cell)
        return self.measure(cell).samples(self.run(cell)) if kept is None else kept

    def baselines(self, cell: Cell) -> dict[str, pd.DataFrame]:
        """What simple baselines got in the test of the run of a cell, by name, where it measured some."""
        if self._kept is not None and not self._predicted(cell):
            return self._kept.baselines()
        return self.measure(cell).baselines(self.run(cell))

    def _predicted(self, cell: Cell) -> bool:
        return (self.run(cell) / PREDICTIONS).is_file()

    def keep_results(self, plan: StudyPlan, baselines: Mapping[str, pd.DataFrame]) -> None:
        """Write what the report needs of every run into two small tables, so that run folders may be removed.

        Args:
            plan: of the study.
            baselines: what simple baselines got, by name.
        """
        if not self.runs.is_dir():
            return  # they are all that there is
        found: dict[Cell, tuple[Outcome, pd.DataFrame | None]] = {}
        facts: dict[str, Any] = {}
        for arm, size in plan.groups():
            for rate in plan.rates(arm):
                for draw in range(plan.draws):
                    cell = Cell(arm.name, size, draw, rate)
                    if (outcome := self.outcome(cell)) is None:
                        continue
                    found[cell] = outcome, self.samples(cell) if self.tested(cell) else None
                    facts = self._facts(cell) if self.tested(cell) else facts
        write_kept(self.path, found, facts, baselines)

    @functools.cached_property
    def _kept(self) -> KeptResults | None:
        return KeptResults(self.path) if (self.path / RESULTS).is_file() else None

    def keep(self, cell: Cell, error: str | None) -> Outcome:
        """Note that the run of a cell ended, with what it left.

        Args:
            cell: the run.
            error: why it failed; None where it did not.
        """
        outcome = Outcome(error=error) if error is not None else read_outcome(self.run(cell))
        path = self._outcome(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(outcome)) + "\n")
        return outcome

    def clear(self, run: Path) -> None:
        """Remove what an unfinished run left, so that it can begin anew."""
        if not run.is_relative_to(self.path):
            raise ValueError(f"{run} is not in the study {self.path}")
        shutil.rmtree(run, ignore_errors=True)

    def log(self, key: str) -> Path:
        """The file that takes what a run prints."""
        return self.path / "logs" / f"{key}.txt"

    def check_data(self, digest: str) -> None:
        """Refuse test samples other than those of the study's first run.

        Args:
            digest: of the test samples; empty where a run has none.

        Raises:
            ValueError: they are others.
        """
        path = self.path / "test_samples.txt"
        if not path.is_file():
            write_whole(path, digest)
        elif (before := path.read_text(encoding="utf-8")) != digest:
            raise ValueError(
                f"the data have changed since the study {self.path} began: its test samples were {before[:12]}…, and "
                f"are {digest[:12]}… now; begin another --study"
            )

    def number(self, name: str, make: Any) -> float:
        """A figure that is measured once and kept, such as the time of a step.

        Args:
            name: of the figure.
            make: measures it.
        """
        path = self.path / "measured" / f"{name}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(make()))
        return float(json.loads(path.read_text(encoding="utf-8")))

    def _outcome(self, cell: Cell) -> Path:
        return self._outcomes / f"{cell.key}.json"


def finished(run: Path) -> bool:
    """Whether a run trained to its end: what it cost is written last."""
    try:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "training" in summary.get("seconds", {})


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(str(part.get("name", part)) for part in value)
    text = json.dumps(value)
    return text if len(text) < 120 else f"{text[:117]}…"
