"""The decision tree: labels, distance, budget and limits to a strategy, with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lightning_tl.choosing.advice.cost import Cost
from lightning_tl.choosing.advice.thresholds import AdviceThresholds
from lightning_tl.reports.resources import duration_text, memory_text

FAR = "far"


@dataclass(frozen=True)
class Facts:
    """What is known before anything is trained.

    Args:
        labels: of training samples, over all classes.
        distance: "near", "apart" or "far" from what the backbone was trained on; None where it was not measured.
        pretrained: whether pretrained weights may be used.
    """

    labels: int
    distance: str | None = None
    pretrained: bool = True


@dataclass(frozen=True)
class Advice:
    """What to do.

    Args:
        strategy: to train with.
        reasons: sentences.
        costs: predicted, of each strategy that was considered.
    """

    strategy: str
    reasons: Sequence[str]
    costs: Mapping[str, Cost] = field(default_factory=dict)


def order_of(facts: Facts, limits: AdviceThresholds) -> tuple[list[str], list[str]]:
    """Strategies in the order in which they are to be tried, and why.

    Args:
        facts: of data and wishes.
        limits: where the advice changes.
    """
    labels = f"{facts.labels:,} training labels"
    if not facts.pretrained:
        return ["from_scratch"], ["Pretrained weights are not allowed, so the network begins from nothing."]
    if facts.labels < limits.probe_from:
        why = f"{labels} are fewer than {limits.probe_from:,}: too few to train a head by."
        return ["few_shot", "class_means", "linear_probe"], [why]
    if facts.labels < limits.fine_tune_from:
        why = f"{labels} are fewer than {limits.fine_tune_from:,}: a linear head on the frozen backbone."
        return ["linear_probe", "class_means"], [why]
    if facts.labels >= limits.by_budget_from:
        why = f"{labels} are {limits.by_budget_from:,} or more: the most thorough strategy that the budget allows."
        return ["fine_tune", "progressive", "lora", "linear_probe"], [why]
    reasons = [f"{labels} are enough to train the backbone itself."]
    if facts.distance == FAR:
        reasons.append("The data are far from what it was trained on: layers are thawed one after the other.")
        return ["progressive", "fine_tune", "lora", "linear_probe"], reasons
    reasons.append(
        f"The data are {facts.distance} what it was trained on: all layers from the first step."
        if facts.distance == "near"
        else "Some way from what it was trained on, but not far: all layers from the first step."
        if facts.distance
        else "How far they are from what it was trained on was not measured (--source), so they count as near."
    )
    return ["fine_tune", "progressive", "lora", "linear_probe"], reasons


def decide(
    facts: Facts,
    limits: AdviceThresholds,
    costs: Mapping[str, Cost],
    budget_s: float | None = None,
    unfit: Mapping[str, str] | None = None,
) -> Advice:
    """The first strategy in the tree's order that fits the backbone and the budget.

    Args:
        facts: of data and wishes.
        limits: where the advice changes.
        costs: predicted, by strategy.
        budget_s: of training, in seconds; None for none.
        unfit: why a strategy cannot be used.

    Raises:
        ValueError: none fits; with what the cheapest needs.
    """
    order, reasons = order_of(facts, limits)
    for strategy in order:
        if unfit and strategy in unfit:
            reasons.append(f"{strategy} does not fit: {unfit[strategy]}.")
            continue
        cost = costs.get(strategy)
        if cost is None:
            continue
        if budget_s is not None and cost.seconds > budget_s:
            takes = f"{duration_text(cost.seconds)}, more than the {duration_text(budget_s)} allowed"
            reasons.append(f"{strategy} would take {takes}.")
            continue
        takes = f"{duration_text(cost.seconds)} and {memory_text(cost.peak_bytes)}"
        reasons.append(f"{strategy} takes about {takes} on this machine, as its trial says.")
        return Advice(strategy, reasons, costs)
    if costs and budget_s is not None:
        name = min(costs, key=lambda strategy: costs[strategy].seconds)
        least = duration_text(costs[name].seconds)
        raise ValueError(
            f"a budget of {duration_text(budget_s)} is too small: the quickest of {', '.join(costs)} is {name}, which "
            f"takes about {least} here; allow more, or take fewer epochs (--trainer.max_epochs)"
        )
    raise ValueError(f"no strategy fits: {'; '.join(reasons)}")
