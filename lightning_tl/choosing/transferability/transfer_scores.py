"""What fixed features are worth for a task: an exact probe, neighbours, and LogME."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.choosing.transferability.log_me import log_me, log_me_of_classes
from lightning_tl.metrics.checked_features import checked_features
from lightning_tl.metrics.nearest_neighbours import NearestNeighbours
from lightning_tl.strategies.probe.linear_probe import L2_GRID, L2_OF_VALUES
from lightning_tl.tasks import OneLabel, Task, Values
from lightning_tl.training.convex import LinearSolution, solve_linear

Array = NDArray[np.float64]
Labelled = tuple[NDArray[np.float32], Tensor]


@dataclass(frozen=True)
class TransferScores:
    """Scores of the same features; each but LogME for each validation sample, so that they can be compared in pairs.

    Args:
        probe: [validation samples] of a linear head: 1 for the right class and 0 for another; of several labels the
            share of right answers; of values the share of the variance that is explained, whose mean is R².
        neighbours: [validation samples] the same of the vote of training samples; None where there are no classes.
        log_me: of training and validation samples together.
        l2: strength of the probe's penalty, the best one on validation.
    """

    probe: Array
    neighbours: Array | None
    log_me: float
    l2: float


def transfer_scores(train: Labelled, validation: Labelled, task: Task, outputs: int, k: int = 5) -> TransferScores:
    """Solve a linear head on training samples and ask neighbours among them; both answer for validation samples.

    The strength of the head's penalty is chosen on the same validation samples, so that its score is a little too good,
    for all features alike.

    Args:
        train: features [n, dim] and targets.
        validation: the same of other samples.
        task: what the targets are.
        outputs: classes, labels or values.
        k: neighbours that vote.

    Raises:
        ValueError: features that are not finite or all the same, or validation values without any variance.
    """
    together = checked_features(np.concatenate([train[0], validation[0]]))
    solution = solve_probe(train, validation, task, outputs)
    target = torch.cat([train[1], validation[1]])
    if isinstance(task, OneLabel):
        votes = NearestNeighbours(train[0], train[1].numpy(), k).predict(validation[0])
        evidence = log_me_of_classes(together, target.numpy())
        hits = (votes == validation[1].numpy()).astype(np.float64)
    else:
        evidence, hits = log_me(together, task.aim(task.shaped(target)).numpy()), None
    return TransferScores(scores_of_probe(solution, validation, task), hits, evidence, solution.l2)


def solve_probe(
    train: Labelled, validation: Labelled, task: Task, outputs: int, l2_grid: Sequence[float] = L2_GRID
) -> LinearSolution:
    """The exact linear head of these features, as the strategy `LinearProbe` solves it.

    Args:
        train: features [n, dim] and targets to solve it on.
        validation: the same of the samples that choose the strength of its penalty.
        task: what the targets are.
        outputs: classes, labels or values.
        l2_grid: strengths to choose among; of values also 3 and 10.
    """
    grid = (*l2_grid, *L2_OF_VALUES) if isinstance(task, Values) else l2_grid
    parts = [(torch.from_numpy(np.array(x, np.float32)), task.aim(task.shaped(y))) for x, y in (train, validation)]
    return solve_linear(parts[0], parts[1], outputs, task.loss(), grid)


def scores_of_probe(solution: LinearSolution, samples: Labelled, task: Task) -> Array:
    """The head's score for each sample, see `TransferScores`.

    Raises:
        ValueError: values that are the same for all samples.
    """
    features, target = torch.from_numpy(np.array(samples[0], np.float32)), task.shaped(samples[1])
    outputs = task.predictions(features @ solution.weight.T + solution.bias)
    if isinstance(task, OneLabel):
        return _floats(outputs.argmax(1) == target)
    if isinstance(task, Values):
        variance = target.double().var(0, correction=0)
        if bool((variance <= 0).any()):
            raise ValueError(f"a value is the same for all {len(target)} validation samples, so no share is explained")
        return _floats((1 - (outputs - target).double().square() / variance).mean(1))
    return _floats(((outputs >= 0.5) == (target >= 0.5)).double().mean(1))


def _floats(values: Any) -> Array:
    found: Array = values.double().numpy()
    return found
