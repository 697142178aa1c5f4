"""Order of samples, seeding of batches, and continuing in the middle of an epoch."""

from __future__ import annotations

import gc
import multiprocessing
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules.loading.loading import ResumableLoader, SeededItems
from datamodules.loading.orders import EvaluationOrder, TrainingOrder
from datamodules.loading.resumable_data import ResumableDataModule
from datamodules.loading.seeding import mix, sample_keys, seed_generators, uniforms


class Noisy(torch.utils.data.Dataset[dict[str, Any]]):
    """Items that draw from all three generators."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = torch.rand(2) + float(np.random.rand()) + random.random()
        return {"index": index, "inputs": noise}


def epoch_of(loader: ResumableLoader, epoch: int) -> list[dict[str, Tensor]]:
    loader.set_epoch(epoch)
    return list(loader)


def by_sample(batches: list[dict[str, Tensor]]) -> dict[int, Tensor]:
    return {int(i): row for batch in batches for i, row in zip(batch["index"], batch["inputs"], strict=True)}


# -------------------------------------------------------------------- orders


@given(samples=st.integers(1, 60), batch=st.integers(1, 20), world=st.integers(1, 5), drop_last=st.booleans())
@settings(max_examples=80, deadline=None)
def test_training_batches_are_equal_on_all_ranks_and_repeat_nothing_they_need_not(
    samples: int, batch: int, world: int, drop_last: bool
) -> None:
    orders = [TrainingOrder(range(samples), batch, 3, rank, world, drop_last=drop_last) for rank in range(world)]
    per_rank = [order.batches(2) for order in orders]
    sizes = [[len(b) for b in batches] for batches in per_rank]
    assert all(len(batches) == len(orders[0]) for batches in per_rank)
    assert all(size == sizes[0] for size in sizes)
    assert max(sizes[0]) <= batch and max(sizes[0]) - min(sizes[0]) <= 1 and min(sizes[0]) >= 1
    seen = np.concatenate([b for batches in per_rank for b in batches])
    if drop_last and samples >= world:
        assert len(set(seen)) == len(seen)
    if drop_last and samples >= batch * world:
        assert set(sizes[0]) == {batch} and samples - len(seen) < batch * world
    if not drop_last:
        assert set(seen) == set(range(samples)) and len(seen) - samples < world


@given(samples=st.integers(0, 60), batch=st.integers(1, 20), world=st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_evaluation_covers_every_sample_exactly_once(samples: int, batch: int, world: int) -> None:
    orders = [EvaluationOrder(np.arange(samples) + 7, batch, rank, world) for rank in range(world)]
    per_rank = [order.batches() for order in orders]
    seen = [int(i) for batches in per_rank for b in batches for i in b]
    assert sorted(seen) == list(range(7, samples + 7))
    for rank, batches in enumerate(per_rank):
        mine = [int(i) for b in batches for i in b]
        assert mine == list(range(7 + rank, samples + 7, world))
    if samples >= world:  # else DDP would wait for ever
        assert {len(batches) for batches in per_rank} == {len(orders[0])}
        assert max(len(b) for batches in per_rank for b in batches) <= batch + 1


def test_order_is_a_function_of_seed_and_epoch_whatever_the_ranks_and_batch_sizes() -> None:
    def flat(batch: int, world: int, epoch: int, seed: int = 0) -> list[int]:
        ranks = [
            np.concatenate(TrainingOrder(range(60), batch, seed, r, world, drop_last=False).batches(epoch))
            for r in range(world)
        ]
        return [int(i) for i in np.stack(ranks, axis=1).ravel()]

    assert flat(8, 1, 4) == flat(3, 1, 4) == flat(5, 2, 4) == flat(4, 3, 4)
    assert len({tuple(flat(8, 1, epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9
    unshuffled = TrainingOrder(range(9), 3, 0, shuffle=False)
    assert np.concatenate(unshuffled.batches(5)).tolist() == list(range(9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingOrder(range(5), 0, 0), "batch_size must be at least 1, got 0"),
        (lambda: TrainingOrder([], 4, 0), "there are no samples to train on"),
        (lambda: EvaluationOrder(range(5), 4, 2, 2), r"rank must be in 0…1, got 2"),
        (lambda: ResumableLoader(SeededItems(Noisy(), 0), EvaluationOrder(range(5), 4), 0, -1), "num_workers must be"),
        (lambda: ResumableDataModule(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: ResumableDataModule(eval_batch_size=0), "eval_batch_size must be at least 1, got 0"),
        (lambda: ResumableDataModule(num_workers=-2), "num_workers must be at least 0, got -2"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_uniforms_are_uniform_and_independent_of_company() -> None:
    keys = sample_keys(np.arange(20_000), 1, "image", 3)
    draws = uniforms(keys, 4)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.allclose(draws.mean(0), 0.5, atol=0.01) and np.allclose(draws.var(0), 1 / 12, atol=0.003)
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    assert np.array_equal(uniforms(sample_keys([17, 5], 1, "image", 3), 4), draws[[17, 5]])
    assert mix(1, "a") == 4207620368297011618  # the same on every machine, in every version


# -------------------------------------------------------------------- loader


def test_items_do_not_depend_on_batches_workers_or_ranks() -> None:
    def items(batch: int, workers: int, world: int) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for rank in range(world):
            order = TrainingOrder(range(50), batch, 1, rank, world, drop_last=False)
            found |= by_sample(epoch_of(ResumableLoader(SeededItems(Noisy(), 1), order, 1, workers), 3))
        return found

    reference = items(8, 0, 1)
    assert len(reference) == 50
    for other in (items(5, 0, 1), items(8, 2, 1), items(4, 0, 2)):
        assert all(torch.equal(other[i], reference[i]) for i in range(50))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_differ_and_repeat_also_with_persistent_workers(workers: int) -> None:
    loader = ResumableLoader(SeededItems(Noisy(), 1), TrainingOrder(range(50), 8, 1), 1, workers)
    first, second, again = epoch_of(loader, 0), epoch_of(loader, 1), epoch_of(loader, 0)
    assert len(first) == len(loader) == 6
    assert all(torch.equal(a["inputs"], b["inputs"]) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a["inputs"], b["inputs"]) for a, b in zip(first, second, strict=True))
    loader.set_epoch(2)
    next(iter(loader))  # given up after one batch
    assert [b["index"].tolist() for b in epoch_of(loader, 1)] == [b["index"].tolist() for b in second]


def test_generators_are_seeded_for_each_batch_and_nothing_starts_before_the_first_next() -> None:
    asked: list[int] = []

    def start(loader: ResumableLoader) -> int:
        asked.append(loader.epoch)
        return 2

    def drawn(loader: ResumableLoader) -> list[tuple[float, float, float]]:
        return [(float(torch.rand(1)), float(np.random.rand()), random.random()) for _ in loader]

    order = TrainingOrder(range(50), 8, 1)
    iterator = iter(ResumableLoader(SeededItems(Noisy(), 1), order, 1, start=start))
    assert asked == []
    assert next(iterator)["index"].tolist() == order.batches(0)[2].tolist()
    assert asked == [0]
    whole = drawn(ResumableLoader(SeededItems(Noisy(), 1), order, 1))
    assert drawn(ResumableLoader(SeededItems(Noisy(), 1), order, 1, start=start)) == whole[2:]
    assert len(set(whole)) == 6


def test_evaluation_keeps_its_epoch() -> None:
    loader = ResumableLoader(SeededItems(Noisy(), 1), EvaluationOrder(range(50), 8), 1, epoch=0)
    assert all(
        torch.equal(a["inputs"], b["inputs"]) for a, b in zip(epoch_of(loader, 0), epoch_of(loader, 5), strict=True)
    )


# -------------------------------------------------------------------- a real Trainer


class Net(pl.LightningModule):
    """Writes down every batch, with what dropout drew."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.seen: list[tuple[int, list[int], float]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch["inputs"]).square().mean()
        self.seen.append((self.current_epoch, batch["index"].tolist(), round(loss.item(), 6)))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        torch.rand(3)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(ResumableDataModule):
    def train_dataloader(self) -> ResumableLoader:
        return self.training_loader(SeededItems(Noisy(), self.seed), np.arange(50))

    def val_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(SeededItems(Noisy(), self.seed), np.arange(10), "validation")


