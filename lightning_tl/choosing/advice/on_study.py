"""The tree beside a finished study: where its advice was the best, and thresholds that would have been better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, pairwise

from lightning_tl.choosing.advice.decision import Facts, order_of
from lightning_tl.choosing.advice.thresholds import AdviceThresholds
from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import Cell, StudyPlan
from lightning_tl.choosing.study.scores import Score
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.choosing.study.tested import study_measure


@dataclass(frozen=True)
class Verdict:
    """The advice at a number of labels.

    Args:
        labels: of training samples, over all classes.
        advised: the first strategy in the tree's order that the study has.
        score: of the advised one.
        best: the strategy with the highest score.
        best_score: of that one.
    """

    labels: int
    advised: str
    score: float
    best: str
    best_score: float

    @property
    def regret(self) -> float:
        """How much less the advised one scores."""
        return self.best_score - self.score


def scores_by_labels(
    plan: StudyPlan, folder: StudyFolder, chosen: Chosen, found: Sequence[Score]
) -> dict[int, dict[str, float]]:
    """The score of each strategy at each number of training labels, over all classes; of errors, with a minus.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: what they came to.
        found: its scores.

    Raises:
        ValueError: the runs do not say how many labels they had.
    """
    sign = -1 if study_measure(plan, folder, chosen).lower_is_better else 1
    table: dict[int, dict[str, float]] = {}
    for score in found:
        if score.baseline:  # that the runs' own tests measured
            continue
        draw = chosen.draws_of(plan, score.arm, score.labels)[0]
        outcome = folder.outcome(Cell(score.arm, score.labels, draw, score.rate))
        if outcome is None or not outcome.samples:
            raise ValueError(f"the study {folder.path} does not say how many labels {score.arm} had")
        table.setdefault(outcome.samples, {})[score.arm] = sign * score.quality.mean
    return dict(sorted(table.items()))


def judge(table: Mapping[int, Mapping[str, float]], limits: AdviceThresholds) -> list[Verdict]:
    """What the tree would have advised at each number of labels, among the strategies that were compared.

    Args:
        table: see `scores_by_labels`.
        limits: where the advice changes.

    Raises:
        ValueError: the study has no strategy that the tree knows.
    """
    found = []
    for labels, row in table.items():
        order, _ = order_of(Facts(labels), limits)
        advised = next((name for name in order if name in row), None)
        if advised is None:
            continue
        best = max(row, key=lambda name: row[name])
        found.append(Verdict(labels, advised, row[advised], best, row[best]))
    if not found:
        raise ValueError("no number of labels of this study has a strategy that the tree could advise")
    return found


def recalibrated(
    tables: Sequence[Mapping[int, Mapping[str, float]]], limits: AdviceThresholds, names: str
) -> AdviceThresholds:
    """Thresholds with the least regret on studies; those that are given where they are as good.

    Args:
        tables: of each study, see `scores_by_labels`.
        limits: to start from; from where on the budget decides stays as it is.
        names: of the studies, for `source`.
    """
    sizes = sorted({size for table in tables for size in table})
    between = [round((a * b) ** 0.5) for a, b in pairwise(sizes)]
    steps = [0, *between, sizes[-1] + 1]
    best, least = limits, _regret(tables, limits)
    for probe_from, fine_tune_from in combinations_with_replacement(steps, 2):
        if fine_tune_from > limits.by_budget_from:
            continue
        tried = replace(limits, probe_from=probe_from, fine_tune_from=fine_tune_from)
        if (regret := _regret(tables, tried)) < least - 1e-9:
            best, least = replace(tried, source=f"fitted to {names}"), regret
    return best


def _regret(tables: Sequence[Mapping[int, Mapping[str, float]]], limits: AdviceThresholds) -> float:
    return sum(verdict.regret for table in tables for verdict in judge(table, limits))
