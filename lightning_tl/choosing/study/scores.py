"""What a study's test runs say: scores with intervals, paired differences, and whether transfer helped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
from scipy.stats import norm

from lightning_tl.choosing.study.arm import Arm
from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.outcome import Outcome
from lightning_tl.choosing.study.plan import StudyPlan
from lightning_tl.choosing.study.recipe_parts import init_args
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.choosing.study.tested import Tested, cells_of, study_measure, tested
from lightning_tl.metrics.block_bootstrap import BootstrapInterval
from lightning_tl.metrics.crossed_bootstrap import crossed_bootstrap, crossed_bootstraps

LEVEL = 0.95
_BEYOND = 40  # draws of the bootstrap outside a corrected interval, by which its ends are known to some 2%
Verdict = Literal["ahead", "behind", "undecided"]


@dataclass(frozen=True)
class Score:
    """An arm at a number of labels, or a simple baseline that the arms' own tests measured.

    Args:
        arm: its name.
        labels: for each class; None for all.
        rate: that was chosen; None where there was nothing to search.
        quality: mean of the measure over draws and test samples.
        spread: standard deviation of the draws' means; NaN for one draw.
        trainable: parameters.
        seconds: of training, median of the draws.
        peak_bytes: of memory, greatest of the draws.
        checkpoint_bytes: size of the best checkpoint.
        on_front: whether no other arm at this number of labels is both better and smaller in each of these costs.
        baseline: whether it is a simple baseline, which has no costs here.
    """

    arm: str
    labels: int | None
    rate: float | None
    quality: BootstrapInterval
    spread: float
    trainable: int
    seconds: float
    peak_bytes: int
    checkpoint_bytes: int
    on_front: bool = False
    baseline: bool = False


@dataclass(frozen=True)
class Difference:
    """Two arms at a number of labels, on the same draws and test samples.

    Args:
        first: an arm.
        second: the arm that it is compared with.
        labels: for each class; None for all.
        interval: of how much better the first is, at 95%: of shares the first's minus the second's, of errors the
            second's minus the first's.
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
    def is_seen(self) -> bool:
        """Whether there is a difference at all, however small beside its interval."""
        return abs(self.interval.mean) > 1e-3 * (self.corrected.high - self.corrected.low)

    @property
    def would_settle(self) -> int | None:
        """Test samples that would settle a difference of this size, in blocks like these and with as many draws.

        None where it is settled, where none is seen, or where the draws alone differ too much for any number of samples
        to settle it. The part of the variance that comes from the samples falls with their number.
        """
        if self.verdict != "undecided" or not self.is_seen:
            return None
        normal = float(norm.ppf((1 + self.corrected.level) / 2))
        wanted = (self.interval.mean / normal) ** 2 - self.run_variance
        found = ((self.corrected.high - self.corrected.low) / 2 / normal) ** 2 - self.run_variance
        return int(np.ceil(self.samples * max(found, 0.0) / wanted)) if wanted > 0 else None


