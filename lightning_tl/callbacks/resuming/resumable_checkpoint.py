"""Checkpoints from which a run goes on as if it had never stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_tl.callbacks.resuming.epoch_so_far import EpochSoFar
from lightning_tl.compat.for_lightning import accumulates, ends_epoch, take_back_a_step, validates_now
from lightning_tl.compat.lightning_checkpoint import CheckpointParts
from lightning_tl.training.monitors import require_metric


def is_step_boundary(trainer: pl.Trainer) -> bool:
    """Whether a checkpoint written in `on_train_batch_end` now would hold the whole state of the run.

    Not between two optimizer steps (accumulated gradients are in no checkpoint), and not on a batch that a validation
    or the epoch's end follows (Lightning skips both when it resumes from there).
    """
    return not (accumulates(trainer) or ends_epoch(trainer) or validates_now(trainer))


def mark_epoch_complete(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Write into a checkpoint from an epoch's end that the next thing to do is the next epoch.

    Lightning saves there with counters that say "epoch processed, not completed". A run with `max_steps` then takes the
    epoch for one that was broken off: it repeats its end, leaves out the next epoch's start and reads on at the old
    batch number.
    """
    fit = checkpoint["loops"]["fit_loop"]
    for counters in (fit["epoch_progress"]["total"], fit["epoch_progress"]["current"]):
        counters["completed"] = counters["processed"]
    batches = fit["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False
    every = trainer.check_val_every_n_epoch
    validates = trainer.enable_validation and (every is None or (trainer.current_epoch + 2) % every == 0)
    if trainer.max_steps != -1 and validates:
        take_back_a_step(fit)  # a resumed run counts one for no batch


def moved_here(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """The state of a checkpoint callback, with the paths as they are after its folder was moved or copied.

    Args:
        state: with absolute paths, as Lightning saves it.
        folder: where checkpoints lie now. State of a folder that is still elsewhere is returned as it is.
    """
    before = state.get("dirpath") or folder
    last = state.get("last_model_path") or state["best_model_path"]
    if before == folder or not last or not os.path.exists(os.path.join(folder, os.path.relpath(last, before))):
        return state

    def here(path: str) -> str:
        return os.path.join(folder, os.path.relpath(path, before)) if path else path

    paths = {key: here(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    best = {here(path): score for path, score in state["best_k_models"].items()}
    return {**state, **paths, "best_k_models": best, "dirpath": folder}


class ResumableCheckpoint(CheckpointParts):
    """Writes `last.ckpt` and the best checkpoints, only at moments from which resuming is exact.

    That is at the end of an epoch, when all callbacks and schedules have taken their decisions, and, where asked for,
    after an optimizer step in mid-epoch. A run that is killed at any time and resumed with `ckpt_path=…/last.ckpt` ends
    with the same weights, bit for bit, if its data loader starts at the batch that Lightning's counter names. The best
    checkpoint is chosen at epoch ends by the latest validation of the epoch.

    What the module changes in its own `on_train_batch_end` is saved as it was before; use `optimizer_step` instead.

    Args:
        monitor: logged metric that decides what is best, of validation, or in a run without one of training; None to
            write `last.ckpt` only.
        mode: `min` or `max`.
        every_n_train_steps: also write `last.ckpt` after this many optimizer steps.
        save_top_k: how many of the best to keep.
        dirpath: folder; default `<default_root_dir>/checkpoints`.
        filename: of the best checkpoints, with `{epoch}`, `{step}` and names of logged metrics.
    """

    def __init__(
        self,
        monitor: str | None = "val_loss",
        mode: str = "min",
        every_n_train_steps: int | None = None,
        save_top_k: int = 1,
        dirpath: str | Path | None = None,
        filename: str = "best-epoch-{epoch:02d}",
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be min or max, got {mode!r}")
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise ValueError(f"every_n_train_steps must be at least 1, got {every_n_train_steps}; null: at epoch ends")
        if save_top_k < 1:
            raise ValueError(f"save_top_k must be at least 1, got {save_top_k}; monitor: null keeps no best checkpoint")
        if Path(filename).name in ("", "last", "last.ckpt"):
            raise ValueError(f"filename must not be {filename!r}: last.ckpt is the checkpoint to go on from")
        super().__init__(
            dirpath=dirpath,
            filename=filename,
            monitor=monitor,
            mode=mode,
            save_last=True,
            save_top_k=save_top_k if monitor is not None else 0,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # a repeated epoch overwrites its own file
        )
        self.step_interval = every_n_train_steps
        self._due = False
        self._validated = False
        self._at_epoch_end = False
        self._obsolete: list[str] = []
        self._so_far = EpochSoFar()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write into `checkpoints` of the run folder, unless told where."""
        if self.dirpath is None:
            self.dirpath = os.path.join(trainer.default_root_dir, "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin, or go on with, what is kept of an epoch."""
        self._so_far.begin(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint every so many steps."""
        self._so_far.add(trainer)
        if self.step_interval is None or accumulates(trainer):
            return
        self._due |= trainer.global_step % self.step_interval == 0
        if self._due and is_step_boundary(trainer) and not self.skips(trainer):
            self.save_now(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that there are metrics to judge by."""
        self._validated |= trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's checkpoint, and the best ones where it was validated.

        In a run without validation those too, by a metric that is logged in training, such as a probe's.
        """
        validated, self._validated = self._validated, False
        if self.skips(trainer):
            return
        candidates = self.candidates(trainer)
        self._at_epoch_end = True
        judged = validated or (not trainer.enable_validation and self.monitor in candidates)
        if judged and self.monitor is not None:
            require_metric("the checkpoint monitors", self.monitor, list(candidates))
            self._check_finite(trainer, pl_module)
            self.write_best(trainer, candidates)
        self.save_now(trainer)
        self._at_epoch_end = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add where in its epoch the run stands."""
        if self._at_epoch_end:
            mark_epoch_complete(trainer, checkpoint)
        elif trainer.state.fn == "fit" and trainer.training:
            self._so_far.save(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with what was kept of the epoch."""
        if trainer.state.fn == "fit":
            self._so_far.load(trainer, checkpoint)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over scores and paths; checkpoints that lie in this folder now are found although it was moved."""
        super().load_state_dict(moved_here(state_dict, str(self.dirpath)))

    def save_now(self, trainer: pl.Trainer) -> str:
        """Write `last.ckpt` and return its path; call it only at a step boundary or an epoch's end."""
        self._check_finite(trainer, trainer.lightning_module)
        self.write_last(trainer, self.candidates(trainer))
        self._due = False
        # The best checkpoint of before goes only now: until here last.ckpt still named it.
        obsolete, self._obsolete = self._obsolete, []
        for path in obsolete:
            self.remove(trainer, path)
        return self.last_model_path

    def let_go(self, trainer: pl.Trainer, path: str) -> None:
        """Keep it until another is written."""
        self._obsolete.append(path)

    def skips(self, trainer: pl.Trainer) -> bool:
        """Save at a global step that was saved before, too, unlike the base class.

        An epoch's end completes what a checkpoint in mid-epoch began, and a head that is solved in closed form takes no
        optimizer step at all.
        """
        fast = bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
        return fast or trainer.state.fn != "fit" or trainer.sanity_checking

    def _check_finite(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A loss that is not a number stops training before its step, but a finite loss can still ruin the weights."""
        bad = [name for name, p in pl_module.named_parameters() if not torch.isfinite(p.detach()).all()]
        if bad:
            kept = self.last_model_path or "none was written yet"
            raise FloatingPointError(
                f"weights are not finite after step {trainer.global_step} ({', '.join(bad[:5])}"
                f"{', …' if len(bad) > 5 else ''}); they are not saved, the last good checkpoint stays: {kept}. "
                "Try a lower learning rate or gradient clipping (--trainer.gradient_clip_val=1)"
            )
