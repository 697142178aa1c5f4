"""The exact linear head on sparse features."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

_OPTIONS = {"maxiter": 2000, "maxcor": 10, "gtol": 1e-6, "ftol": 1e-10}
_PATIENCE = 2  # strengths without improvement


@dataclass(frozen=True)
class SparseSolution:
    """Weight [outputs, columns] and bias [outputs], and how they were chosen.

    Args:
        l2: the strength that was best on validation.
        validation_loss: at that strength.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    l2: float
    validation_loss: float


def solve_sparse(
    train: tuple[Any, Tensor], validation: tuple[Any, Tensor], outputs: int, loss: nn.Module, l2_grid: Sequence[float]
) -> SparseSolution:
    """Minimise mean loss(logits, target) + l2/2 · ||weight||² for each l2, and keep the one best on validation.

    As `solve_linear`, but for features as they are, neither standardised nor made dense. Strengths go from strong to
    weak, each from the last solution; two weaker ones in a row that are no better end the search.

    Args:
        train: features, a SciPy matrix of compressed rows [n, columns], and target.
        validation: the same of the samples that choose l2.
        outputs: of a sample.
        loss: with mean reduction.
        l2_grid: strengths above 0.

    Raises:
        FloatingPointError: no strength has a finite validation loss.
    """
    loss = copy.deepcopy(loss).to("cpu", torch.float64)
    columns = train[0].shape[1]

    def split(flat: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return flat[: outputs * columns].reshape(outputs, columns), flat[outputs * columns :]

    def loss_of(flat: NDArray[np.float64], data: tuple[Any, Tensor]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = split(flat)
        logits = torch.from_numpy(np.asarray(data[0] @ weight.T + bias)).requires_grad_(True)
        target = data[1].double() if data[1].is_floating_point() else data[1]
        value = loss(logits, target)
        (slope,) = torch.autograd.grad(value, logits)
        return float(value.detach()), slope.numpy()

    def objective(flat: NDArray[np.float64], l2: float) -> tuple[float, NDArray[np.float64]]:
        value, slope = loss_of(flat, train)
        weight, _ = split(flat)
        gradient = (train[0].T @ slope).T + l2 * weight
        return value + l2 / 2 * float(np.square(weight).sum()), np.concatenate([gradient.ravel(), slope.sum(0)])

    solution, best, worse = np.zeros(outputs * (columns + 1)), None, 0
    for l2 in sorted(l2_grid, reverse=True):
        solution = minimize(objective, solution, args=(l2,), jac=True, method="L-BFGS-B", options=_OPTIONS).x
        value, _ = loss_of(solution, validation)
        if np.isfinite(value) and (best is None or value < best.validation_loss):
            best, worse = SparseSolution(*split(solution.copy()), l2, value), 0
        else:
            worse += 1
        if worse == _PATIENCE:
            break
    if best is None:
        raise FloatingPointError("no strength of the penalty has a finite validation loss: look at the samples")
    return best
