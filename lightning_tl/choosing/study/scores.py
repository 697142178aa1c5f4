"""What a study's test runs say: scores with intervals, paired differences, and whether transfer helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.outcome import Outcome
from lightning_tl.choosing.study.plan import Cell, StudyPlan
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.metrics.crossed_bootstrap import crossed_bootstrap, crossed_bootstraps

LEVEL = 0.95
_BEYOND = 40  # draws of the bootstrap outside a corrected interval, by which its ends are known to some 2%
Verdict = Literal["ahead", "behind", "undecided"]


@dataclass(frozen=True)
class Score:
    """An arm at a number of labels.

    Args:
        arm: its name.
        labels: for each class; None for all.
        rate: that was chosen; None where there was nothing to search.
        accuracy: over draws and test samples.
        spread: standard deviation of the draws' accuracies; NaN for one draw.
        trainable: parameters.
        seconds: of training, median of the draws.
        peak_bytes: of memory, greatest of the draws.
        checkpoint_bytes: size of the best checkpoint.
        on_front: whether no other arm at this number of labels is both better and smaller in each of these costs.
    """

    arm: str
    labels: int | None
    rate: float | None
    accuracy: BootstrapInterval
    spread: float
    trainable: int
    seconds: float
    peak_bytes: int
    checkpoint_bytes: int
    on_front: bool = False


@dataclass(frozen=True)
class Difference:
    """Two arms at a number of labels, on the same draws and test samples.

    Args:
        first: an arm.
        second: the arm that it is compared with.
        labels: for each class; None for all.
        interval: of accuracy(first) - accuracy(second), at 95%.
        corrected: the same at the level that holds for all comparisons of the study together.
        samples: test samples.
        run_variance: of the mean, by the draws of the labels alone; 0 for one draw, of which it is not known.
    """

    first: str
    second: str
    labels: int | None
    interval: BootstrapInterval
    corrected: BootstrapInterval
    samples: int
    run_variance: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """What is established with all comparisons in mind."""
        if self.corrected.low > 0:
            return "ahead"
        return "behind" if self.corrected.high < 0 else "undecided"

    @property
    def would_settle(self) -> int | None:
        """Test samples that would settle a difference of this size, in blocks like these and with as many draws.

        None where it is settled, where none is seen, or where the draws alone differ too much for any number of samples
        to settle it. The part of the variance that comes from the samples falls with their number.
        """
        if self.verdict != "undecided" or abs(self.interval.mean) < 1e-4:
            return None
        normal = float(norm.ppf((1 + self.corrected.level) / 2))
        wanted = (self.interval.mean / normal) ** 2 - self.run_variance
        found = ((self.corrected.high - self.corrected.low) / 2 / normal) ** 2 - self.run_variance
        return int(np.ceil(self.samples * max(found, 0.0) / wanted)) if wanted > 0 else None


def correct_table(folder: StudyFolder, cells: Sequence[Cell]) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Whether each test sample is right in each run.

    Args:
        folder: of the study.
        cells: runs that were tested, of one arm and number of labels.

    Returns:
        [runs, n] 1 where it is, the samples by name; and their blocks [n], None where they have none.

    Raises:
        ValueError: the runs were tested on different samples.
    """
    tables = [folder.right(cell) for cell in cells]
    first = tables[0]
    for cell, table in zip(cells, tables, strict=True):
        if not table.index.equals(first.index):
            raise ValueError(f"the run {folder.run(cell)} was tested on other samples than {folder.run(cells[0])}")
    rows = np.stack([table["right"].to_numpy(dtype=np.float64) for table in tables])
    return rows, first["block"].to_numpy() if "block" in first else None


