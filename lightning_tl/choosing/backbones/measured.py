"""`MeasuredBackbone`: all that was found out about a candidate, and `ranked`, which orders several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_tl.choosing.backbones.latency import Latency
from lightning_tl.choosing.backbones.model_card import ModelCard
from lightning_tl.choosing.features.labelled_features import LabelledFeatures
from lightning_tl.choosing.transferability.transfer_scores import TransferScores, transfer_scores
from lightning_tl.metrics import BootstrapInterval, bootstrap_difference, bootstrap_mean


@dataclass(frozen=True)
class MeasuredBackbone:
    """A candidate with its scores.

    Args:
        typed: the candidate, as it was typed.
        arguments: what is typed after the recipe to take it.
        card: what is written about it.
        parameters: number of its weights.
        dim: length of its features.
        latency: on this machine.
        scores: of its features.
        layers: scores after each layer group, by name; empty where they were not asked for.
    """

    typed: str
    arguments: tuple[str, ...]
    card: ModelCard
    parameters: int
    dim: int
    latency: Latency
    scores: TransferScores
    layers: dict[str, TransferScores]


@dataclass(frozen=True)
class RankedBackbone:
    """A place in the ranking.

    Args:
        backbone: that takes it.
        score: mean of its probe's scores, with an interval; None for fewer than two blocks.
        behind: its probe's score less that of the first place, on the same samples; None for the first place itself,
            and for fewer than two blocks.
    """

    backbone: MeasuredBackbone
    score: BootstrapInterval | None
    behind: BootstrapInterval | None

    @property
    def as_good(self) -> bool:
        """Whether the data cannot tell it from the first place."""
        return self.behind is not None and not self.behind.excludes_zero()


def scores_of(features: LabelledFeatures, k: int) -> TransferScores:
    """`transfer_scores` of a backbone's features.

    Args:
        features: of training and validation samples.
        k: neighbours that vote.
    """
    train, validation = features.training, ~features.training
    return transfer_scores(
        (features.values[train], features.target[train]),
        (features.values[validation], features.target[validation]),
        features.task,
        len(features.class_names),
        k,
    )


def ranked(backbones: Sequence[MeasuredBackbone], blocks: NDArray[np.int64] | None) -> list[RankedBackbone]:
    """By the mean score of the exact linear probe, the best first; a draw by LogME.

    Args:
        backbones: at least one, measured on the same samples.
        blocks: [validation samples] block of each, drawn as a whole; None when samples are independent.
    """
    order = sorted(backbones, key=lambda each: (-each.scores.probe.mean(), -each.scores.log_me))
    best = order[0].scores.probe
    enough = len(best if blocks is None else np.unique(blocks)) >= 2
    return [
        RankedBackbone(
            each,
            bootstrap_mean(each.scores.probe, blocks, bounds=_bounds(each.scores)) if enough else None,
            bootstrap_difference(each.scores.probe, best, blocks) if enough and place else None,
        )
        for place, each in enumerate(order)
    ]


def _bounds(scores: TransferScores) -> tuple[float, float] | None:
    return (0.0, 1.0) if scores.probe.min() >= 0 and scores.probe.max() <= 1 else None
