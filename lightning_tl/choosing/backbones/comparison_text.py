"""The comparison of backbones, as text and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lightning_tl.choosing.backbones.measured import RankedBackbone
from lightning_tl.choosing.features.every_layer import LAST
from lightning_tl.choosing.features.labelled_features import LabelledFeatures
from lightning_tl.choosing.transferability.transfer_scores import TransferScores
from lightning_tl.reports.display_text import padded, short_names
from lightning_tl.tasks import OneLabel, Values

NAME_CELLS = 44


def comparison_lines(places: Sequence[RankedBackbone], features: LabelledFeatures, k: int) -> list[str]:
    """The table with what it stands on, then what is written about each, then the layers of each.

    Args:
        places: from `ranked`.
        features: of any of them: their samples are the same.
        k: neighbours that voted.
    """
    train, validation = int(features.training.sum()), int((~features.training).sum())
    unit = places[0].backbone.latency
    over = places[0].score
    blocks = f" over {over.blocks:,} blocks" if over is not None and features.blocks is not None else ""
    lines = [
        f"{features.task.name}: {train:,} training and {validation:,} validation samples; no test sample was read",
        f"probe: {probe_text(features)} of an exact linear head on validation, with 95% intervals{blocks}",
        f"times in ms at 1 and 64 samples: median on {unit.device}, {unit.threads} threads, precision 32",
        "",
    ]
    names = short_names([place.backbone.typed for place in places], NAME_CELLS)
    width = max(len("candidate"), *map(len, names))
    knn = f"{k}-NN" if isinstance(features.task, OneLabel) else ""
    lines.append(
        f"   {'candidate':<{width}}  {'probe':<22}  {'to the first':<24}  {knn:>6}  {'LogME':>7}  {'weights':>8}  "
        f"{'ms at 1':>8}  {'at 64':>8}"
    )
    lines += [
        _row(number, name, width, place) for number, (name, place) in enumerate(zip(names, places, strict=True), 1)
    ]
    lines.append("")
    lines += [f"   {padded(name, width)}  {_card_text(place)}" for name, place in zip(names, places, strict=True)]
    for name, place in zip(names, places, strict=True):
        if place.backbone.layers:
            lines += ["", f"layers of {name}: probe, neighbours and LogME of the mean of each one's output"]
            lines += layer_lines({**place.backbone.layers, LAST: place.backbone.scores})
    return lines


def probe_text(features: LabelledFeatures) -> str:
    """What a probe's score is."""
    if isinstance(features.task, Values):
        return "R²"
    return "accuracy" if isinstance(features.task, OneLabel) else "share of right answers"


def _row(number: int, name: str, width: int, place: RankedBackbone) -> str:
    backbone, score, behind = place.backbone, place.score, place.behind
    probe = f"{backbone.scores.probe.mean():.3f}"
    if score is not None:
        probe += f" ({score.low:.3f} to {score.high:.3f})"
    gap = ""
    if behind is not None:
        gap = f"{behind.mean:+.3f} ({behind.low:+.3f} to {behind.high:+.3f})"
    neighbours = "" if backbone.scores.neighbours is None else f"{backbone.scores.neighbours.mean():.3f}"
    times = "  ".join(f"{value:>8,.1f}" for value in backbone.latency.milliseconds.values())
    return (
        f"{number:>2} {padded(name, width)}  {probe:<22}  {gap:<24}  {neighbours:>6}  {backbone.scores.log_me:>7.3f}  "
        f"{_count(backbone.parameters):>8}  {times}"
    )


def _card_text(place: RankedBackbone) -> str:
    card = place.backbone.card
    said = {
        "task": card.task,
        "trained on": card.domain,
        "licence": card.licence,
        "downloads": None if card.downloads is None else f"{card.downloads:,}",
        "of": card.date,
    }
    parts = [f"{name} {value}" for name, value in said.items() if value is not None]
    return f"[{card.told_by}] {'; '.join(parts)}".rstrip()


def layer_lines(layers: Mapping[str, TransferScores]) -> list[str]:
    """One line for each layer; the one whose probe is best is marked."""
    best = max(layers, key=lambda name: layers[name].probe.mean())
    width = max(map(len, layers))
    return [
        f"   {name:<{width}}  {scores.probe.mean():.3f}  "
        f"{'' if scores.neighbours is None else f'{scores.neighbours.mean():.3f}':>5}  {scores.log_me:>7.3f}"
        f"{'  <- transfers best' if name == best else ''}"
        for name, scores in layers.items()
    ]


def _count(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 100_000 else f"{number / 1e3:,.1f} k"


def comparison_json(places: Sequence[RankedBackbone], failed: Mapping[str, str]) -> dict[str, Any]:
    """The same as JSON values.

    Args:
        places: from `ranked`.
        failed: why others could not be measured, by what was typed.
    """
    return {
        "ranked": [
            {
                "candidate": place.backbone.typed,
                "arguments": list(place.backbone.arguments),
                "probe": float(place.backbone.scores.probe.mean()),
                "probe_interval": None if place.score is None else asdict(place.score),
                "difference_to_first": None if place.behind is None else asdict(place.behind),
                **_scores_json(place.backbone.scores),
                "layers": {
                    name: {"probe": float(scores.probe.mean()), **_scores_json(scores)}
                    for name, scores in place.backbone.layers.items()
                },
                "parameters": place.backbone.parameters,
                "feature_dim": place.backbone.dim,
                "latency": asdict(place.backbone.latency),
                "card": asdict(place.backbone.card),
            }
            for place in places
        ],
        "failed": dict(failed),
    }


def _scores_json(scores: TransferScores) -> dict[str, Any]:
    neighbours = None if scores.neighbours is None else float(scores.neighbours.mean())
    return {"neighbours": neighbours, "log_me": scores.log_me, "l2": scores.l2}
