"""What a batch pays: candidates, their correction, what is masked, and the same over several processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ranks import on_two_ranks
from torch.nn import functional as F

from datamodules import InteractionDataModule
from lightning_tl.contracts.interactions import InteractionLog
from lightning_tl.losses import InfoNCE
from lightning_tl.retrieval.negatives.batch_loss import BatchLoss
from lightning_tl.retrieval.negatives.taken_items import TakenItems

USERS, ITEMS, DIM = 5, 9, 4


def log_of(pairs: list[tuple[int, int]]) -> InteractionLog:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    columns = [np.array([pair[k] for pair in pairs], np.int32).reshape(-1) for k in range(2)]
    return InteractionLog(columns[0], columns[1], np.arange(len(pairs)), ["u"] * USERS, ["i"] * ITEMS)


PAIRS = [(0, 0), (0, 1), (0, 5), (1, 1), (1, 2), (2, 3), (2, 0), (3, 4), (4, 1), (4, 6)]
ASKED = [(0, 0), (1, 1), (2, 3), (3, 4), (0, 5), (4, 1), (4, 6)]  # some of the events, as a batch


def sides(uniform: int = 3, given_: int = 2, seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def vectors(count: int) -> torch.Tensor:
        return F.normalize(torch.randn(count, DIM, generator=generator), dim=-1)

    numbers = {
        "users": torch.tensor([user for user, _ in ASKED]),
        "items": torch.tensor([item for _, item in ASKED]),
        "uniform": torch.tensor([6, 3, 1][:uniform], dtype=torch.int64),
        "given": torch.tensor([2, 5][:given_], dtype=torch.int64),
    }
    return {name: (values, vectors(len(values))) for name, values in numbers.items()}


def slow_loss(parts, log: InteractionLog, temperature: float, share: float, log_q: bool, mask: bool, weight) -> float:
    """The same by loops over rows and columns."""
    taken = {(int(u), int(i)) for u, i in zip(log.users, log.items, strict=True)}
    users, items = parts["users"], parts["items"]
    rows = len(users[0])
    columns = [
        (int(item), vector, kind)
        for kind in ("items", "uniform", "given")
        for item, vector in zip(*parts[kind], strict=True)
    ]
    drawn, known, total = len(parts["uniform"][0]), len(set(log.items.tolist())), 0.0
    for row in range(rows):
        user, item = int(users[0][row]), int(items[0][row])
        terms = []
        for column, (other, vector, kind) in enumerate(columns):
            if column != row and (other == item or (mask and (user, other) in taken)):
                continue
            count = rows * float((log.items == other).mean()) + drawn / known if log_q and kind != "given" else 1.0
            terms.append((column, math.exp(float(users[1][row] @ vector) / temperature) / count))
        own = dict(terms)[row]
        loss = (1 - share) * -math.log(own / sum(value for _, value in terms))
        terms = []
        for column in range(rows):
            other = int(users[0][column])
            same = other == user or int(items[0][column]) == item
            if column != row and (same or (mask and (other, item) in taken)):
                continue
            count = rows * float((log.users == other).mean()) if log_q else 1.0
            terms.append((column, math.exp(float(items[1][row] @ users[1][column]) / temperature) / count))
        loss += share * -math.log(dict(terms)[row] / sum(value for _, value in terms))
        total += loss * float(weight[row])
    return total / float(weight.sum())


@pytest.mark.parametrize("log_q", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize(("uniform", "given_"), [(0, 0), (3, 0), (0, 2), (3, 2)])
def test_loops_give_the_same(log_q: bool, mask: bool, uniform: int, given_: int) -> None:
    parts, log = sides(uniform, given_), log_of(PAIRS)
    weight = torch.rand(len(ASKED), generator=torch.Generator().manual_seed(3)) + 0.1
    loss = BatchLoss(InfoNCE(0.2, row_chunk=3), 0.3, log_q, mask, log)
    found, bound = loss(**parts, weight=weight, with_bound=True)
    assert found.item() == pytest.approx(slow_loss(parts, log, 0.2, 0.3, log_q, mask, weight), rel=1e-5)
    assert bound is not None and float(bound) < math.log(len(ASKED))


def test_only_the_first_batch_must_have_negatives() -> None:
    parts, log = sides(0, 0), log_of(PAIRS)
    one = {name: (numbers[:1], vectors[:1]) for name, (numbers, vectors) in parts.items()}
    loss = BatchLoss(InfoNCE(0.2), 0.5, True, True, log)
    with pytest.raises(ValueError, match="every candidate of this batch"):
        loss(**one, weight=None)
    assert loss(**parts, weight=None)[0].item() > 0
    assert loss(**one, weight=None)[0].item() == 0


def shared_gradient() -> dict[str, Any]:
    """Each process has some of the rows, not the same number; the gradient as DDP averages it."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    cut = {"users": (0, 5, 7), "items": (0, 5, 7), "uniform": (0, 1, 3), "given": (0, 0, 2)}
    found = {}
    for name, ranks in (("shared", 2), ("whole", 1)):
        parts, matrix = sides(), torch.eye(DIM).requires_grad_()
        if ranks == 2:
            parts = {key: tuple(v[cut[key][rank] : cut[key][rank + 1]] for v in pair) for key, pair in parts.items()}
        moved = {key: (numbers, F.normalize(vectors @ matrix, dim=-1)) for key, (numbers, vectors) in parts.items()}
        loss = BatchLoss(InfoNCE(0.2), 0.5, True, True, log_of(PAIRS))
        value, _ = loss(**moved, weight=None, rank=rank if ranks == 2 else 0, ranks=ranks)
        value.backward()
        gradients = [matrix.grad, loss.loss.log_scale.grad]
        for gradient in gradients if ranks == 2 else ():
            dist.all_reduce(gradient)
            gradient /= 2
        found[name] = torch.cat([gradient.flatten() for gradient in gradients])
    return found