def scores(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> list[Score]:
    """The score of each arm at each number of labels, few labels first.

    Args:
        plan: of the study.
        folder: with its runs.
        chosen: what they came to.

    Raises:
        ValueError: no run has been tested.
    """
    measure, found = study_measure(plan, folder, chosen), []
    for group, table in tested(plan, folder, chosen).items():
        cells = cells_of(plan, chosen, *group) if group in chosen.rates else []
        outcomes = [outcome for cell in cells if (outcome := folder.outcome(cell)) is not None]
        found.append(_score(group, chosen.rates.get(group), table, outcomes, measure))
    return [_with_front(score, [other for other in found if other.labels == score.labels], measure) for score in found]


def _score(
    group: tuple[str, int | None], rate: float | None, table: Tested, outcomes: Sequence[Outcome], measure: Measure
) -> Score:
    by_draw = table.values.mean(1)
    spread = float(by_draw.std(ddof=1)) if len(by_draw) > 1 else float("nan")
    quality = crossed_bootstrap(table.values, table.blocks, bounds=measure.bounds)
    if measure.lower_is_better:
        quality = replace(quality, low=max(0.0, quality.low))  # few samples: an interval by Student's t knows no bound
    if not outcomes:
        return Score(*group, rate, quality, spread, 0, 0.0, 0, 0, baseline=True)
    return Score(
        *group,
        rate,
        quality,
        spread,
        outcomes[0].trainable,
        float(np.median([outcome.seconds for outcome in outcomes])),
        max(outcome.peak_bytes for outcome in outcomes),
        outcomes[0].checkpoint_bytes,
    )


def _costs(score: Score) -> tuple[float | None, ...]:
    """Trained parameters, seconds, memory and checkpoint; None for one that the run did not note."""
    return score.trainable, score.seconds or None, score.peak_bytes or None, score.checkpoint_bytes or None


def _with_front(score: Score, others: Sequence[Score], measure: Measure) -> Score:
    """Marked where no arm is at least as good and as cheap in everything, and better in something."""

    def beats(other: Score) -> bool:
        pairs = [
            (measure.sign() * other.quality.mean, measure.sign() * score.quality.mean),
            *((-a, -b) for a, b in zip(_costs(other), _costs(score), strict=True) if a is not None and b is not None),
        ]
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    front = not score.baseline and not any(beats(other) for other in others if not other.baseline)
    return Score(**{**vars(score), "on_front": front})


def differences(plan: StudyPlan, folder: StudyFolder, chosen: Chosen) -> list[Difference]:
    """Every pair of arms at each number of labels, and every arm with every simple baseline, sample by sample.

    Arms are compared on the draws that both have. The corrected intervals hold together with 95%: each is at
    1 - 0.05 / m for m comparisons (Bonferroni; Dunn 1961).
    """
    measure, every = study_measure(plan, folder, chosen), tested(plan, folder, chosen)
    groups = {size: _pairs(plan, every, size) for size in dict.fromkeys(size for _, size in plan.groups())}
    level = 1 - (1 - LEVEL) / max(1, sum(map(len, groups.values())))
    bounds, found = None if measure.bounds is None else (-1.0, 1.0), []
    for size, pairs in groups.items():
        tables = [measure.sign() * every[first, size].minus(every[second, size]) for first, second in pairs]
        blocks = every[pairs[0][0], size].blocks if pairs else None
        draws = max(4_000, round(_BEYOND / (1 - level)))
        intervals = crossed_bootstraps(tables, blocks, draws, (LEVEL, level), bounds=bounds)
        for (first, second), table, (plain, wide) in zip(pairs, tables, intervals, strict=True):
            of_runs = float(table.mean(1).var(ddof=1)) / len(table) if len(table) > 1 else 0.0
            found.append(Difference(first, second, size, plain, wide, table.shape[1], of_runs))
    return found


def _pairs(plan: StudyPlan, every: Mapping[tuple[str, int | None], Tested], size: int | None) -> list[tuple[str, str]]:
    there = [name for name, own in every if own == size]
    arms = [arm.name for arm in plan.arms if arm.name in there]
    both = [(a, b) for a, b in combinations(arms, 2) if set(every[a, size].draws) & set(every[b, size].draws)]
    return [*both, *product(arms, [name for name in there if name not in arms])]


def against_baselines(plan: StudyPlan, found: Sequence[Difference]) -> list[Difference]:
    """Of all differences those of an arm against a simple baseline that the runs' own tests measured."""
    arms = {arm.name for arm in plan.arms}
    return [gap for gap in found if gap.second not in arms]


def transfer(plan: StudyPlan, found: Sequence[Difference]) -> list[Difference]:
    """Of all differences those of a pretrained arm against the same network from nothing or a baseline, in this order.

    Args:
        plan: of the study.
        found: its differences.
    """
    names, kept = {arm.name for arm in plan.arms}, []
    for gap in found:
        if gap.second not in names:
            continue
        first, second = plan.arm(gap.first), plan.arm(gap.second)
        if _answers(first, second):
            kept.append(gap)
        elif _answers(second, first):
            kept.append(_turned(gap))
    return kept


def _answers(arm: Arm, other: Arm) -> bool:
    """Whether what an arm has over another is what its pretrained weights are worth."""
    return arm.pretrained and not other.pretrained and (other.baseline or same_network(arm, other))


def same_network(arm: Arm, other: Arm) -> bool:
    """Whether two arms have the same backbone, with the same arguments; but for weights, where these are compared."""
    first, second = ({"class_path": part} if isinstance(part, str) else part for part in (arm.backbone, other.backbone))
    if arm.weights or other.weights:
        first, second = (_without_weights(part) for part in (first, second))
    return bool(first == second)


def _without_weights(backbone: Any) -> Any:
    if not isinstance(backbone, dict):
        return backbone
    return {
        "class_path": backbone.get("class_path"),
        "init_args": {k: v for k, v in init_args(backbone).items() if k not in ("pretrained", "weights")},
    }


def _turned(gap: Difference) -> Difference:
    def turned(interval: BootstrapInterval) -> BootstrapInterval:
        return BootstrapInterval(
            **{**vars(interval), "mean": -interval.mean, "low": -interval.high, "high": -interval.low}
        )

    return replace(
        gap, first=gap.second, second=gap.first, interval=turned(gap.interval), corrected=turned(gap.corrected)
    )
