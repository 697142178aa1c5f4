"""Distances in words, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lightning_tl.choosing.distance.domain_distance import DomainDistance
from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.choosing.distance.thresholds import Thresholds

_BOUND = (
    "What that says of a model's error on the target, by theorem 2 of Ben-David et al. (2010): it is at most the error "
    "on the source, plus half the divergence of both domains, plus λ. The first is measured, by `test` on a run. The "
    "second is bounded from samples: half the A-distance of the best classifier of domains that was found, here "
    "{half:.2f}; a better one may be there.{vacuous} The third, the error of the best single model for both domains, "
    "is unknown without labels of the target, and can be large where domains are near. So the distance compares "
    "domains and backbones; it is no forecast of a score. All of this is covariate shift, of inputs; label shift and "
    "concept drift are other things."
)
_VACUOUS = " With so much the bound holds for every model, and says nothing."


def distance_lines(
    distance: DomainDistance, source: DomainSamples, target: DomainSamples, limits: Thresholds
) -> list[str]:
    """A short table, sentences, and what they do not say."""
    a, m, f = distance.proxy_a, distance.mmd, distance.frechet
    where = f"{_count(source, a.samples[0])} of {source.name} and {_count(target, a.samples[1])} of {target.name}"
    rows = [
        (
            "domain classifier",
            f"accuracy {a.accuracy:.3f}",
            f"95% interval {a.accuracy_low:.3f} to {a.accuracy_high:.3f}",
        ),
        ("proxy A-distance", f"{a.distance:.2f}", f"95% interval {a.low:.2f} to {a.high:.2f}, of 0 to 2"),
        ("MMD², Gaussian", f"{m.squared:.3g}", f"p {_p(m.p_value)} ({_how(distance)})"),
        (
            "Fréchet distance",
            f"{f.squared:.4g}",
            f"{f.squared / distance.spread:.2f} of the mean spread; {_bias(distance)}",
        ),
    ]
    widths = [max(len(row[k]) for row in rows) for k in (0, 1)]
    lines = [f"source and target: {where}", ""]
    lines += [f"  {name:<{widths[0]}}  {value:<{widths[1]}}  {more}" for name, value, more in rows]
    if distance.by_class:
        width = max(map(len, distance.by_class))
        lines += ["", "by class (p by Holm over all classes):"]
        lines += [
            f"  {name:<{width}}  told apart with {each.accuracy:.1%} ({each.accuracy_low:.1%} to "
            f"{each.accuracy_high:.1%}): {limits.word(each.accuracy)}, MMD p {_p(p_value)}"
            for name, (p_value, each) in distance.by_class.items()
        ]
    lines += ["", verdict(distance, limits)]
    lines += [f"Note: {note}." for note in distance.notes]
    half = a.distance / 2
    return [*lines, "", _BOUND.format(half=half, vacuous=_VACUOUS if half >= 0.9 else "")]


def verdict(distance: DomainDistance, limits: Thresholds) -> str:
    """Near, apart or far, with the reason."""
    a, p_value = distance.proxy_a, distance.mmd.p_value
    interval = f"95% interval {a.accuracy_low:.0%} to {a.accuracy_high:.0%}"
    told = f"The domains are told apart with {a.accuracy:.0%} accuracy ({interval}; guessing gives 50%)"
    word = limits.word(a.accuracy)
    sentence = f"{told}: {word}."
    if word == "near" and p_value <= limits.level:
        return f"{sentence} They do differ (MMD, p {_p(p_value)})."
    if a.accuracy_low <= 0.5 and p_value > limits.level:
        return f"{sentence} That they differ at all is not established (MMD, p {_p(p_value)})."
    return sentence


def distance_json(
    distance: DomainDistance, source: DomainSamples, target: DomainSamples, limits: Thresholds
) -> dict[str, Any]:
    """Everything, for other programs."""
    return {
        "kind": "covariate shift",
        "source": {"name": source.name, "samples": len(source.values), "of": source.total},
        "target": {"name": target.name, "samples": len(target.values), "of": target.total},
        "verdict": limits.word(distance.proxy_a.accuracy),
        "thresholds": asdict(limits),
        "mmd": asdict(distance.mmd),
        "proxy_a": asdict(distance.proxy_a),
        "frechet": {**asdict(distance.frechet), "of_spread": distance.frechet.squared / distance.spread},
        "by_class": {
            name: {"mmd_p_value_holm": p_value, "verdict": limits.word(each.accuracy), **asdict(each)}
            for name, (p_value, each) in distance.by_class.items()
        },
        "bound": {
            "source_error": "measured by a test on the source; not part of this",
            "half_divergence": distance.proxy_a.distance / 2,
            "best_joint_error": "unknown without labels of the target",
        },
        "notes": list(distance.notes),
    }


def _count(samples: DomainSamples, used: int) -> str:
    return f"{used:,} samples" if used >= samples.total else f"{used:,} of {samples.total:,} samples"


def _p(p_value: float) -> str:
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1e}"


def _how(distance: DomainDistance) -> str:
    m = distance.mmd
    what = "permutations" if m.estimator.startswith("exact") else "blocks"
    return f"{m.estimator}, {m.draws} {what}, {m.samples[0]:,} and {m.samples[1]:,} samples"


def _bias(distance: DomainDistance) -> str:
    f = distance.frechet
    if not f.full_rank:
        return "fewer samples than dimensions: far too large"
    if f.extrapolated is None:
        return "biased upwards: less than two samples a dimension"
    return f"{f.extrapolated:.4g} without the bias of few samples"
