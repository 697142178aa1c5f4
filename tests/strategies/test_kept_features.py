"""The kept features of a catalogue follow an encoder that trains, and are encoded no more often than that needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from ranks import on_two_ranks
from tiny import tiny_trainer
from tiny_pictures import picture_log, tower_of
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from lightning_tl.adaptation import Full, LoRA
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.callbacks import ProgressiveUnfreezing
from lightning_tl.retrieval import NearestNegatives
from lightning_tl.retrieval.towers.item_texts import encode_all

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")


class Watch(pl.Callback):
    """How far kept features are from the encoder's before the first step of each epoch, and how often they are made."""

    def __init__(self) -> None:
        self.distances: list[float] = []
        self.made: list[Any] = []

    def look(self, module: Any) -> None:
        if not any(module.items.content is other for other in self.made):
            self.made.append(module.items.content)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.look(pl_module)
        if batch_idx == 0:
            now = encode_all(pl_module.items.encoder, pl_module.items.texts)
            self.distances.append(float((now - pl_module.items.content).abs().max()))

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        self.look(pl_module)


def encoder(saved_models: Path) -> HuggingFaceText:
    return HuggingFaceText(str(saved_models / "minilm"))


@pytest.mark.parametrize("adaptation", [Full(), LoRA(r=2)], ids=["full", "lora"])
@pytest.mark.parametrize("validation", [True, False], ids=["validation", "no_validation"])
@pytest.mark.parametrize("mining", [True, False], ids=["mining", "no_mining"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])  # a fused step counts no version
def test_an_epoch_begins_with_the_encoders_own(
    adaptation: Any, validation: bool, mining: bool, fused: bool, tmp_path: Path, saved_models: Path
) -> None:
    watch = Watch()
    negatives = NearestNegatives(every=1000) if mining else None
    optimizer = partial(torch.optim.AdamW, fused=fused)
    module = tiny_two_tower(encoder(saved_models), adaptation=adaptation, mining=negatives, optimizer=optimizer)
    limits: Any = {} if validation else {"limit_val_batches": 0}
    tiny_trainer(tmp_path, [watch], max_epochs=3, num_sanity_val_steps=0, **limits).fit(
        module,
        datamodule=tiny_data(tmp_path / "log", batch_size=32),  # epochs count here, not steps
    )
    assert max(watch.distances) < 1e-6 and len(watch.distances) == 3
    assert len(watch.made) == (4 if validation else 3)  # once an epoch, and in the beginning


def test_weights_that_are_brought_back_are_encoded(tmp_path: Path, saved_models: Path) -> None:
    watch = Watch()
    module = tiny_two_tower(encoder(saved_models), adaptation=Full(), lr=0.05)
    thaw = ProgressiveUnfreezing(monitor="val_mrr", mode="max", patience=1, restore_best=True)
    trainer = tiny_trainer(tmp_path, [thaw, watch], max_epochs=8)
    trainer.fit(module, datamodule=tiny_data(tmp_path / "log"))
    assert len(thaw.history) > 1 and max(watch.distances) < 1e-6


def test_a_frozen_encoder_reads_once(tmp_path: Path, saved_models: Path) -> None:
    watch = Watch()
    module = tiny_two_tower(encoder(saved_models), mining=NearestNegatives(every=2))
    tiny_trainer(tmp_path, [watch], max_epochs=3).fit(module, datamodule=tiny_data(tmp_path / "log"))
    assert len(watch.made) == 1


def test_pictures_alone_for_one_recommendation(tmp_path: Path, saved_models: Path) -> None:
    data = picture_log(tmp_path)
    data.setup("fit")
    tower = tower_of(saved_models, text=False)
    tower.build(data.item_texts, data.training_log.item_counts(), data.item_pictures)
    tower.refresh()
    some, live = torch.tensor([2, 3, 4]), torch.ones(3, dtype=torch.bool)
    with torch.no_grad():
        kept = tower.eval()(some, live)
        tower.content = tower.content[:0]  # nothing but the history is encoded
        torch.testing.assert_close(tower(some, live), kept)


def send_buffers(folder: str, models: str) -> dict[str, Any]:
    module = tiny_two_tower(HuggingFaceText(str(Path(models) / "minilm")), adaptation=LoRA(r=2))
    sent: list[int] = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
            sent.append(len(trainer.strategy.model.modules_buffers))  # type: ignore[union-attr]

    trainer = tiny_trainer(folder, [Look()], devices=2, strategy="ddp", max_epochs=1, use_distributed_sampler=False)
    trainer.fit(module, datamodule=tiny_data(Path(folder) / "log"))
    return {"sent": sent, "buffers": len(list(module.buffers()))}


def test_steps_do_not_send_the_catalogue(tmp_path: Path, saved_models: Path) -> None:
    write_log(tmp_path / "log")
    for found in on_two_ranks(send_buffers, tmp_path, str(tmp_path), str(saved_models)):
        assert set(found["sent"]) == {0} and found["buffers"] > 0


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_precisions_that_it_does_not_compute_in(precision: Any, tmp_path: Path) -> None:
    message = f"keeps its weights in float32, got trainer.precision={precision}; take 32-true, or bf16-mixed"
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path, precision=precision).fit(tiny_two_tower(), datamodule=tiny_data(tmp_path / "log"))


def test_a_frozen_phase_encodes_nothing_anew(tmp_path: Path, saved_models: Path) -> None:
    watch = Watch()
    thaw = ProgressiveUnfreezing(milestones=[3])
    module = tiny_two_tower(encoder(saved_models), adaptation=Full())
    tiny_trainer(tmp_path, [thaw, watch], max_epochs=4).fit(module, datamodule=tiny_data(tmp_path / "log"))
    assert len(watch.made) == 2  # in the beginning, and after the one epoch in which a group trains


def test_mining_sees_every_refresh_of_a_fused_optimizer(tmp_path: Path, saved_models: Path) -> None:
    watch, fused = Watch(), partial(torch.optim.AdamW, fused=True)
    module = tiny_two_tower(encoder(saved_models), adaptation=Full(), mining=NearestNegatives(every=2), optimizer=fused)
    trainer = tiny_trainer(tmp_path, [watch], max_epochs=1, limit_val_batches=0)
    trainer.fit(module, datamodule=tiny_data(tmp_path / "log"))
    assert len(watch.made) == trainer.global_step // 2  # a last one would be seen by the step after it
