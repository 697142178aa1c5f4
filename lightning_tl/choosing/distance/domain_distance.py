"""`DomainDistance`: all that is measured between two domains, over all samples and class by class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.choosing.distance.frechet import Frechet, frechet
from lightning_tl.choosing.distance.mmd import Mmd, mmd
from lightning_tl.choosing.distance.pair_of_samples import checked_pair
from lightning_tl.choosing.distance.proxy_a import ProxyA, proxy_a


@dataclass(frozen=True)
class DomainDistance:
    """Distances between two domains.

    Args:
        mmd: of kernel means, with its test.
        proxy_a: of a classifier of domains.
        frechet: of Gaussians.
        spread: mean squared distance of a sample from its domain's mean, the scale of `frechet`.
        by_class: MMD and proxy A-distance of the samples of each class that both have; the p-values are Holm's (1979),
            which hold for all classes together.
        notes: for the reader, on the samples.
    """

    mmd: Mmd
    proxy_a: ProxyA
    frechet: Frechet
    spread: float
    by_class: dict[str, tuple[float, ProxyA]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def domain_distance(
    source: DomainSamples, target: DomainSamples, folds: int = 5, permutations: int = 500, seed: int = 0
) -> DomainDistance:
    """Measure how far two domains lie apart.

    Args:
        source: of the one, such as what a model was trained on.
        target: of the other, by the same backbone.
        folds: of the classifier's cross-validation.
        permutations: of the test of equal distributions.
        seed: of folds, draws and permutations.

    Raises:
        ValueError: as `mmd` and `proxy_a`, before anything is computed.
    """
    x, y = checked_pair(source.values, target.values, fewest=folds)
    blocks = source.blocks, target.blocks
    found = proxy_a(x, y, blocks, folds, seed)
    by_class, notes = _by_class(source, target, folds, permutations, seed)
    copies = _copies(x, y)
    if copies:
        notes.insert(0, _of_copies(copies, len(x), len(y)))
    return DomainDistance(
        mmd=mmd(x, y, blocks, permutations, seed),
        proxy_a=found,
        frechet=frechet(x, y, seed),
        spread=float((x.var(0).sum() + y.var(0).sum()) / 2),
        by_class=by_class,
        notes=tuple(notes),
    )


def _by_class(
    source: DomainSamples, target: DomainSamples, folds: int, permutations: int, seed: int
) -> tuple[dict[str, tuple[float, ProxyA]], list[str]]:
    if source.classes is None or target.classes is None:
        return {}, []
    counts = [
        Counter(each.classes[each.classes != ""].tolist()) for each in (source, target) if each.classes is not None
    ]
    notes = [
        f"{', '.join(sorted(alone))}: in the {side} alone, so that distances over all samples hold that too"
        for side, alone in (("source", counts[0].keys() - counts[1]), ("target", counts[1].keys() - counts[0]))
        if alone
    ]
    apart = (
        sum(
            abs(counts[0][name] / counts[0].total() - counts[1][name] / counts[1].total())
            for name in counts[0] | counts[1]
        )
        / 2
    )
    if apart >= 0.05:
        notes.append(
            f"classes have other shares in both, which differ by {apart:.0%} in all (label shift): part of the "
            "distance over all samples comes of that, and none of those by class"
        )
    measured: dict[str, tuple[float, ProxyA]] = {}
    left_out: list[str] = []
    for name in sorted(counts[0].keys() & counts[1].keys()):
        sides = [_of_class(each, name) for each in (source, target)]
        try:
            found = proxy_a(sides[0][0], sides[1][0], (sides[0][1], sides[1][1]), folds, seed)
            p_value = mmd(sides[0][0], sides[1][0], (sides[0][1], sides[1][1]), permutations, seed).p_value
        except ValueError:  # too few samples or blocks of this class; over all there are enough
            left_out.append(name)
            continue
        measured[name] = p_value, found
    if left_out:
        notes.append(f"{', '.join(left_out)}: too few samples or blocks on a side to be compared by class")
    corrected = holm([p_value for p_value, _ in measured.values()])
    return {name: (p, found) for (name, (_, found)), p in zip(measured.items(), corrected, strict=True)}, notes


def holm(p_values: list[float]) -> list[float]:
    """Holm (1979): p-values that hold for all of several tests together, in the same order."""
    found, largest = [0.0] * len(p_values), 0.0
    for place, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[k] * (len(p_values) - place)))
        found[k] = largest
    return found


def _of_class(samples: DomainSamples, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    assert samples.classes is not None
    chosen = samples.classes == name
    return samples.values[chosen], None if samples.blocks is None else samples.blocks[chosen]


def _copies(x: NDArray[np.float64], y: NDArray[np.float64]) -> int:
    """Rows of y that are rows of x."""
    known = {row.tobytes() for row in np.ascontiguousarray(x)}
    return sum(row.tobytes() in known for row in np.ascontiguousarray(y))


def _of_copies(copies: int, of_x: int, of_y: int) -> str:
    if copies == of_y == of_x:
        return "source and target hold the same samples: this is the distance of a thing to itself"
    return (
        f"{copies:,} of {of_y:,} samples of the target have exactly the features of one of the source, which draws the "
        "accuracy below that of new samples"
    )
