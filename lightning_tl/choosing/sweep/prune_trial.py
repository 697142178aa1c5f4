"""`PruneTrial`: tells a sweep how a trial goes, and ends it where it is behind."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import optuna
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_info

from lightning_tl.choosing.study.outcome import LOSS
from lightning_tl.choosing.sweep.pruning import PrunerName, pruner_of
from lightning_tl.choosing.sweep.shared_study import open_storage
from lightning_tl.storage.partial_file import write_whole

PRUNED = "pruned.json"
"""In the run folder of a trial that was ended early."""


@dataclass(frozen=True)
class TrialPlace:
    """Where a trial is told of, as text for another process.

    Args:
        address: of the storage.
        study: its name.
        number: of the trial.
        pruner: see `pruner_of`.
        longest: see `pruner_of`.
    """

    address: str
    study: str
    number: int
    pruner: PrunerName
    longest: int | None = None

    def to_text(self) -> str:
        """One word of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> TrialPlace:
        """What `to_text` wrote."""
        return cls(**json.loads(text))

    def open(self) -> optuna.Trial:
        """The trial."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruner = pruner_of(self.pruner, self.longest)
        storage = open_storage(self.address)
        study = optuna.load_study(study_name=self.study, storage=storage, pruner=pruner)
        of_study = storage.get_study_id_from_name(self.study)
        return optuna.trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(of_study, self.number))


class PruneTrial(Callback):
    """Reports the monitored validation metric of each epoch to the sweep, and stops training where its pruner says so.

    What was reported stays in checkpoints: a trial that goes on in its run folder, under another number, tells what it
    told before.

    Args:
        place: of the trial.
    """

    def __init__(self, place: TrialPlace) -> None:
        self.place = place
        self.losses: dict[int, float] = {}  # by epoch, the lowest of each

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the trial, and tell what its run had reached."""
        if trainer.is_global_zero:
            (Path(trainer.default_root_dir) / PRUNED).unlink(missing_ok=True)  # it goes on after all
            self.trial = self.place.open()
            for epoch, loss in self.losses.items():
                if epoch < trainer.current_epoch:  # the epoch that goes on is told once, at its end
                    self.trial.report(loss, epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the loss of this epoch."""
        kept = trainer.checkpoint_callback
        monitor, mode = getattr(kept, "monitor", None) or LOSS, getattr(kept, "mode", "min")
        if trainer.sanity_checking or monitor not in trainer.callback_metrics:
            return
        value, epoch = float(trainer.callback_metrics[monitor]), trainer.current_epoch
        loss = -value if mode == "max" else value  # with the sign by which less is better
        if math.isfinite(loss):
            self.losses[epoch] = min(loss, self.losses.get(epoch, loss))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report it, and ask whether the trial is behind."""
        epoch = trainer.current_epoch
        behind = False
        if trainer.is_global_zero and epoch in self.losses:
            self.trial.report(self.losses[epoch], epoch)
            behind = not _ends(trainer) and self.trial.should_prune()
        if not trainer.strategy.broadcast(behind):
            return
        trainer.should_stop = True
        if trainer.is_global_zero:
            told = {"trial": self.place.number, "pruner": self.place.pruner, "epoch": epoch}
            Path(trainer.default_root_dir).mkdir(parents=True, exist_ok=True)
            write_whole(Path(trainer.default_root_dir) / PRUNED, json.dumps(told) + "\n")
        rank_zero_info(f"Pruned after epoch {epoch} by the sweep's pruner {self.place.pruner}: it is behind others")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"losses": dict(self.losses)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.losses = dict(state_dict["losses"])


def _ends(trainer: pl.Trainer) -> bool:
    epochs, steps = trainer.max_epochs, trainer.max_steps
    return (epochs is not None and 0 < epochs <= trainer.current_epoch + 1) or 0 < steps <= trainer.global_step