def scores(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> list[Score]:
    """The score of each arm at each number of labels, few labels first.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: what they came to.

    Raises:
        ValueError: no run has been tested.
    """
    found = []
    for arm, size in plan.groups():
        group = (arm.name, size)
        if group not in chosen.rates:
            continue
        cells = _cells(plan, chosen, *group)
        table, blocks = correct_table(folder, cells)
        outcomes = [outcome for cell in cells if (outcome := folder.outcome(cell)) is not None]
        found.append(_score(group, chosen.rates[group], table, blocks, outcomes))
    if not found:
        raise ValueError(f"no run of the study {folder.path} has been tested, so there is nothing to report")
    return [_with_front(score, [other for other in found if other.labels == score.labels]) for score in found]


def _cells(plan: StudyPlan, chosen: Chosen, arm: str, size: int | None, *others: str) -> list[Cell]:
    """Runs of an arm; of the draws that others have too, where they are named."""
    draws = [
        draw
        for draw in chosen.draws_of(plan, arm, size)
        if all(draw in chosen.draws_of(plan, other, size) for other in others)
    ]
    return [Cell(arm, size, draw, chosen.rates[arm, size]) for draw in draws]


def _score(
    group: tuple[str, int | None],
    rate: float | None,
    table: NDArray[np.float64],
    blocks: NDArray[Any] | None,
    outcomes: Sequence[Outcome],
) -> Score:
    by_draw = table.mean(1)
    return Score(
        *group,
        rate,
        crossed_bootstrap(table, blocks, bounds=(0.0, 1.0)),
        float(by_draw.std(ddof=1)) if len(by_draw) > 1 else float("nan"),
        outcomes[0].trainable,
        float(np.median([outcome.seconds for outcome in outcomes])),
        max(outcome.peak_bytes for outcome in outcomes),
        outcomes[0].checkpoint_bytes,
    )


def _costs(score: Score) -> tuple[float, ...]:
    return score.trainable, score.seconds, score.peak_bytes, score.checkpoint_bytes


def _with_front(score: Score, others: Sequence[Score]) -> Score:
    """Marked where nobody is at least as good and as cheap in everything, and better in something."""

    def beats(other: Score) -> bool:
        pairs = [
            (other.accuracy.mean, score.accuracy.mean),
            *((-a, -b) for a, b in zip(_costs(other), _costs(score), strict=True)),
        ]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    front = not any(beats(other) for other in others)
    return Score(**{**vars(score), "on_front": front})


def differences(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> list[Difference]:
    """Every pair of arms at each number of labels, in pairs of draws and test samples.

    Their corrected intervals hold together with 95%: each is at 1 - 0.05 / m for m comparisons (Bonferroni; Dunn 1961).
    """
    sizes = list(dict.fromkeys(size for _, size in plan.groups()))
    groups = {size: _pairs(plan, chosen, size) for size in sizes}
    level = 1 - (1 - LEVEL) / max(1, sum(map(len, groups.values())))
    found = []
    for size, pairs in groups.items():
        tables, blocks = [], None
        for first, second in pairs:
            a, blocks = correct_table(folder, _cells(plan, chosen, first, size, second))
            b, _ = correct_table(folder, _cells(plan, chosen, second, size, first))
            tables.append(a - b)
        draws = max(4_000, round(_BEYOND / (1 - level)))
        intervals = crossed_bootstraps(tables, blocks, draws, (LEVEL, level), bounds=(-1.0, 1.0))
        for (first, second), table, (plain, wide) in zip(pairs, tables, intervals, strict=True):
            of_runs = float(table.mean(1).var(ddof=1)) / len(table) if len(table) > 1 else 0.0
            found.append(Difference(first, second, size, plain, wide, table.shape[1], of_runs))
    return found


def _pairs(plan: StudyPlan, chosen: Chosen, size: int | None) -> list[tuple[str, str]]:
    there = [arm.name for arm in plan.arms if (arm.name, size) in chosen.rates]
    return [(a, b) for a, b in combinations(there, 2) if _cells(plan, chosen, a, size, b)]


def transfer(plan: StudyPlan, found: Sequence[Difference]) -> list[Difference]:
    """Of all differences those of a pretrained arm against one that starts from nothing, in this order."""
    pretrained = {arm.name: arm.pretrained for arm in plan.arms}
    kept = []
    for gap in found:
        if pretrained[gap.first] and not pretrained[gap.second]:
            kept.append(gap)
        elif pretrained[gap.second] and not pretrained[gap.first]:
            kept.append(_turned(gap))
    return kept


def _turned(gap: Difference) -> Difference:
    def turned(interval: BootstrapInterval) -> BootstrapInterval:
        return BootstrapInterval(
            **{**vars(interval), "mean": -interval.mean, "low": -interval.high, "high": -interval.low}
        )

    return replace(
        gap, first=gap.second, second=gap.first, interval=turned(gap.interval), corrected=turned(gap.corrected)
    )
