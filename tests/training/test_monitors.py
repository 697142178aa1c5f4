"""A metric that is watched and never logged is told before training, by one rule for all who watch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from tiny import TinyBackbone, TinyData, tiny_module, tiny_trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_tl.callbacks import ProgressiveUnfreezing, ResumableCheckpoint
from lightning_tl.training.schedules import TorchSchedule
from lightning_tl.training.transfer_module import TransferModule

WATCHERS: dict[str, Callable[[str], tuple[list[Callback], dict[str, Any]]]] = {
    "early stopping monitors": lambda name: ([EarlyStopping(name)], {}),
    "the checkpoint monitors": lambda name: ([ResumableCheckpoint(name)], {}),
    "the checkpoint  monitors": lambda name: ([ModelCheckpoint(monitor=name)], {}),
    "unfreezing monitors": lambda name: ([ProgressiveUnfreezing(monitor=name)], {}),
    "the schedule monitors": lambda name: ([], {"schedule": TorchSchedule(ReduceLROnPlateau, monitor=name)}),
}


class Logging(TransferModule):
    """Logs a metric of its own in training."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("train_own", loss.detach(), on_step=False, on_epoch=True)
        return loss


@pytest.mark.parametrize("who", WATCHERS)
@pytest.mark.parametrize(
    ("name", "message", "steps"),
    [
        ("val_los", "'val_los', which is not logged; did you mean 'val_loss'?", 0),
        ("vall_loss", "'vall_loss', which is not logged; did you mean 'val_loss'?", 0),
        ("val_auroc", "'val_auroc', which is not logged", 0),
        ("train_los", "'train_los', which is not logged; did you mean 'train_loss'?", 0),
        ("zzz", "'zzz', which is not logged (logged: ", 7),  # something of the user's might have logged it
        ("val_accuracy", None, 14),
    ],
)
def test_told_before_training(who: str, name: str, message: str | None, steps: int, tmp_path: Path) -> None:
    callbacks, options = WATCHERS[who](name)
    trainer = tiny_trainer(tmp_path, callbacks, max_epochs=2)
    with nullcontext() if message is None else pytest.raises(ValueError) as raised:
        trainer.fit(tiny_module(**options), datamodule=TinyData())
    assert trainer.global_step == steps
    if message is not None:
        assert raised is not None and f"{who.replace('  ', ' ')} {message}" in str(raised.value)


@pytest.mark.parametrize("name", ["train_loss", "train_loss_epoch", "train_own"])
def test_metrics_of_training_may_be_watched(name: str, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, [EarlyStopping(name), ModelCheckpoint(tmp_path, monitor=name)], max_epochs=2)
    trainer.fit(Logging(TinyBackbone()), datamodule=TinyData())
    assert trainer.global_step == 14
