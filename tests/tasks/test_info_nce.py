"""InfoNCE against a slow loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_two_ranks
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from lightning_tl.losses import Candidates, InfoNCE, info_nce


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slow_losses(queries, columns, positive, temperature, counts=None, masked=None) -> list[float]:
    """Each row's loss by the formula, in plain Python."""
    losses = []
    for row, query in enumerate(queries.tolist()):
        terms = {}
        for column, candidate in enumerate(columns.tolist()):
            if masked is not None and masked[row][column] and column != positive[row]:
                continue
            cosine = sum(a * b for a, b in zip(query, candidate, strict=True))
            terms[column] = math.exp(cosine / temperature) / (1 if counts is None else counts[column])
        losses.append(-math.log(terms[int(positive[row])] / sum(terms.values())))
    return losses


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(0, 6), st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 999))
def test_a_slow_loop_gives_the_same(
    rows: int, more: int, chunk: int, counted: bool, with_mask: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    columns = rows + more + 1
    queries, candidates = units(rows, 5, seed=seed), units(columns, 5, seed=seed + 1)
    positive = torch.randint(columns, (rows,), generator=generator)
    counts = torch.rand(columns, generator=generator) * 3 + 0.1 if counted else None
    masked = torch.rand(rows, columns, generator=generator) < 0.5 if with_mask else None
    loss = InfoNCE(0.2, row_chunk=chunk)
    given_ = Candidates(
        candidates,
        positive,
        None if counts is None else counts.log(),
        None if masked is None else lambda part: masked[part],
    )
    expected = slow_losses(queries, candidates, positive, 0.2, counts, masked)
    if masked is not None and int((~masked.scatter(1, positive[:, None], False)).sum()) == rows:
        with pytest.raises(ValueError, match="every candidate of this batch"):
            loss(queries, given_)
        return
    torch.testing.assert_close(loss(queries, given_), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    without = slow_losses(queries, candidates, positive, 0.2, None, masked)
    kept = torch.ones(rows, columns).bool() if masked is None else ~masked
    numbers = kept.scatter(1, positive[:, None], True).sum(1).tolist()
    bound = np.mean([math.log(number) - value for number, value in zip(numbers, without, strict=True)])
    assert float(loss.information_bound(queries, given_)) == pytest.approx(bound, abs=1e-4)


def test_chunks_change_no_gradient() -> None:
    found = []
    for chunk in (1000, 3):
        queries, columns = units(10, 4).requires_grad_(), units(14, 4, seed=1).requires_grad_()
        loss = InfoNCE(0.1, row_chunk=chunk)
        loss(queries, Candidates(columns, torch.arange(10), torch.zeros(14))).mean().backward()
        found.append((queries.grad, columns.grad, loss.log_scale.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("candidates", "at_once"), [(6, 12), (6, 5), (3, 100)])
def test_no_more_logits_are_held_at_once_than_the_limit(
    candidates: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one row's, where these alone are more."""
    held, own = [], info_nce._row_losses
    monkeypatch.setattr(info_nce, "_LOGITS_AT_ONCE", at_once)
    monkeypatch.setattr(
        info_nce, "_row_losses", lambda queries, *rest: held.append(len(queries)) or own(queries, *rest)
    )
    rows = Candidates(units(candidates, 4, seed=1), torch.zeros(7, dtype=torch.int64))
    with torch.no_grad():
        InfoNCE(0.1)(units(7, 4), rows)
    assert sum(held) == 7 and max(held) <= max(1, at_once // candidates)


def test_the_correction_takes_the_bias_of_sampling_away() -> None:
    """Candidates drawn by popularity, corrected, give on average the gradient of all items with equal weight."""
    generator = np.random.default_rng(0)
    items, query = units(30, 6, seed=2).double(), units(1, 6, seed=3).double()
    share = generator.dirichlet(np.full(30, 0.5)) * 0.9 + 0.1 / 30
    whole = torch.logsumexp(query @ items.T / 0.5, 1)
    for corrected, close in ((True, True), (False, False)):
        drawn = torch.from_numpy(generator.choice(30, size=200_000, p=share))
        counts = torch.from_numpy(share)[drawn].log() + math.log(len(drawn))
        logits = query @ items[drawn].T / 0.5 - (counts if corrected else math.log(len(drawn) / 30))
        assert (abs(float(torch.logsumexp(logits, 1) - whole)) < 0.02) == close


def test_the_temperature_is_learned_within_its_limits() -> None:
    loss = InfoNCE(0.02, lowest=0.01, highest=0.5)
    assert loss.temperature == pytest.approx(0.02) and loss.log_scale.requires_grad
    with torch.no_grad():
        loss.log_scale.fill_(99)
    assert loss.temperature == pytest.approx(0.01)
    with torch.no_grad():
        loss.log_scale.fill_(-99)
    assert loss.temperature == pytest.approx(0.5)
    assert not InfoNCE(0.1, learned=False).log_scale.requires_grad


@pytest.mark.parametrize(("start", "pulled", "moved"), [(0.01, 1.0, 1), (1.0, -1.0, -1)])
def test_a_temperature_comes_back_from_its_limits(start: float, pulled: float, moved: int) -> None:
    """Whatever pushed it beyond: one step the other way is enough."""
    loss = InfoNCE(start)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    queries = units(2, 3)
    opposite = queries if moved < 0 else -queries  # the partner is the best, so that it cools, or the worst
    with torch.no_grad():
        loss.log_scale += pulled  # beyond the limit
    for _ in range(2):
        optimizer.zero_grad()
        loss(queries, Candidates(opposite, torch.arange(2))).mean().backward()
        optimizer.step()
    assert (loss.temperature - start) * moved > 0
    assert loss.log_scale.ndim == 0  # so that no weight decay applies


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be between"),
        ({"temperature": 2.0}, "temperature must be between lowest"),
        ({"lowest": 0.0}, "lowest above 0"),
        ({"row_chunk": 0}, "row_chunk must be at least 1, got 0"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InfoNCE(**options)


@pytest.mark.parametrize(
    ("queries", "columns", "positive", "counts", "message"),
    [
        ((4, 3), (4, 2), 4, 4, "queries must be"),
        ((4, 3), (4, 3), 3, 4, "one column for each of 4 rows"),
        ((4, 3), (4, 3), 4, 5, "one number for each of 4 candidates"),
    ],
)
def test_shapes_that_do_not_fit(queries, columns, positive: int, counts: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InfoNCE()(units(*queries), Candidates(units(*columns), torch.arange(positive), torch.zeros(counts)))


def test_a_batch_without_negatives() -> None:
    with pytest.raises(ValueError, match=r"every candidate of this batch .* larger batch_size"):
        InfoNCE()(units(1, 3), Candidates(units(1, 3), torch.arange(1)))


def rank_gradients() -> list[list[float]]:
    """Local rows by gathered columns, averaged over ranks as DDP does; and the whole batch in one process."""
    dist.init_process_group("gloo")
    rank, found = dist.get_rank(), []
    for shared in (True, False):
        weight = units(4, 4, seed=5).requires_grad_()
        queries, columns = units(12, 4, seed=6), units(12, 4, seed=7)
        mine = slice(6 * rank, 6 * rank + 6) if shared else slice(0, 12)
        left, right = F.normalize(queries[mine] @ weight, dim=-1), F.normalize(columns[mine] @ weight, dim=-1)
        everyone = torch.cat(list(all_gather(right))) if shared else right
        positive = torch.arange(len(left)) + (mine.start if shared else 0)
        InfoNCE(0.1)(left, Candidates(everyone, positive)).mean().backward()
        if shared:
            dist.all_reduce(weight.grad)
            weight.grad /= 2
        found.append(weight.grad.flatten().tolist())
    return found


def test_two_ranks_have_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    for shared, whole in on_two_ranks(rank_gradients, tmp_path):
        assert np.linalg.norm(shared) / np.linalg.norm(whole) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(shared, whole, atol=1e-6)
