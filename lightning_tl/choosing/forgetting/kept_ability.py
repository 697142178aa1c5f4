"""`KeptAbility`: what is left on source data after an adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lightning_tl.choosing.features.every_layer import LAST
from lightning_tl.choosing.features.labelled_features import LabelledFeatures
from lightning_tl.choosing.forgetting.folds import folds_of, scores_out_of_fold
from lightning_tl.choosing.forgetting.kernel_alignment import kernel_alignment
from lightning_tl.metrics import BootstrapInterval, bootstrap_difference, bootstrap_mean
from lightning_tl.tasks import OneLabel, Values


@dataclass(frozen=True)
class KeptAbility:
    """Scores of linear probes on features before and after an adaptation, and how alike these are, layer by layer.

    Args:
        measure: what a score is.
        before: with the pretrained weights.
        after: with the adapted ones, on the same folds.
        change: after less before, in pairs of the same samples.
        alignment: centred kernel alignment by layer, from input to output; not a number where a layer does not tell
            samples apart.
        samples: of the source.
        folds: that they were dealt to.
    """

    measure: str
    before: BootstrapInterval
    after: BootstrapInterval
    change: BootstrapInterval
    alignment: dict[str, float]
    samples: int
    folds: int

    def lines(self) -> list[str]:
        """A few lines for people."""
        blocks = f" in {self.change.blocks:,} blocks" if self.change.blocks != self.samples else ""
        verdict = "the samples show no change"
        if self.change.excludes_zero():
            verdict = "some of it was forgotten" if self.change.mean < 0 else "it became better"
        width = max(map(len, self.alignment))
        return [
            f"{self.measure} of an exact linear head on the features of {self.samples:,} samples{blocks}, in "
            f"{self.folds} folds, with 95% intervals",
            f"  pretrained  {_interval(self.before, '.3f')}",
            f"  adapted     {_interval(self.after, '.3f')}",
            f"  change      {_interval(self.change, '+.3f')}: {verdict}",
            "centred kernel alignment of pretrained and adapted features, 1 where a layer is the same but for a turn",
            *(f"  {name:<{width}}  {value:.3f}" for name, value in self.alignment.items()),
        ]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        told = asdict(self)
        told["alignment"] = {name: None if np.isnan(value) else value for name, value in self.alignment.items()}
        return told


def _interval(interval: BootstrapInterval, form: str) -> str:
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def kept_ability(
    before: LabelledFeatures,
    after: LabelledFeatures,
    layers_before: Mapping[str, slice],
    layers_after: Mapping[str, slice],
) -> KeptAbility:
    """Compare a backbone with what it was before an adaptation, on labelled samples of the source.

    Args:
        before: features of all layers, by `EveryLayer`, with the pretrained weights.
        after: the same of the same samples with the adapted weights.
        layers_before: which columns belong to which layer.
        layers_after: likewise; layers that only one of them has are left out.

    Raises:
        ValueError: features of other samples, too few of them, or features that are not finite or all the same.
    """
    if len(before.values) != len(after.values) or not bool((before.target == after.target).all()):
        raise ValueError("both must be features of the same samples in the same order")
    labels = before.target.numpy() if isinstance(before.task, OneLabel) else None
    folds = folds_of(labels, before.blocks, len(before.values))
    probes = [
        scores_out_of_fold(features.columns(layers[LAST]), folds)
        for features, layers in ((before, layers_before), (after, layers_after))
    ]
    measure = "R²" if isinstance(before.task, Values) else "share of right answers"
    bounds = None if isinstance(before.task, Values) else (0.0, 1.0)
    alignment = {
        name: _alignment(before.columns(part), after.columns(layers_after[name]))
        for name, part in layers_before.items()
        if name in layers_after
    }
    return KeptAbility(
        measure="accuracy" if isinstance(before.task, OneLabel) else measure,
        before=bootstrap_mean(probes[0], before.blocks, bounds=bounds),
        after=bootstrap_mean(probes[1], before.blocks, bounds=bounds),
        change=bootstrap_difference(probes[1], probes[0], before.blocks),
        alignment=alignment,
        samples=len(folds),
        folds=int(folds.max()) + 1,
    )


def _alignment(before: LabelledFeatures, after: LabelledFeatures) -> float:
    try:
        return kernel_alignment(before.values, after.values)
    except ValueError:  # a layer may well put out the same for all samples, such as a class token's embedding
        return float("nan")
