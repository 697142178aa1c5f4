"""The exact solution of a linear head on fixed features."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

CHUNK_ROWS = 65_536
PATIENCE = 2  # strengths without improvement
CURVATURE = 0.1  # a guess at p(1 - p) of the predicted probabilities; it changes the speed, not the solution


@dataclass(frozen=True)
class LinearSolution:
    """Weight [num_classes, feature_dim] and bias [num_classes] for unscaled features, and how they were chosen.

    Args:
        l2: the strength that was best on validation.
        validation_loss: for each strength that was tried.
    """

    weight: Tensor
    bias: Tensor
    l2: float
    validation_loss: dict[float, float]


def solve_linear(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    num_classes: int,
    loss: nn.Module,
    l2_grid: Sequence[float],
    progress: Callable[[float], None] = lambda l2: None,
) -> LinearSolution:
    """Minimise mean loss(logits, target) + l2/2 · ||weight||² over standardised features for each l2, keep the best.

    The problem is convex for every convex loss (cross-entropy, binary cross-entropy), so L-BFGS (SciPy's L-BFGS-B, in
    float64) reaches its one minimum from any start: the result has no randomness. Features of a network are strongly
    correlated, which would cost L-BFGS thousands of steps at a weak l2; it therefore searches in coordinates in which
    the covariance of the features, and with it roughly the Hessian, is the identity. Strengths are tried from strong to
    weak, each from the last solution, and judged by the loss on validation; a tie goes to the stronger. Two weaker
    strengths in a row that are no better end the search: from there on the loss rises and solutions cost more.

    Args:
        train: features [n, d] and target.
        validation: the same for the samples that choose l2.
        num_classes: how many outputs a sample gets.
        loss: with mean reduction.
        l2_grid: strengths above 0.
        progress: called with each strength that is done.

    Raises:
        FloatingPointError: when a feature or the validation loss is not finite.
    """
    loss = copy.deepcopy(loss).to("cpu", torch.float64)
    mean, std = _moments(train[0])
    dim = train[0].shape[1]

    def unpack(flat: Tensor) -> tuple[Tensor, Tensor]:
        return flat[: num_classes * dim].view(num_classes, dim), flat[num_classes * dim :]

    def scaled(data: tuple[Tensor, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for x, t in zip(torch.split(data[0], CHUNK_ROWS), torch.split(data[1], CHUNK_ROWS), strict=True):
            yield (x.double() - mean) / std, t.double() if t.is_floating_point() else t

    # One chunk is scaled once and kept; more are scaled anew each time, so that memory stays bounded.
    kept = {id(data): list(scaled(data)) for data in (train, validation) if len(data[0]) <= CHUNK_ROWS}

    def mean_loss(flat: Tensor, data: tuple[Tensor, Tensor], backward: bool) -> float:
        weight, bias = unpack(flat)
        total, shares = 0.0, [_share(loss, t) for t in torch.split(data[1], CHUNK_ROWS)]
        for (x, wanted), share in zip(kept.get(id(data)) or scaled(data), shares, strict=True):
            part = loss(x @ weight.T + bias, wanted) * (share / sum(shares))
            if backward:
                part.backward()
            total += float(part.detach())
        return total

    covariance = torch.zeros(dim, dim, dtype=torch.float64)
    for x, _ in kept.get(id(train)) or scaled(train):
        covariance += x.T @ x / len(train[0])
    identity = torch.eye(dim, dtype=torch.float64)

    def objective(at: NDArray[np.float64], l2: float, inverse: Tensor) -> tuple[float, NDArray[np.float64]]:
        turned, bias = unpack(torch.from_numpy(at))
        flat = torch.cat([(turned @ inverse).flatten(), bias]).requires_grad_(True)
        penalty = l2 / 2 * unpack(flat)[0].square().sum()
        penalty.backward()  # type: ignore[no-untyped-call]
        value = float(penalty.detach()) + mean_loss(flat, train, backward=True)
        assert flat.grad is not None
        slope, bias_slope = unpack(flat.grad)
        return value, torch.cat([(slope @ inverse.T).flatten(), bias_slope]).numpy()

    solution = torch.zeros(num_classes * (dim + 1), dtype=torch.float64)
    losses: dict[float, float] = {}
    best, worse = solution, 0
    for l2 in sorted(l2_grid, reverse=True):
        factor = torch.linalg.cholesky(CURVATURE * covariance + l2 * identity)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        weight, bias = unpack(solution)
        start = torch.cat([(weight @ factor).flatten(), bias]).numpy()
        options = {"maxiter": 5000, "maxcor": 20, "gtol": 1e-6, "ftol": 1e-14}
        found = minimize(objective, start, args=(l2, inverse), jac=True, method="L-BFGS-B", options=options)
        turned, bias = unpack(torch.from_numpy(found.x))
        solution = torch.cat([(turned @ inverse).flatten(), bias])
        with torch.no_grad():
            losses[l2] = mean_loss(solution, validation, backward=False)
        if not np.isfinite(losses[l2]):
            raise FloatingPointError(
                f"the validation loss is {losses[l2]} at L2 {l2:g}: look at the validation samples"
            )
        if losses[l2] < min((value for other, value in losses.items() if other != l2), default=np.inf):
            best, chosen, worse = solution, l2, 0
        else:
            worse += 1
        progress(l2)
        if worse == PATIENCE:
            break
    weight, bias = unpack(best)
    weight = weight / std  # fold the scaling into the head
    return LinearSolution(weight.float(), (bias - weight @ mean).float(), chosen, losses)


def _share(loss: nn.Module, target: Tensor) -> float:
    """What a chunk counts for in the mean: its rows, or their class weights."""
    weights = getattr(loss, "weight", None)
    if isinstance(loss, nn.CrossEntropyLoss) and isinstance(weights, Tensor):
        return float(weights[target].sum())
    return float(len(target))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [d] in float64; a constant feature gets 1."""
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for chunk in torch.split(features, CHUNK_ROWS):
        total += chunk.double().sum(0)
    if not torch.isfinite(total).all():
        bad = int((~torch.isfinite(total)).sum())
        raise FloatingPointError(
            f"{bad} of {len(total)} features are not finite in training: use precision 32-true, or look at the inputs"
        )
    mean = total / len(features)
    squares = torch.zeros_like(total)
    for chunk in torch.split(features, CHUNK_ROWS):
        squares += (chunk.double() - mean).square().sum(0)
    std = (squares / len(features)).sqrt()
    return mean, torch.where(std > 1e-8, std, 1.0)