def fitted(folder: Path, workers: int, resume: bool = False, **options: Any) -> Net:
    pl.seed_everything(3, verbose=False)
    net = Net()
    checkpoint = ModelCheckpoint(folder, every_n_train_steps=4, save_last=True)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=1, **options,
    )  # fmt: skip
    data = Data(batch_size=8, num_workers=workers)
    trainer.fit(net, datamodule=data, ckpt_path=str(folder / "last.ckpt") if resume else None)
    return net


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [4, 8], ids=["first epoch", "second epoch"])
def test_a_run_stopped_in_an_epoch_goes_on_with_the_batches_it_would_have_had(
    tmp_path: Path, workers: int, stop: int
) -> None:
    whole = fitted(tmp_path / "whole", workers, max_epochs=3)
    assert len(whole.seen) == 18
    first = fitted(tmp_path / "part", workers, max_steps=stop, max_epochs=3)
    second = fitted(tmp_path / "part", workers, resume=True, max_epochs=3)
    assert first.seen + second.seen == whole.seen
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_resuming_with_other_batches_warns(tmp_path: Path) -> None:
    loader = ResumableLoader(SeededItems(Noisy(), 1), TrainingOrder(range(50), 8, 1), 1)
    other = ResumableLoader(SeededItems(Noisy(), 1), TrainingOrder(range(50), 16, 1), 1)
    with pytest.warns(UserWarning, match="batch_size was 8 and is 16"):
        other.load_state_dict(loader.state_dict())


def test_someone_else_reading_the_training_data_does_not_start_late(tmp_path: Path) -> None:
    lengths: list[int] = []

    class Reads(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            lengths.append(len(list(trainer.datamodule.train_dataloader())))  # type: ignore[attr-defined]

    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[Reads()], enable_progress_bar=False, max_steps=3,
        enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Net(), datamodule=Data(batch_size=8, num_workers=0))
    assert lengths == [6, 6, 6]


def test_workers_end_with_their_loader_also_when_it_is_garbage_in_a_cycle() -> None:
    loader = ResumableLoader(SeededItems(Noisy(), 1), TrainingOrder(range(50), 8, 1), 1, num_workers=2)
    iterator = iter(loader)
    next(iterator)
    children = multiprocessing.active_children()
    assert len(children) >= 2
    cycle: list[object] = [loader, iterator]
    cycle.append(cycle)
    del loader, iterator, cycle
    started = time.monotonic()
    gc.collect()
    assert time.monotonic() - started < 4  # seconds; torch gives each worker five
    assert len(multiprocessing.active_children()) <= len(children) - 2


def test_samples_seed_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each such seed would be queued with the text of the whole stack of calls, for every sample anew."""

    def never(seed: int) -> None:
        raise AssertionError("the seed of an accelerator was set")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", never)
    seed_generators(3)
    first = (random.random(), np.random.rand(), torch.rand(()).item())
    torch.default_generator.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    assert first == (random.random(), np.random.rand(), torch.rand(()).item())
