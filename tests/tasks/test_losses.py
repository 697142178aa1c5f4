"""Losses against slow loops."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ranks import on_two_ranks
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from lightning_tl.losses import NTXent


def views(count: int, dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(count, dim, generator=generator)
    return first, first + 0.5 * torch.randn(count, dim, generator=generator)


def slow_nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 1 of Chen et al. 2020, one pair at a time."""
    rows = [row.tolist() for row in torch.cat([first, second]).double()]
    count = len(first)

    def similarity(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.hypot(*a) / math.hypot(*b) / temperature

    total = 0.0
    for i, row in enumerate(rows):
        positive = (i + count) % (2 * count)
        others = sum(math.exp(similarity(row, other)) for k, other in enumerate(rows) if k != i)
        total -= similarity(row, rows[positive]) - math.log(others)
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("count", [2, 7])
def test_nt_xent_is_the_slow_loop(count: int, temperature: float) -> None:
    first, second = views(count)
    expected = slow_nt_xent(first, second, temperature)
    assert NTXent(temperature)(first, second).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_nt_xent_does_not_see_norms_nor_which_view_is_first() -> None:
    first, second = views(6)
    sizes = torch.rand(6, 1) * 10 + 0.1
    expected = NTXent()(first, second)
    torch.testing.assert_close(NTXent()(first * sizes, second / sizes), expected)
    torch.testing.assert_close(NTXent()(second, first), expected)


def test_nt_xent_is_lower_when_views_agree() -> None:
    first, second = views(6)
    assert NTXent()(first, first) < NTXent()(first, second) < NTXent()(first, second.roll(1, 0))


def test_nt_xent_keeps_full_precision_under_autocast() -> None:
    first, second = views(6)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = NTXent()(first, second)
    assert torch.equal(mixed, NTXent()(first, second))


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    first, second = views(8)
    everyone = torch.stack([first, second])
    parts = [NTXent()(first[k : k + 2], second[k : k + 2], everyone, offset=k) for k in range(0, 8, 2)]
    torch.testing.assert_close(torch.stack(parts).mean(), NTXent()(first, second))


def gathered_gradient() -> tuple[Tensor, float]:
    """This rank's share of the gradient of a linear map, averaged over ranks as DDP does."""
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    first, second = views(8)
    matrix = torch.eye(5, requires_grad=True)
    size = len(first) // ranks
    mine = slice(rank * size, (rank + 1) * size)
    a, b = first[mine] @ matrix, second[mine] @ matrix
    everyone = torch.stack(all_gather(torch.stack([a, b]))).transpose(0, 1).flatten(1, 2)
    loss = NTXent()(a, b, everyone, offset=rank * size)
    loss.backward()
    for value in (matrix.grad, mean := loss.detach()):
        dist.all_reduce(value)
    return matrix.grad / ranks, mean.item() / ranks


def test_nt_xent_on_two_processes_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    matrix = torch.eye(5, requires_grad=True)
    first, second = views(8)
    loss = NTXent()(first @ matrix, second @ matrix)
    loss.backward()
    for gradient, value in on_two_ranks(gathered_gradient, tmp_path):
        torch.testing.assert_close(gradient, matrix.grad, atol=1e-6, rtol=1e-5)
        assert value == pytest.approx(loss.item(), abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0, got"):
        NTXent(temperature)


@pytest.mark.parametrize(
    ("first", "second", "others", "offset", "message"),
    [
        ((4, 5), (3, 5), None, 0, r"both views must be \[batch, dim\], got \(4, 5\) and \(3, 5\)"),
        ((2, 4, 5), (2, 4, 5), None, 0, r"both views must be \[batch, dim\]"),
        ((4, 5), (4, 5), (8, 5), 0, r"others must be \[2, total, 5\].*got \(8, 5\)"),
        ((4, 5), (4, 5), (2, 8, 6), 0, r"others must be \[2, total, 5\]"),
        ((4, 5), (4, 5), (2, 8, 5), 5, r"at least offset \(5\) \+ batch \(4\)"),
        ((4, 5), (4, 5), (2, 8, 5), -1, r"at least offset \(-1\)"),
        ((1, 5), (1, 5), None, 0, "a single image has no others"),
    ],
)
def test_shapes_that_do_not_fit(
    first: tuple[int, ...], second: tuple[int, ...], others: tuple[int, ...] | None, offset: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NTXent()(torch.randn(first), torch.randn(second), None if others is None else torch.randn(others), offset)