def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    for found in on_two_ranks(shared_gradient, tmp_path):
        assert float(found["shared"].norm() / found["whole"].norm()) == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(found["shared"], found["whole"], rtol=1e-4, atol=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=30),
    st.lists(st.integers(-1, 4), min_size=1, max_size=6),
    st.lists(st.integers(0, 7), min_size=1, max_size=9),
)
def test_taken_items_are_those_of_the_log(pairs, users, candidates) -> None:
    found = TakenItems.of(log_of(pairs)).among(torch.tensor(users), torch.tensor(candidates))
    assert found.tolist() == [[(user, item) in pairs for item in candidates] for user in users]


@pytest.mark.parametrize("most", [1, 3, None])
def test_the_correction_expects_what_the_sampler_draws(most: int | None, tmp_path: Path) -> None:
    """Counted over many epochs, heavy users beside light ones, whose items differ."""
    rows = [(f"heavy{k}", f"i{j}", j) for k in range(4) for j in range(12)]
    rows += [(f"light{k}", f"x{j}", 3 * j) for k in range(12) for j in range(3)]
    rows += [("late", "i0", 50), ("late", "x0", 60)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv(tmp_path / "log.csv", index=False)
    windows: dict[str, Any] = {"validation": 40, "test": 55, "queries_per_row": most, "history_length": 8}
    data = InteractionDataModule(tmp_path / "log.csv", **windows, num_workers=0, seed=1, cache=tmp_path / "cache")
    data.setup()
    loss = BatchLoss(InfoNCE(), 0.5, True, True, data.training_log, data.training_chances)
    items, users = np.zeros(len(data.log.item_ids)), np.zeros(len(data.log.user_ids))
    loader = data.train_dataloader()
    for epoch in range(150):
        batch = loader.samples.fetch(np.arange(len(data._pieces())), epoch)
        np.add.at(items, batch["target"].numpy(), 1)
        np.add.at(users, batch["user"][batch["row"]].numpy(), 1)
    np.testing.assert_allclose(loss.item_share, items / items.sum(), atol=0.01)
    np.testing.assert_allclose(loss.user_share, users / users.sum(), atol=0.01)
    assert data.training_chances is None or len(data.training_chances) == len(data.training_log)
