"""The two-tower model: what trains, that it learns, resumes, and is the same on two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from ranks import on_two_ranks
from tiny import check_resumes, tiny_trainer, weights_hash
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from lightning_tl.adaptation import Adapters, Full, LoRA, TopGroups
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing, ResumableCheckpoint
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.losses import InfoNCE
from lightning_tl.retrieval import HistoryTransformer, ItemTower, TextHistory, TwoTower
from lightning_tl.retrieval.towers.item_texts import ItemTexts, encode_all

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose


def encoder(saved_models: Path, **options: Any) -> HuggingFaceText:
    return HuggingFaceText(str(saved_models / "minilm"), **options)


def fitted(folder: Path, module: TwoTower, callbacks: Any = (), epochs: int = 2, **data: Any) -> pl.Trainer:
    trainer = tiny_trainer(folder, callbacks, max_epochs=epochs)
    trainer.fit(module, datamodule=tiny_data(folder / "log", **data))
    return trainer


def test_it_learns_what_users_like(tmp_path: Path) -> None:
    module = tiny_two_tower(loss=InfoNCE(0.2))
    trainer = fitted(tmp_path, module, epochs=30)
    learned = trainer.callback_metrics["val_mrr"]
    untrained = tiny_two_tower()
    chance = tiny_trainer(tmp_path).validate(untrained, datamodule=tiny_data(tmp_path / "log"), verbose=False)
    assert learned > 1.5 * chance[0]["val_mrr"]


@pytest.mark.parametrize("kind", ["ids", "text", "both"])
def test_the_loss_falls(kind: str, tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower(None if kind == "ids" else encoder(saved_models), ids=kind != "text")

    found: list[float] = []

    class Losses(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            found.append(float(trainer.callback_metrics["train_loss_epoch"]))

    fitted(tmp_path, module, [Losses()], epochs=8)
    assert found[-1] < found[0]


# ---------------------------------------------------------------- towers and what of them trains

ADAPTATIONS = {"frozen": None, "full": Full(), "top": TopGroups(1), "lora": LoRA(r=2), "adapters": Adapters(4)}


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_any_adaptation_trains_the_item_encoder(name: str, tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower(encoder(saved_models), adaptation=ADAPTATIONS[name])
    before = {key: value.clone() for key, value in encoder(saved_models).state_dict().items()}
    fitted(tmp_path, module, batch_size=4)
    check_partition(module, module.layer_groups())
    after = module.items.encoder.state_dict()
    changed = {key for key in before if key in after and not torch.equal(before[key], after[key])}
    added = [key for key in after if key not in before]
    assert bool(changed) == (name in ("full", "top")) and bool(added) == (name in ("lora", "adapters"))
    assert any(group.startswith("items/") for group in module.reachable_groups) == (name != "frozen")
    assert module.reachable_groups[-1] == "head"


def test_towers_are_unfrozen_side_by_side(tmp_path: Path, saved_models: Path) -> None:
    users = TextHistory(encoder(saved_models), Full(), encoder_lr=2e-3)
    module = tiny_two_tower(encoder(saved_models), users, adaptation=Full(), encoder_lr=1e-3)
    unfreezing = ProgressiveUnfreezing(groups_per_phase=2, decay=0.5)
    fitted(tmp_path, module, [unfreezing], epochs=3, queries_per_row=2)
    assert unfreezing.history[0]["groups"] == ["head"]
    assert unfreezing.history[1]["groups"] == ["items/block.1", "users/block.1", "head"]
    assert unfreezing.history[2]["groups"][:2] == ["items/block.0", "users/block.0"]
    rates = module.group_rates()
    assert rates["items/block.1"] == pytest.approx(1e-3) and rates["users/block.1"] == pytest.approx(2e-3)
    assert rates["items/block.0"] == pytest.approx(5e-4) and rates["users/block.0"] == pytest.approx(1e-3)
    assert rates["head"] == pytest.approx(0.01)


def test_discriminative_rates_reach_both_towers(tmp_path: Path, saved_models: Path) -> None:
    users = TextHistory(encoder(saved_models), LoRA(r=2))
    module = tiny_two_tower(encoder(saved_models), users, adaptation=Full())
    fitted(tmp_path, module, [DiscriminativeLearningRates(0.1)], epochs=1, queries_per_row=1)
    rates = module.group_rates()
    assert rates["items/block.0"] == pytest.approx(0.1 * rates["items/block.1"])
    assert rates["users/block.1"] == pytest.approx(0.01)  # LoRA's own rate is the head's


def test_a_large_batch_of_texts_has_the_gradient_of_one_that_is_encoded_at_once(saved_models: Path) -> None:
    """Chunk by chunk and once more in the backward pass, with dropout, against plain backpropagation."""
    texts = [f"{a} {b} is {c}" for a in ("red", "old") for b in ("boat", "car", "shirt") for c in ("good", "bad")]
    found = []
    for again in (True, False):
        torch.manual_seed(1)
        tower = ItemTower(encoder(saved_models), Full(), dim=8, hidden=8, chunk=5)
        tower.build(texts, np.ones(12, np.int64))
        tower.refresh()
        tower.train()
        if not again:
            tower._encode_some = lambda items, again, t=tower: t.encoder(t.texts.inputs(items.numpy()))  # type: ignore[method-assign]
        torch.manual_seed(2)
        vectors = tower(torch.arange(12), torch.ones(12, dtype=torch.bool))
        (vectors * torch.linspace(-1, 1, 96).view(12, 8)).sum().backward()
        found.append({name: p.grad.clone() for name, p in tower.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and any("encoder" in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-5, atol=1e-7, msg=name)


def test_encoded_texts_are_the_encoders_own_features(saved_models: Path) -> None:
    model = encoder(saved_models)
    texts = ["a red boat", "", "the old house is cold and the water is wet", "book"]
    kept = encode_all(model, ItemTexts(model, texts))
    torch.testing.assert_close(kept, model.eval().embed_texts(texts), rtol=1e-5, atol=1e-6)
    shares = [encode_all(model, ItemTexts(model, texts), rank, 2) for rank in range(2)]
    torch.testing.assert_close(shares[0] + shares[1], kept)


def test_items_that_training_never_saw_have_a_vector_from_their_text(saved_models: Path) -> None:
    tower = ItemTower(encoder(saved_models), dim=8, hidden=8)
    tower.build(["a boat", "a car", "a book"], np.array([3, 0, 0]))
    tower.refresh()
    tower.eval()
    vectors = tower(torch.arange(3))
    assert tower.rows.tolist() == [1, 0, 0] and not torch.equal(vectors[1], vectors[2])


def test_histories_are_read_newest_first(saved_models: Path, tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup("fit")
    tower = TextHistory(encoder(saved_models), items=2)
    tower.build(8, data)
    history = torch.tensor([[3, 4, 5, -1]])
    texts = tower.texts(history, torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 3]))
    titles = data.item_titles
    assert texts == ["", titles[3], f"{titles[5]}; {titles[4]}"]


def test_training_reads_a_share_of_the_histories(saved_models: Path, tmp_path: Path) -> None:
    users = TextHistory(encoder(saved_models), Full(), beside=HistoryTransformer(layers=1, dropout=0), train_share=0.4)
    data = tiny_data(tmp_path)
    data.setup("fit")
    torch.manual_seed(0)
    users.build(16, data)
    users.encoder.eval()
    users.projection.eval()
    history, row, position = torch.tensor([[3, 4, 5, 6, 7]]), torch.zeros(5, dtype=torch.int64), torch.arange(1, 6)
    arguments = (history, torch.randn(1, 5, 16), torch.from_numpy(data.profiles)[:1], row, position)
    users.beside.eval()
    users.training = False
    whole, side = users(*arguments), users.beside(*arguments)
    users.training = True
    found, drawn = users(*arguments), set()
    for _ in range(20):
        found = users(*arguments)
        read = [bool((found[k] - side[k]).abs().max() > 1e-6) for k in range(5)]
        assert sum(read) == 2
        drawn.add(tuple(read))
        for k in range(5):
            torch.testing.assert_close(found[k], whole[k] if read[k] else side[k], rtol=1e-4, atol=1e-5)
    assert len(drawn) > 3
    users.train_share = 0.01
    assert int(((users(*arguments) - side).abs().amax(1) > 1e-6).sum()) == 1


def test_a_step_encodes_some_items_anew(saved_models: Path, tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    data.setup("fit")
    items = ItemTower(encoder(saved_models), Full(), dim=8, dropout=0.0, id_dropout=0.0, live_items=3)
    items.build(data.item_texts, data.training_log.item_counts())
    items.refresh()
    items.encoder.eval()
    with torch.no_grad():
        for parameter in items.encoder.parameters():
            parameter.mul_(1.1)
        kept = items(torch.arange(10))
        anew = items.eval()(torch.arange(10), torch.ones(10, dtype=torch.bool))
        items.training = True
        for live, most in ((torch.arange(10) < 7, 3), (torch.arange(10) < 2, 2)):
            found = items(torch.arange(10), live)
            moved = (found - kept).abs().amax(1) > 1e-6
            assert int(moved.sum()) == most and not bool(moved[~live].any())
            torch.testing.assert_close(found[moved], anew[moved], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda text: TextHistory(text, train_share=0.0), r"train_share must be in \(0, 1\], got 0.0"),
        (lambda text: TextHistory(text, train_share=0.5), "a train_share below 1, got 0.5, needs a tower beside"),
        (lambda text: ItemTower(text, live_items=0), "live_items must be at least 1, got 0"),
    ],
)
def test_shares_that_cannot_be(make: Any, message: str, saved_models: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make(encoder(saved_models))


def test_a_text_history_adds_what_stands_beside_it(saved_models: Path, tmp_path: Path) -> None:
    users = TextHistory(encoder(saved_models), beside=HistoryTransformer(layers=1))
    module = tiny_two_tower(encoder(saved_models), users)
    before = {name: value.clone() for name, value in users.encoder.state_dict().items()}
    fitted(tmp_path, module, queries_per_row=2)
    assert all(torch.equal(value, before[name]) for name, value in users.encoder.state_dict().items())
    check_partition(module, module.layer_groups())
    module.eval()
    history, one = torch.tensor([[3, 4, 5]]), torch.zeros(1, dtype=torch.int64)
    vectors, profile, position = torch.randn(1, 3, 16), module.profiles[:1], torch.tensor([3])
    arguments = (history, vectors, profile, one, position)
    both, side = users(*arguments), users.beside(*arguments)
    users.beside = None
    torch.testing.assert_close(both - side, users(*arguments), rtol=1e-4, atol=1e-5)


def test_a_query_reads_nothing_after_its_position() -> None:
    torch.manual_seed(0)
    data = type("Data", (), {"history_length": 5, "profile_sizes": (3,)})()
    tower = HistoryTransformer(layers=2)
    tower.build(8, data)
    tower.eval()
    vectors, row, position = torch.randn(1, 5, 8), torch.zeros(3, dtype=torch.int64), torch.tensor([0, 2, 4])
    profile, history = torch.ones(1, 1, dtype=torch.int64), torch.zeros(1, 5, dtype=torch.int64)
    before = tower(history, vectors, profile, row, position)
    changed = vectors.clone()
    changed[:, 2:] = 9.0
    after = tower(history, changed, profile, row, position)
    torch.testing.assert_close(before[:2], after[:2])
    assert not torch.allclose(before[2], after[2])
    other = tower(history, vectors, profile + 1, row, position)
    assert not torch.allclose(before[0], other[0])  # the profile is read, without a history too


# ---------------------------------------------------------------- resuming, several processes


@pytest.mark.parametrize("text", [False, True], ids=["ids", "lora"])
def test_a_stopped_run_goes_on_exactly(text: bool, tmp_path: Path, saved_models: Path) -> None:
    write_log(tmp_path / "log")

    def make() -> TwoTower:
        if not text:
            return tiny_two_tower()
        return tiny_two_tower(encoder(saved_models), adaptation=LoRA(r=2, dropout=0.1))

    options = {"uniform_negatives": 5, "hard_negatives": 1, "batch_size": 16 if text else 4}  # encoding takes long
    check_resumes(make, tmp_path, data=lambda: tiny_data(tmp_path / "log", **options), monitor="val_mrr")


def test_checkpoints_leave_the_frozen_encoder_out(tmp_path: Path, saved_models: Path) -> None:
    module = tiny_two_tower(encoder(saved_models))
    fitted(tmp_path, module, [ResumableCheckpoint(monitor="val_mrr", mode="max", dirpath=tmp_path / "kept")])
    stored = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert not any(name.startswith("items.encoder") for name in stored["state_dict"]) and "frozen" in stored
    again = tiny_two_tower(encoder(saved_models))
    tiny_trainer(tmp_path).test(
        again, datamodule=tiny_data(tmp_path / "log"), ckpt_path=str(tmp_path / "kept" / "last.ckpt"), verbose=False
    )
    assert weights_hash(again) == weights_hash(module)


def train_on_a_rank(folder: str) -> dict[str, Any]:
    module = tiny_two_tower(loss=InfoNCE(0.2))
    trainer = tiny_trainer(folder, devices=2, strategy="ddp", max_epochs=2, use_distributed_sampler=False)
    trainer.fit(module, datamodule=tiny_data(Path(folder) / "log", uniform_negatives=4, hard_negatives=1))
    return {"hash": weights_hash(module), "val": {k: float(v) for k, v in trainer.callback_metrics.items()}}


def test_two_processes_agree_and_validate_every_query(tmp_path: Path) -> None:
    write_log(tmp_path / "log")
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path))
    assert first["hash"] == second["hash"]
    for name in ("val_mrr", "val_hr_10", "val_ndcg_10"):
        assert first["val"][name] == second["val"][name]


def step_gradient(folder: str, ranks: int) -> torch.Tensor:
    """The gradient of one optimizer step with a global batch of 8 rows."""
    found: list[torch.Tensor] = []

    class Keep(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
            found.append(torch.cat([p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]))

    module = tiny_two_tower(loss=InfoNCE(0.2), users=HistoryTransformer(layers=1, dropout=0.0))
    module.items.id_dropout = 0.0
    options: dict[str, Any] = {"strategy": "ddp", "use_distributed_sampler": False} if ranks == 2 else {}
    trainer = tiny_trainer(folder, [Keep()], devices=ranks, max_steps=1, max_epochs=1, limit_val_batches=0, **options)
    trainer.fit(module, datamodule=tiny_data(Path(folder) / "log", batch_size=8 // ranks))
    return found[0]


def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    write_log(tmp_path / "log")
    whole = step_gradient(str(tmp_path), 1)
    for shared in on_two_ranks(step_gradient, tmp_path, str(tmp_path), 2):
        assert float(shared.norm() / whole.norm()) == pytest.approx(1, abs=1e-4)
        torch.testing.assert_close(shared, whole, rtol=1e-3, atol=1e-6)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ItemTower(None, ids=False), "knows nothing of items"),
        (lambda: ItemTower(dim=0), "dim must be at least 1, got 0"),
        (lambda: ItemTower(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: HistoryTransformer(layers=0), "layers must be at least 1, got 0"),
        (lambda: TwoTower(ItemTower(), item_to_user=1.5), r"item_to_user must be in \[0, 1\], got 1.5"),
        (
            lambda: TextHistory(None, beside=TextHistory(torch.nn.Identity())),
            "beside must be a user tower without an encoder, such as HistoryTransformer, got TextHistory",
        ),
        (lambda: TwoTower(ItemTower(), lr=0.0), "lr must be above 0"),
    ],
)
def test_bad_settings(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_heads_must_divide_the_vectors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="heads must divide the vectors' length 16, got 3"):
        fitted(tmp_path, tiny_two_tower(users=HistoryTransformer(heads=3)))


def test_data_without_an_event_log(tmp_path: Path) -> None:
    from tiny import TinyData

    with pytest.raises(ValueError, match=r"TwoTower needs a data module that serves an event log.* got TinyData"):
        tiny_trainer(tmp_path).fit(tiny_two_tower(), datamodule=TinyData())


def test_a_batch_in_which_no_user_has_negatives(tmp_path: Path) -> None:
    """Items that are drawn are negatives of a user, none of an item: that side teaches nothing."""
    fitted(tmp_path, tiny_two_tower(), batch_size=1, history_length=50, uniform_negatives=20)


def test_a_batch_of_one_user(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every candidate of this batch"):
        fitted(tmp_path, tiny_two_tower(), batch_size=1, history_length=50)
