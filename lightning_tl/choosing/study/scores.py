"""What a study's test runs say: scores with intervals, paired differences, and whether transfer helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import Cell, StudyPlan
from lightning_tl.choosing.study.study_folder import Outcome, StudyFolder
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.metrics.crossed_bootstrap import crossed_bootstrap
from lightning_tl.reports.against import PREDICTIONS, right_samples

LEVEL = 0.95
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
    """

    first: str
    second: str
    labels: int | None
    interval: BootstrapInterval
    corrected: BootstrapInterval
    samples: int

    @property
    def verdict(self) -> Verdict:
        """What is established with all comparisons in mind."""
        if self.corrected.low > 0:
            return "ahead"
        return "behind" if self.corrected.high < 0 else "undecided"

    @property
    def would_settle(self) -> int | None:
        """Test samples that would settle a difference of this size; None where it is settled, or none is seen.

        An interval's width falls with the root of the number of samples, as long as they come in blocks like these.
        """
        reach = (self.corrected.high - self.corrected.low) / 2
        if self.verdict != "undecided" or abs(self.interval.mean) < 1e-4:
            return None
        return int(np.ceil(self.samples * (reach / abs(self.interval.mean)) ** 2))


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
    tables = [right_samples(folder.run(cell) / PREDICTIONS) for cell in cells]
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


def _cells(plan: StudyPlan, chosen: Chosen, arm: str, size: int | None) -> list[Cell]:
    return [Cell(arm, size, draw, chosen.rates[arm, size]) for draw in range(plan.draws)]


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
    groups = [
        (a, b, size) for size in dict.fromkeys(size for _, size in plan.groups()) for a, b in _pairs(plan, chosen, size)
    ]
    level = 1 - (1 - LEVEL) / max(1, len(groups))
    found = []
    for first, second, size in groups:
        a, blocks = correct_table(folder, _cells(plan, chosen, first, size))
        b, _ = correct_table(folder, _cells(plan, chosen, second, size))
        gap = a - b
        # More draws for the far ends.
        wide = crossed_bootstrap(
            gap, blocks, draws=max(4_000, round(400 / (1 - level))), level=level, bounds=(-1.0, 1.0)
        )
        plain = crossed_bootstrap(gap, blocks, level=LEVEL, bounds=(-1.0, 1.0))
        found.append(Difference(first, second, size, plain, wide, gap.shape[1]))
    return found


def _pairs(plan: StudyPlan, chosen: Chosen, size: int | None) -> list[tuple[str, str]]:
    return list(combinations([arm.name for arm in plan.arms if (arm.name, size) in chosen.rates], 2))


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

    return Difference(gap.second, gap.first, gap.labels, turned(gap.interval), turned(gap.corrected), gap.samples)
