"""What arms and simple baselines of a study got in the test, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.plan import Cell, StudyPlan
from lightning_tl.choosing.study.study_folder import StudyFolder


@dataclass(frozen=True)
class Tested:
    """What an arm or a simple baseline got in the test.

    Args:
        draws: number of each run's draw; empty for a baseline, which has none.
        values: [runs, n] the measure of each test sample, the samples by name.
        blocks: [n] of the samples; None where they have none.
    """

    draws: tuple[int, ...]
    values: NDArray[np.float64]
    blocks: NDArray[Any] | None

    def minus(self, other: Tested) -> NDArray[np.float64]:
        """[runs, n] on the draws that both have; a baseline is the same in every draw."""
        if not other.draws:
            return self.values - other.values
        common = [draw for draw in self.draws if draw in other.draws]
        mine, theirs = ([side.draws.index(draw) for draw in common] for side in (self, other))
        gap: NDArray[np.float64] = self.values[mine] - other.values[theirs]
        return gap


def study_measure(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> Measure:
    """What the runs of a study are scored by.

    Raises:
        ValueError: no run has been tested.
    """
    for cell in chosen.cells(plan):
        return folder.measure(cell)
    raise ValueError(f"no run of the study {folder.path} has been tested, so there is nothing to report")


def tested(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> dict[tuple[str, int | None], Tested]:
    """What each arm got at each number of labels, few first, and behind them the simple baselines.

    Raises:
        ValueError: no run has been tested, or some on other samples than others.
    """
    groups = [(arm.name, size) for arm, size in plan.groups() if (arm.name, size) in chosen.rates]
    cells = {group: cells_of(plan, chosen, *group) for group in groups}
    tables = {cell: folder.samples(cell) for own in cells.values() for cell in own}
    for cell, table in tables.items():
        first = next(iter(tables))
        if not table.index.equals(tables[first].index):
            raise ValueError(f"the run {folder.run(cell)} was tested on other samples than {folder.run(first)}")
    found = {}
    for group, own in cells.items():
        found[group] = _together(tuple(cell.draw for cell in own), [tables[cell] for cell in own])
    for name, table in baseline_tables(plan, folder, chosen).items():
        found.setdefault((name, None), _together((), [table]))
    return found


def baseline_tables(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> dict[str, pd.DataFrame]:
    """What simple baselines got, by name: each as the first arm's test measured it that has it.

    They are no arms, but computed in each run's own test on the same samples, and learn from the same training data.
    """
    found: dict[str, pd.DataFrame] = {}
    for cell in chosen.cells(plan) if plan.baselines else ():
        if cell.draw == chosen.draws_of(plan, cell.arm, cell.labels)[0]:
            found = {**folder.baselines(cell), **found}
    arms = {arm.name for arm in plan.arms}
    return {f"{name} (baseline)" if name in arms else name: table for name, table in found.items()}


def _together(draws: tuple[int, ...], tables: Sequence[pd.DataFrame]) -> Tested:
    rows = np.stack([table["value"].to_numpy(dtype=np.float64) for table in tables])
    return Tested(draws, rows, tables[0]["block"].to_numpy() if "block" in tables[0] else None)


def cells_of(plan: StudyPlan, chosen: Chosen, arm: str, size: int | None) -> list[Cell]:
    """The tested runs of an arm at a number of labels."""
    return [Cell(arm, size, draw, chosen.rates[arm, size]) for draw in chosen.draws_of(plan, arm, size)]
