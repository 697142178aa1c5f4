"""`RunFolderReport`: what every report of a run does, whatever the task."""

from __future__ import annotations

import shlex
import time
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.csv_metrics import CsvMetrics, read_metrics
from lightning_tl.reports.gather import Batch, gather_batches, to_numpy
from lightning_tl.reports.pictures.curves import KeptCheckpoint, draw_curves
from lightning_tl.reports.pictures.learning_rate_picture import draw_learning_rates
from lightning_tl.reports.pictures.run_pictures import draw_in_run
from lightning_tl.reports.resources import peak_memory_bytes
from lightning_tl.reports.score_text import score_sections
from lightning_tl.reports.summary import read_summary, short_path, summary_text, write_summary


class RunFolderReport(Callback):
    """Keeps the costs of a run, draws its curves, and writes and prints a summary after the test.

    The run folder is the Trainer's `default_root_dir`. A picture or an export that fails gives a warning and the run
    goes on. Only the first process writes. A subclass says what a test's outputs are (`test_outputs`), what they mean
    (`report_test`), and how the tested weights are exported (`export_model`).

    Args:
        next_command: what the user may type next; `{run}` stands for the run folder.
        started: when the command began, in seconds since 1970; default now.
        export: whether to write `model/`.
    """

    test_outputs: tuple[str, ...] = ()  # of `test_step`, to be kept
    optional_outputs: tuple[str, ...] = ()  # the same where it gives them
    folder: Path | None = None  # where a test's results go; None for the run folder

    exports_again: ClassVar[bool] = False  # whether a later test of a finished run writes its export anew

    def __init__(self, next_command: str | None = None, started: float | None = None, export: bool = True) -> None:
        self.next_command = next_command
        self.started = time.time() if started is None else started
        self.export = export
        self.summary: dict[str, Any] = {}
        self._earlier_seconds = 0.0  # of the parts of the run before a resume
        self._last_stage_ended: float | None = None
        self._outputs: list[Batch] = []
        self._text = ""

    @abstractmethod
    def report_test(self, trainer: pl.Trainer, module: Any, run: Path, batches: list[Batch]) -> None:
        """Put the test's results into `self.summary`, and files into the run folder; on the first process alone.

        Args:
            trainer: that ran the test.
            module: that was tested.
            run: the run folder.
            batches: the outputs of all processes.
        """

    @abstractmethod
    def tested_sections(self, summary: dict[str, Any]) -> list[list[str]]:
        """The lines of the summary that tell what a test found, in sections."""
        return score_sections(summary)

    def export_model(self, module: Any, run: Path) -> None:
        """Write the weights that were tested, and say in `self.summary` how to load them."""

    @property
    def elapsed_seconds(self) -> float:
        """Time of the whole run up to now, the parts before a resume included, the pauses between not."""
        return self._earlier_seconds + time.time() - self.started

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"elapsed_seconds": self.elapsed_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self._earlier_seconds = float(state_dict["elapsed_seconds"])

    # ---------------------------------------------------------------- training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the rows that a killed process wrote after its last checkpoint."""
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, CsvMetrics):
                logger.drop_from(trainer.global_step)  # rows that a killed process wrote after its last checkpoint

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is known of the training into the summary."""
        self._last_stage_ended = time.time()
        if not trainer.is_global_zero or only_trying(trainer):
            return
        run = run_folder(trainer)
        self.summary = {**read_summary(run), **self._costs(trainer, pl_module)}
        self.summary["seconds"] = {"training": self.elapsed_seconds}
        self.summary["data"] = data_counts(RunDescription.read(run))
        self.summary["limits"] = limits(trainer)
        self.summary["next_command"] = self._next_command(run)
        # Of an earlier part of the run, with other weights.
        for stale in ("test", "model", "checkpoint", "index", "baselines", "calibration"):
            self.summary.pop(stale, None)
        attempt("summary.json", partial(write_summary, run, self.summary, self.tested_sections))
        metrics = read_metrics(trainer.loggers)
        if metrics is None or not trainer.global_step:
            return  # no logger, or a head that was not trained step by step: nothing to draw
        history = _history(trainer)
        groups = [group.name for group in pl_module.layer_groups()]  # type: ignore[operator]
        pictures = run / "pictures"
        kept = kept_checkpoint(trainer)
        draw_in_run(pictures / "curves.png", lambda path: draw_curves(metrics, history, path, kept))
        if not any(str(name).startswith("lr/") for name in metrics):
            return  # fewer steps than `log_every_n_steps`
        draw_in_run(pictures / "learning_rates.png", partial(draw_learning_rates, metrics, groups, history))

    # ---------------------------------------------------------------- test

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to collect what the test gives."""
        self._outputs = []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep a batch's outputs."""
        if isinstance(outputs, Mapping) and set(self.test_outputs) <= set(outputs):
            optional = [key for key in self.optional_outputs if key in outputs]
            self._outputs.append({key: to_numpy(outputs[key]) for key in (*self.test_outputs, *optional)})

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write summary, predictions, pictures and the exported model."""
        batches, self._outputs = gather_batches(self._outputs), []
        if not trainer.is_global_zero or only_trying(trainer):
            return
        run = self.folder or run_folder(trainer)
        before = read_summary(run)
        self.summary = {**before, **self._costs(trainer, pl_module)}
        if self.folder is None:
            self.summary["data"] = data_counts(RunDescription.read(run))
        else:
            self.summary["run"] = str(run_folder(trainer))  # whose model it was
        seconds = time.time() - (self._last_stage_ended or self.started)
        self.summary["seconds"] = {**before.get("seconds", {}), "test": seconds}
        self._last_stage_ended = time.time()
        self.summary.pop("test", None)
        self.summary["checkpoint"] = str(trainer.ckpt_path) if trainer.ckpt_path else None
        self.summary["next_command"] = self._next_command(run) if self.folder is None else None
        self.report_test(trainer, pl_module, run, batches)
        if self.folder is None:
            self.export_now(pl_module, run)
        self._text = self._written(run)

    def finish_untested(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: str | None = None) -> None:
        """Export the weights that the module has now, and write the summary: the end of a run without a test.

        Args:
            trainer: of the fit.
            module: with the weights.
            checkpoint: the file that they come from; None for none.
        """
        if not trainer.is_global_zero or only_trying(trainer):
            return
        run = run_folder(trainer)
        self.summary["notes"] = list(getattr(trainer.datamodule, "notes", ()))  # type: ignore[attr-defined]
        self.export_now(module, run)
        print(self._written(run), end="", flush=True)

    def _written(self, run: Path) -> str:
        """The summary as text, in its files as well: what was found is told though it cannot be kept."""
        attempt("summary.txt", partial(write_summary, run, self.summary, self.tested_sections))
        return summary_text(self.summary, run, self.tested_sections)

    def export_now(self, module: pl.LightningModule, run: Path) -> None:
        """Write the export, or warn."""
        if self.export:
            attempt("the exported model", partial(self._export, module, run))

    def _export(self, module: pl.LightningModule, run: Path) -> None:
        # A test runs in inference mode, whose tensors cannot be used for training again.
        with torch.inference_mode(False), torch.no_grad():
            self.export_model(module, run)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Print the summary, once the progress bar is gone."""
        if self._text:
            if (bar := trainer.progress_bar_callback) is not None:
                bar.teardown(trainer, pl_module, stage)  # else it draws itself once more, below the summary
            print(self._text, end="", flush=True)
            self._text = ""

    # ---------------------------------------------------------------- shared

    def _next_command(self, run: Path) -> str | None:
        return None if self.next_command is None else self.next_command.replace("{run}", shlex.quote(short_path(run)))

    def _costs(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        trained: frozenset[str] = module.adapted_parameters  # type: ignore[assignment]
        sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
        on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        return {
            "parameters": {"trainable": sum(sizes[n] for n in trained & sizes.keys()), "total": sum(sizes.values())},
            "peak_memory_bytes": peak_memory_bytes(),
            "peak_gpu_memory_bytes": on_gpu or None,
            "processes": trainer.world_size,
        }


def run_folder(trainer: pl.Trainer) -> Path:
    """Where the run's files go."""
    return Path(trainer.default_root_dir)


def data_counts(run: RunDescription | None) -> dict[str, Any]:
    """What the summary tells of the samples: how many each split and class has, and what was left out."""
    return {} if run is None else {"splits": run.splits, "dropped": run.dropped, "cut": run.cut}


def limits(trainer: pl.Trainer) -> list[str]:
    """What to tell where the Trainer was told to read a part of the samples only."""
    found = []
    for name, what in (("limit_train_batches", "training"), ("limit_val_batches", "validation")):
        value = getattr(trainer, name, 1.0)  # an integer is a number of batches, 1.0 is all of them
        if trainer.global_step and (isinstance(value, int) or value < 1):
            found.append(f"{what} read only a part of its samples ({name}={value:g})")
    return found


def kept_checkpoint(trainer: pl.Trainer) -> KeptCheckpoint | None:
    """The best checkpoint of the Trainer's first checkpoint callback; None where it keeps none or cannot tell."""
    callback = trainer.checkpoint_callback
    path = Path(getattr(callback, "best_model_path", "") or "/")
    if not path.is_file():
        return None
    try:
        steps = int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception:  # of another format, or with objects of the user's: then nothing is marked
        return None
    return KeptCheckpoint(steps, getattr(callback, "monitor", None))


def only_trying(trainer: pl.Trainer) -> bool:
    """Whether nothing is kept of this run."""
    return bool(getattr(trainer, "fast_dev_run", False))


def _history(trainer: pl.Trainer) -> list[dict[str, Any]]:
    """The phases that `ProgressiveUnfreezing`, or a callback of the user's that keeps the same, went through."""
    kept = (getattr(callback, "history", None) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return next((list(history) for history in kept if isinstance(history, list | tuple)), [])
