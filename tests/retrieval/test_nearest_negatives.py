"""Negatives that the model finds itself: which they are, when they are looked for, and exact resumption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import lightning.pytorch as pl
import pytest
import torch
import torch.distributed as dist
from hypothesis import settings
from hypothesis import strategies as st
from ranks import on_two_ranks
from tiny import check_resumes, tiny_trainer, weights_hash
from tiny_retrieval import tiny_data, tiny_two_tower, write_log
from torch.nn import functional as F

from lightning_tl.adaptation import LoRA
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.retrieval.negatives import nearest_negatives as module
from lightning_tl.retrieval.negatives.nearest_negatives import NearestNegatives
from lightning_tl.retrieval.negatives.taken_items import TakenItems


def slow(mining: NearestNegatives, queries: Any, vectors: Any, targets: Any, users: Any, taken: Any) -> set[int]:
    """One query and one item at a time."""
    found: set[int] = set()
    for query, target, user in zip(queries, targets.tolist(), users.tolist(), strict=True):
        score = [float((query * vector).sum()) for vector in vectors]
        left = [k for k in range(len(vectors)) if k != target and k not in taken[user]]
        if mining.margin is not None:
            left = [k for k in left if score[k] <= score[target] - mining.margin]
        left.sort(key=lambda k: -score[k])
        found |= set(left[mining.skip : mining.skip + mining.count])
    return found


@settings(deadline=None, max_examples=60)
@hypothesis.given(
    st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 4), st.none() | st.floats(0, 0.5), st.integers(1, 40)
)
def test_they_are_the_nearest_that_the_user_did_not_take(
    seed: int, count: int, skip: int, margin: float | None, at_once: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries, vectors = (F.normalize(torch.randn(n, 4, generator=generator), dim=-1) for n in (5, 9))
    targets, users = torch.randint(9, (5,), generator=generator), torch.randint(3, (5,), generator=generator)
    taken = [sorted(torch.randperm(9, generator=generator)[: 2 * user].tolist()) for user in range(3)]
    table = TakenItems([0, 0, 2, 6], [item for items in taken for item in items])
    mining = NearestNegatives(count, skip=skip, margin=margin)
    mining.refresh(vectors, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SCORES_AT_ONCE", at_once)  # the result is the same in parts
        found = mining.draw(queries, targets, users, table)
    assert found.tolist() == sorted(slow(mining, queries, vectors, targets, users, taken))


def test_half_precision_does_not_round_what_is_near() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(4, generator=generator) + torch.randn(500, 4, generator=generator) / 50, dim=-1)
    mining, taken = NearestNegatives(5, skip=10), TakenItems([0, 0], [])
    mining.refresh(vectors, 0)
    asked = vectors[:8], torch.arange(8), torch.zeros(8, dtype=torch.int64), taken
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mining.draw(*asked)
    assert mixed.equal(mining.draw(*asked))


class Times(pl.Callback):
    """At which steps the items' vectors were made anew."""

    def __init__(self) -> None:
        self.found: list[int] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        made = pl_module.mining._made_at
        if not self.found or self.found[-1] != made:
            self.found.append(made)


def test_vectors_are_made_anew_after_so_many_steps_and_at_each_epoch(tmp_path: Path) -> None:
    times = Times()
    trainer = tiny_trainer(tmp_path, [times], max_epochs=2)
    trainer.fit(tiny_two_tower(mining=NearestNegatives(every=3)), datamodule=tiny_data(tmp_path / "log"))
    steps = trainer.num_training_batches
    assert steps > 4 and steps % 3  # an epoch's start is none of the multiples
    # a callback's hook comes before the module's own: it sees what the step before went on with
    assert set(times.found[1:]) >= {0, 3, steps} and set(times.found) - {-1, steps} == set(
        range(0, max(times.found) + 1, 3)
    ) - {steps}


