"""DINO's loss, centre and head against loops over numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.losses import DinoLoss
from lightning_tl.losses.dino import entropy
from lightning_tl.pretraining.dino.projection_head import ProjectionHead


def softmax(row: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.array([math.exp(value - row.max()) for value in row])
    found: NDArray[np.float64] = powers / powers.sum()
    return found


def slow_loss(student: Tensor, teacher: Tensor, centre: Tensor, cold: float, warm: float) -> float:
    """Equations 1 to 4 of the paper, one image and one pair of views at a time."""
    s, t, c = (value.double().numpy() for value in (student, teacher, centre))
    total, pairs = 0.0, 0
    for g in range(len(t)):
        for v in range(len(s)):
            if v == g:
                continue
            pairs += 1
            for image in range(s.shape[1]):
                told = softmax((t[g, image] - c) / cold)
                said = softmax(s[v, image] / warm)
                total -= sum(p * math.log(q) for p, q in zip(told, said, strict=True)) / s.shape[1]
    return total / pairs


def outputs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("views", "wide", "batch"), [(2, 2, 4), (5, 2, 3), (8, 2, 1), (4, 3, 2), (3, 1, 2)])
@pytest.mark.parametrize(("warm", "cold"), [(0.1, 0.04), (1.0, 0.5)])
def test_loss_is_that_of_a_loop(views: int, wide: int, batch: int, warm: float, cold: float) -> None:
    loss = DinoLoss(7, warm)
    loss.centre.copy_(outputs(7, seed=3))
    student, teacher = outputs(views, batch, 7), outputs(wide, batch, 7, seed=1)
    expected = slow_loss(student, teacher, loss.centre, cold, warm)
    assert float(loss(student, teacher, cold)) == pytest.approx(expected, rel=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(loss(student, teacher, cold)) == pytest.approx(expected, rel=1e-5)


def test_only_the_student_gets_a_gradient() -> None:
    loss, student, teacher = DinoLoss(5), outputs(3, 2, 5).requires_grad_(), outputs(2, 2, 5).requires_grad_()
    loss(student, teacher, 0.04).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0 and teacher.grad is None


def test_centre_is_a_moving_average() -> None:
    loss, expected = DinoLoss(4, centre_momentum=0.8), np.zeros(4)
    for step in range(5):
        mean = outputs(4, seed=step)
        loss.follow(mean)
        expected = 0.8 * expected + 0.2 * mean.double().numpy()
    np.testing.assert_allclose(loss.centre.numpy(), expected, rtol=1e-5)
    assert "centre" in loss.state_dict()


def test_centring_keeps_one_output_from_winning() -> None:
    loss, teacher = DinoLoss(4), outputs(2, 6, 4) + torch.tensor([9.0, 0, 0, 0])
    assert (loss.probabilities(teacher, 0.04).argmax(-1) == 0).all()
    loss.centre.copy_(teacher.mean((0, 1)))
    assert len(set(loss.probabilities(teacher, 0.04).argmax(-1).flatten().tolist())) > 1


@pytest.mark.parametrize(
    ("row", "expected"), [([1.0, 0.0, 0.0, 0.0], 0.0), ([0.25] * 4, math.log(4)), ([0.5, 0.5, 0.0, 0.0], math.log(2))]
)
def test_entropy(row: list[float], expected: float) -> None:
    assert float(entropy(torch.tensor([[row, row]]))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 1}, "outputs must be at least 2, got 1"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0"),
        ({"temperature": float("nan")}, "temperature must be above 0, got nan"),
        ({"centre_momentum": 1.0}, r"centre_momentum must be in \[0, 1\), got 1"),
    ],
)
def test_arguments(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DinoLoss(**({"outputs": 4} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3, 4), (3, 3, 4)), ((2, 3, 4), (2, 2, 4)), ((1, 3, 4), (1, 3, 4)), ((3, 4), (2, 4))]
)
def test_shapes(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"student must be \[views, batch, outputs\] of at least 2 views"):
        DinoLoss(4)(torch.zeros(student), torch.zeros(teacher), 0.04)


# -------------------------------------------------------------------- head


def test_outputs_are_cosines_with_prototypes() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(6, 8, 5, 9)
    features = outputs(4, 6)
    with torch.no_grad():
        found, places = head(features), head.layers(features)
        for i in range(4):
            for k in range(9):
                a, b = places[i].double().numpy(), head.prototypes[k].double().numpy()
                assert float(found[i, k]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
        head.prototypes.mul_(3)  # no gain
        torch.testing.assert_close(head(features), found)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert head(features).dtype == torch.float32


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((6, 0, 5, 9), "hidden must be at least 1, got 0"),
        ((6, 8, 0, 9), "bottleneck must be at least 1, got 0"),
        ((6, 8, 5, 1), "prototypes must be at least 2, got 1"),
    ],
)
def test_sizes_of_the_head(sizes: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProjectionHead(*sizes)
