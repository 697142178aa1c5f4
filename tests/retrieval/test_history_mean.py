"""`HistoryMean`: the mean of what a query may read, and nothing of what it may not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower

from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.losses import InfoNCE
from lightning_tl.retrieval import HistoryMean

ROW, POSITION = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 2, 5, 1, 4])


def built(**options: Any) -> HistoryMean:
    torch.manual_seed(0)
    tower = HistoryMean(**{"hidden": 12, **options})
    tower.build(8, SimpleNamespace(history_length=5, profile_sizes=[3, 4]))  # type: ignore[arg-type]
    return tower.eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, length, dim] vectors and [rows, fields] profiles."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 5, 8, generator=generator), torch.tensor([[1, 3], [2, 0]])


@pytest.mark.parametrize("profile", [True, False])
def test_a_query_is_the_projected_mean_of_what_it_reads(profile: bool) -> None:
    """Against a loop over queries and items."""
    tower, (vectors, profiles) = built(profile=profile), inputs()
    found = tower(torch.zeros(2, 5, dtype=torch.int64), vectors, profiles, ROW, POSITION)
    for query, (row, position) in enumerate(zip(ROW.tolist(), POSITION.tolist(), strict=True)):
        total = torch.zeros(8)
        for place in range(position):
            total = total + vectors[row, place] / position
        for number, field in enumerate(tower.fields if profile else []):
            total = total + field.weight[profiles[row, number]]
        torch.testing.assert_close(found[query], tower.projection(total), rtol=1e-5, atol=1e-6)
    assert len(tower.fields) == (2 if profile else 0)


@pytest.mark.parametrize("after", [7.0, float("nan"), float("inf")])
def test_a_query_reads_nothing_after_its_position(after: float) -> None:
    tower, (vectors, profiles) = built(), inputs()
    changed = vectors.clone()
    changed[0, 2:] = after
    before, now = (tower(torch.zeros(2, 5), each, profiles, ROW, POSITION) for each in (vectors, changed))
    assert torch.equal(before[:2], now[:2]) and torch.equal(before[3:], now[3:]) and not torch.equal(before[2], now[2])


def test_order_does_not_count_and_histories_and_people_do() -> None:
    tower, (vectors, profiles) = built(), inputs()
    row, position = torch.tensor([0]), torch.tensor([5])

    def of(read: torch.Tensor, people: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = tower(torch.zeros(2, 5), read, people, row, position)
        return found

    torch.testing.assert_close(of(vectors, profiles), of(vectors.flip(1), profiles))
    assert not torch.equal(of(vectors, profiles), of(vectors * 2, profiles))
    assert not torch.equal(of(vectors, profiles), of(vectors, profiles.flip(0)))


def test_long_histories_are_summed_exactly_in_half_precision() -> None:
    tower = built(profile=False).to(torch.bfloat16)
    tower.projection = torch.nn.Identity()  # type: ignore[assignment]
    vectors = torch.ones(1, 3000, 8, dtype=torch.bfloat16)
    found = tower(torch.zeros(1, 3000), vectors, torch.zeros(1, 2), torch.tensor([0]), torch.tensor([3000]))
    assert found.dtype == torch.bfloat16 and found.unique().tolist() == [1.0]


def test_it_learns_what_users_like(tmp_path: Path) -> None:
    module, data = tiny_two_tower(users=HistoryMean(hidden=16), loss=InfoNCE(0.2)), tiny_data(tmp_path / "log")
    chance = tiny_trainer(tmp_path).validate(tiny_two_tower(), datamodule=data, verbose=False)[0]["val_mrr"]
    trainer = tiny_trainer(tmp_path, max_epochs=20)
    trainer.fit(module, datamodule=data)
    assert trainer.callback_metrics["val_mrr"] > 1.5 * chance
    check_partition(module, module.layer_groups())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HistoryMean(hidden=0), "hidden must be at least 1, got 0"),
        (lambda: HistoryMean(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], HistoryMean], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
