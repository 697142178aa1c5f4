"""Ctrl-C and SIGTERM end a run with a checkpoint it can go on from, and a test or a prediction at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_tl.callbacks.phase_boundary import place_before_checkpoints
from lightning_tl.callbacks.resuming.resumable_checkpoint import ResumableCheckpoint, is_step_boundary

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(SystemExit):
    """Training ended because a signal asked for it; the process ends with 128 + signal, as shells expect.

    It is no KeyboardInterrupt, which Lightning turns into a plain exit 1. On ranks but 0 the code is 0: launchers
    kill rank 0 as soon as another process fails.

    Args:
        signal_number: 2 for Ctrl-C, 15 for SIGTERM.
        checkpoint: from which to resume; None when nothing was trained yet.
        rank: of this process.
    """

    def __init__(self, signal_number: int, checkpoint: str | None, rank: int = 0) -> None:
        super().__init__(128 + signal_number if rank == 0 else 0)
        self.signal_number = signal_number
        self.checkpoint = checkpoint


class GracefulInterrupt(Callback):
    """On Ctrl-C or SIGTERM, finish the optimizer step, write `last.ckpt` and raise `TrainingInterrupted`.

    A second signal ends at once, and the checkpoint before it is kept; so does the first where nothing is trained: in
    set-up, in a test, in prediction. Ranks agree, so that all of them stop after the
    same step although a signal reaches them at different times, or only one of them.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._handlers: dict[int, Any] = {}
        self._training = False
        self._epochs_begun = 0
        self._process = os.getpid()
        self._trainer: pl.Trainer | None = None

    # ---------------------------------------------------------------- the signals

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to signals from here on."""
        self.signal_number, self._training, self._epochs_begun = None, False, 0
        self._trainer, self._process = trainer, os.getpid()
        if stage == "fit":
            place_before_checkpoints(trainer, self)
        self._install()

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            self._handlers.setdefault(number, signal.getsignal(number))
            signal.signal(number, self._on_signal)

    def _restore(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            return  # a forked data worker: the main process decides, and still needs this one's batches
        trainer = self._trainer
        if trainer is None:  # Lightning's own cleaning up brings this handler back after the run has ended
            self._restore()
            os.kill(os.getpid(), number)
            return
        rank = trainer.global_rank
        if self.signal_number is not None or not self._training:
            self.signal_number = number
            raise TrainingInterrupted(number, self._kept(), rank)
        self.signal_number = number
        if rank == 0:
            text = "\nStopping after this step, with a checkpoint … press Ctrl-C again to stop at once.\n"
            with contextlib.suppress(OSError):
                os.write(2, text.encode())  # print is not safe inside a signal handler

    # ---------------------------------------------------------------- moments at which a run can stop

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop between two steps from here on, with a checkpoint."""
        self._install()  # again: Lightning has put its own handler for SIGTERM, which stops between optimizer steps
        self._training = True
        self._stop_if_asked(trainer, save=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals, outside of training."""
        if trainer.state.fn != "fit":
            self._install()  # again, as above

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals."""
        self._install()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals."""
        self._install()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here where a signal asked for it, with a checkpoint."""
        if is_step_boundary(trainer):
            self._stop_if_asked(trainer, save=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here where a signal came while the epoch before ended."""
        if self._epochs_begun > 0:  # then the epoch before has just written its checkpoint
            self._stop_if_asked(trainer, save=False)
        self._epochs_begun += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here where a signal came during the last step."""
        self._stop_if_asked(trainer, save=False)

    def _stop_if_asked(self, trainer: pl.Trainer, save: bool) -> None:
        asked = self.signal_number is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        number = self.signal_number or signal.SIGINT
        if not trainer.fast_dev_run and (save or self._checkpoint(trainer) is None):  # type: ignore[attr-defined]
            self._save(trainer)
        raise TrainingInterrupted(number, self._kept(), trainer.global_rank)

    @staticmethod
    def _checkpoint(trainer: pl.Trainer) -> ResumableCheckpoint | None:
        found = [c for c in trainer.callbacks if isinstance(c, ResumableCheckpoint)]  # type: ignore[attr-defined]
        return found[0] if found else None

    def _save(self, trainer: pl.Trainer) -> None:
        checkpoint = self._checkpoint(trainer)
        if checkpoint is not None:
            checkpoint.save_now(trainer)
        else:
            trainer.save_checkpoint(os.path.join(trainer.default_root_dir, "checkpoints", "last.ckpt"))

    def _kept(self) -> str | None:
        """The newest whole checkpoint of this run, or the one it was resumed from."""
        trainer = self._trainer
        if trainer is None:
            return None
        checkpoint = self._checkpoint(trainer)
        folder = os.path.join(trainer.default_root_dir, "checkpoints")
        own = checkpoint.last_model_path if checkpoint is not None else os.path.join(folder, "last.ckpt")
        if own and os.path.exists(own):
            return own
        return str(trainer.ckpt_path) if trainer.ckpt_path else None

    # ---------------------------------------------------------------- the end

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give signals back to who had them."""
        self._end()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give signals back to who had them."""
        self._end()

    def _end(self) -> None:
        self._training, self._trainer = False, None
        self._restore()
