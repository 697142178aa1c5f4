"""One number by which logits are divided, so that a confidence of 0.8 is right 8 times out of 10."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit, log_softmax, softmax

FEWEST_SAMPLES = 50
LOWEST, HIGHEST = 1e-3, 1e3  # temperatures that are looked for, in units of the logits' own spread


class NotFittedError(ValueError):
    """There is no temperature for these samples; the message says why, as the rest of a sentence on them."""


@dataclass(frozen=True)
class Temperature:
    """A temperature and what it was fitted on.

    Args:
        value: above 0; above 1 the model is too sure of itself.
        samples: how many it was fitted on.
        loss_before: their mean negative log-likelihood in nats, of several labels summed over a sample's labels.
        loss_after: the same with the logits divided by `value`.
    """

    value: float
    samples: int
    loss_before: float
    loss_after: float


def fit_temperature(logits: ArrayLike, target: ArrayLike, fewest: int = FEWEST_SAMPLES) -> Temperature:
    """The temperature with the lowest negative log-likelihood (Guo et al. 2017, section 4.2).

    The likelihood is convex in 1 / temperature, so that its slope has one root, which Brent's method finds; no start
    and no randomness matter. Neither the largest logit of a sample nor the sign of one changes by it.

    Args:
        logits: [n, classes].
        target: [n] class numbers, of which a softmax is the probability; or [n, labels] of 0 and 1, with a sigmoid
            each.
        fewest: samples below which a temperature would tell more of chance than of the model.

    Raises:
        NotFittedError: too few samples, one class alone, logits that are not finite, or none that fits them: samples
            that are all right are the likelier the lower the temperature, and logits that tell nothing the higher.
        ValueError: shapes that do not fit, or targets that are no classes.
    """
    z, t = np.asarray(logits, dtype=np.float64), np.asarray(target)
    _check(z, t)
    if len(z) < fewest:
        raise NotFittedError(f"{len(z)} samples, fewer than {fewest}")
    if t.min() == t.max():
        raise NotFittedError(f"{len(z)} samples of one class")
    if not np.isfinite(z).all():
        raise NotFittedError(f"{int((~np.isfinite(z)).any(1).sum())} samples with logits that are not finite")
    spread = float(np.abs(z if t.ndim == 2 else z - z.mean(1, keepdims=True)).mean())
    if spread == 0 or _slope(z, t, 1 / (HIGHEST * spread)) >= 0:
        raise NotFittedError(f"{len(z)} samples of which the logits tell nothing: even chances would fit them better")
    if _slope(z, t, 1 / (LOWEST * spread)) <= 0:
        raise NotFittedError(f"{len(z)} samples that fit the better the lower it is, as where all are predicted right")
    ends = -np.log([HIGHEST * spread, LOWEST * spread])
    inverse = float(np.exp(brentq(lambda at: _slope(z, t, np.exp(at)), *ends, xtol=1e-12)))
    return Temperature(1 / inverse, len(z), _loss(z, t, 1.0), _loss(z, t, inverse))


def tempered(logits: NDArray[np.floating], temperature: float, several: bool) -> NDArray[np.float64]:
    """Probabilities [n, classes] of logits [n, classes] at a temperature.

    Args:
        logits: of each class.
        temperature: above 0.
        several: a sigmoid for each label in place of one softmax.

    Raises:
        ValueError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    found: NDArray[np.float64] = expit(scaled) if several else softmax(scaled, axis=1)
    return found


def _check(z: NDArray[np.float64], t: NDArray[np.generic]) -> None:
    if z.ndim != 2 or not len(z) or t.shape not in ((len(z),), z.shape):
        raise ValueError(f"expected logits [n, classes] and target [n] or [n, classes], got {z.shape} and {t.shape}")
    if t.ndim == 2:
        if not np.isin(t, (0, 1)).all():
            raise ValueError("targets of several labels must be 0 or 1")
    elif t.min() < 0 or t.max() >= z.shape[1]:
        raise ValueError(f"target must be in 0…{z.shape[1] - 1}, got {t.min()} … {t.max()}")


def _slope(z: NDArray[np.float64], t: NDArray[np.generic], inverse: float) -> float:
    """Derivative of `_loss` by the inverse temperature, which never falls as that grows."""
    scaled = z * inverse
    if t.ndim == 2:
        return float(((expit(scaled) - t.astype(np.float64)) * z).sum(1).mean())
    own = z[np.arange(len(z)), t.astype(np.int64)]
    return float(((softmax(scaled, axis=1) * (z - own[:, None])).sum(1)).mean())


def _loss(z: NDArray[np.float64], t: NDArray[np.generic], inverse: float) -> float:
    scaled = z * inverse
    if t.ndim == 2:
        signs = 2 * t.astype(np.float64) - 1
        return float(-log_expit(signs * scaled).sum(1).mean())
    own = log_softmax(scaled, axis=1)[np.arange(len(z)), t.astype(np.int64)]
    return float(-own.mean())
