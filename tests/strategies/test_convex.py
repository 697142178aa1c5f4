"""The solution of a linear head against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from lightning_tl.training import convex
from lightning_tl.training.convex import LinearSolution, solve_linear

CLASSES, DIM = 3, 6
Data = tuple[Tensor, Tensor]


def data(seed: int, count: int = 120) -> Data:
    """Features of very different sizes, and classes that overlap."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, CLASSES, (count,), generator=generator)
    centres = torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(99))
    features = (centres[target] + torch.randn(count, DIM, generator=generator)) * torch.logspace(-2, 2, DIM) + 5
    return features, target


TRAIN, VALIDATION = data(0), data(1, 60)
MEAN, STD = TRAIN[0].double().mean(0), TRAIN[0].double().std(0, correction=0)
SCALED = ((TRAIN[0].double() - MEAN) / STD).numpy()


def solved(loss: nn.Module, *grid: float, train: Data = TRAIN, validation: Data = VALIDATION) -> LinearSolution:
    return solve_linear(train, validation, CLASSES, loss, grid)


def logits(solution: LinearSolution, features: Tensor) -> Tensor:
    return features.double() @ solution.weight.double().T + solution.bias.double()


@pytest.mark.parametrize("l2", [1e-3, 1e-1])
@pytest.mark.parametrize("weights", [None, (1.0, 3.0, 0.5)])
def test_cross_entropy_as_scikit_learn(l2: float, weights: tuple[float, ...] | None) -> None:
    solution = solved(nn.CrossEntropyLoss(None if weights is None else torch.tensor(weights)), l2)
    factors = np.ones(CLASSES) if weights is None else np.array(weights)
    strength = 1 / (l2 * factors[TRAIN[1].numpy()].sum())  # scikit-learn sums where we take the mean
    reference = LogisticRegression(C=strength, class_weight=dict(enumerate(factors)), tol=1e-9, max_iter=10_000)
    reference.fit(SCALED, TRAIN[1].numpy())
    np.testing.assert_allclose((solution.weight.double() * STD).numpy(), reference.coef_, atol=2e-4)
    np.testing.assert_allclose(logits(solution, TRAIN[0]).softmax(1), reference.predict_proba(SCALED), atol=1e-4)


def test_labels_that_go_together_as_scikit_learn() -> None:
    labels = torch.stack([TRAIN[1] == 0, TRAIN[1] != 1, TRAIN[0][:, 2] > TRAIN[0][:, 2].mean()], 1).float()
    l2 = 0.01
    solution = solved(nn.BCEWithLogitsLoss(), l2, train=(TRAIN[0], labels), validation=(TRAIN[0], labels))
    for number, found in enumerate(logits(solution, TRAIN[0]).sigmoid().T):
        reference = LogisticRegression(C=1 / (l2 * labels.numel()), tol=1e-9, max_iter=10_000)
        reference.fit(SCALED, labels[:, number].numpy())
        np.testing.assert_allclose(found, reference.predict_proba(SCALED)[:, 1], atol=1e-4)


LOSSES = {
    "plain": nn.CrossEntropyLoss(),
    "class weights": nn.CrossEntropyLoss(torch.tensor([1.0, 3.0, 0.5])),
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.2),
    "smoothed, class weights": nn.CrossEntropyLoss(torch.tensor([1.0, 3.0, 0.5]), label_smoothing=0.2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_zero_at_the_solution(name: str) -> None:
    """An independent check that needs no other solver: the whole objective written down at once."""
    loss, l2 = LOSSES[name], 0.01
    solution = solved(loss, l2)
    weight = (solution.weight.double() * STD).requires_grad_(True)
    bias = (solution.bias.double() + solution.weight.double() @ MEAN).requires_grad_(True)
    exact = nn.CrossEntropyLoss(
        None if loss.weight is None else loss.weight.double(), label_smoothing=loss.label_smoothing
    )
    value = exact(torch.from_numpy(SCALED) @ weight.T + bias, TRAIN[1]) + l2 / 2 * weight.square().sum()
    for gradient in torch.autograd.grad(value, [weight, bias]):
        assert gradient.abs().max() < 1e-5
    assert loss.weight is None or loss.weight.dtype == torch.float32, "the module's own loss stays as it was"


@pytest.mark.parametrize("name", LOSSES)
def test_chunks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solved(LOSSES[name], 0.01)
    monkeypatch.setattr(convex, "CHUNK_ROWS", 17)
    parts = solved(LOSSES[name], 0.01)
    torch.testing.assert_close(logits(parts, TRAIN[0]), logits(whole, TRAIN[0]), atol=1e-4, rtol=0)
    assert parts.validation_loss[0.01] == pytest.approx(whole.validation_loss[0.01], abs=1e-6)


def test_solved_twice_is_the_same_to_the_bit() -> None:
    first, second = (solved(LOSSES["plain"], 1e-4, 1e-2, 1.0) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
    assert first.validation_loss == second.validation_loss


def test_strength_with_the_lowest_validation_loss_wins() -> None:
    grid = (1e-6, 1e-3, 1e-2, 0.1, 10.0)
    seen: list[float] = []
    solution = solve_linear(TRAIN, VALIDATION, CLASSES, nn.CrossEntropyLoss(), grid, seen.append)
    assert seen == sorted(grid, reverse=True)
    assert solution.l2 == min(solution.validation_loss, key=solution.validation_loss.__getitem__)
    for l2, value in solution.validation_loss.items():
        alone = logits(solved(nn.CrossEntropyLoss(), l2), VALIDATION[0])
        assert nn.functional.cross_entropy(alone, VALIDATION[1]).item() == pytest.approx(value, abs=1e-5)
    chosen = nn.functional.cross_entropy(logits(solution, VALIDATION[0]), VALIDATION[1]).item()
    assert chosen == pytest.approx(min(solution.validation_loss.values()), abs=1e-6)


def test_constant_features_say_nothing_and_a_tie_goes_to_the_stronger() -> None:
    constant = torch.full_like(TRAIN[0], 3.0)
    solution = solved(
        nn.CrossEntropyLoss(), 0.01, 0.1, 1.0, train=(constant, TRAIN[1]), validation=(constant, TRAIN[1])
    )
    assert solution.l2 == 1.0 and len(set(solution.validation_loss.values())) == 1
    shares = torch.bincount(TRAIN[1], minlength=CLASSES) / len(TRAIN[1])
    torch.testing.assert_close(logits(solution, constant[:1]).softmax(1)[0].float(), shares, atol=1e-5, rtol=0)


def test_one_constant_feature_leaves_the_others_alone() -> None:
    def widened(data: Data) -> Data:
        return torch.cat([data[0], torch.full((len(data[0]), 1), 7.0)], 1), data[1]

    plain = solved(nn.CrossEntropyLoss(), 0.01)
    wide = solved(nn.CrossEntropyLoss(), 0.01, train=widened(TRAIN), validation=widened(VALIDATION))
    torch.testing.assert_close(wide.weight[:, :DIM], plain.weight, atol=1e-4, rtol=1e-3)
    assert wide.weight[:, DIM].abs().max() < 1e-6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("where", "message"),
    [("train", "1 of 6 features are not finite in training"), ("validation", "validation loss is")],
)
def test_features_that_are_no_numbers(where: str, message: str, value: float) -> None:
    broken = {"train": TRAIN, "validation": VALIDATION}
    features = broken[where][0].clone()
    features[3, 1] = value
    broken[where] = (features, broken[where][1])
    with pytest.raises(FloatingPointError, match=message):
        solved(nn.CrossEntropyLoss(), 0.1, **broken)