def test_mined_items_are_candidates(tmp_path: Path) -> None:
    """The loss is that of the same batch with these items given as hard negatives."""
    found = []

    class Keep(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.batch = batch

        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            pl_module.eval()
            with torch.no_grad():
                users = pl_module.embed_queries(batch, pl_module.item_vectors()[batch["history"].clamp(min=0)])
                asking, mining = batch["user"][batch["row"]], pl_module.mining
                mined = mining.draw(users, batch["target"], asking, pl_module.batch_loss.taken)
                with_mining = pl_module.step(batch)[0]
                pl_module.mining = None
                given = pl_module.step(batch | {"hard": mined})[0]
                found.append((len(mined), float(with_mining), float(given), float(pl_module.step(batch)[0])))
                pl_module.mining = mining
            pl_module.train()

    trainer = tiny_trainer(tmp_path, [Keep()], max_epochs=1, max_steps=2)
    trainer.fit(tiny_two_tower(mining=NearestNegatives(2, skip=0)), datamodule=tiny_data(tmp_path / "log"))
    for count, with_mining, given, without in found:
        assert count > 0 and with_mining == pytest.approx(given, rel=1e-5) and with_mining > without


@pytest.mark.parametrize("text", [False, True], ids=["ids", "lora"])
def test_a_stopped_run_goes_on_exactly(text: bool, tmp_path: Path, saved_models: Path) -> None:
    write_log(tmp_path / "log")

    def make() -> Any:
        mining = NearestNegatives(every=2, skip=1)
        if not text:
            return tiny_two_tower(mining=mining)
        encoder = HuggingFaceText(str(saved_models / "minilm"))
        return tiny_two_tower(encoder, adaptation=LoRA(r=2, dropout=0.1), mining=mining)

    batch_size = 16 if text else 6  # encoding takes long
    check_resumes(make, tmp_path, data=lambda: tiny_data(tmp_path / "log", batch_size=batch_size), monitor="val_mrr")


def train_on_a_rank(folder: str, models: str) -> dict[str, str]:
    encoder = HuggingFaceText(str(Path(models) / "minilm"))
    module = tiny_two_tower(encoder, adaptation=LoRA(r=2), mining=NearestNegatives(every=2))
    trainer = tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=2, use_distributed_sampler=False)
    trainer.fit(module, datamodule=tiny_data(Path(folder) / "log"))
    return {"hash": weights_hash(module)}


def test_two_processes_agree(tmp_path: Path, saved_models: Path) -> None:
    write_log(tmp_path / "log")
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path), str(saved_models))
    assert first == second


def draw_on_a_rank(folder: str) -> dict[str, Any]:
    """What one of two processes draws for its half of the queries, and what one process draws for all."""
    dist.init_process_group("gloo")
    rank, mining = dist.get_rank(), NearestNegatives(3, skip=0)
    vectors = F.normalize(torch.randn(40, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    mining.refresh(vectors, 0)
    taken, users, targets = TakenItems([0, 0], []), torch.zeros(8, dtype=torch.int64), torch.arange(8)
    half = slice(0, 3) if rank == 0 else slice(3, 8)
    share = mining.draw(vectors[:8][half], targets[half], users[half], taken, rank, 2)
    return {"share": share.tolist(), "all": mining.draw(vectors[:8], targets, users, taken).tolist()}


def test_processes_share_what_all_find(tmp_path: Path) -> None:
    one, two = on_two_ranks(draw_on_a_rank, tmp_path, str(tmp_path))
    assert sorted(one["share"] + two["share"]) == one["all"] and abs(len(one["share"]) - len(two["share"])) < 2


@pytest.mark.parametrize(("skip", "count"), [(47, 1), (500, 1), (0, 48)])
def test_a_catalogue_that_is_too_small(skip: int, count: int, tmp_path: Path) -> None:
    message = f"leaves out the nearest {skip} items and takes {count}: too many of 48 items; lower skip"
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path).fit(
            tiny_two_tower(mining=NearestNegatives(count, skip=skip)), datamodule=tiny_data(tmp_path / "log")
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"skip": -1}, "skip must be at least 0, got -1"),
        ({"margin": -0.1}, r"margin must be in \[0, 2\], as cosines differ by no more, got -0.1"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NearestNegatives(**options)
