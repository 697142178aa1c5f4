"""`RunReport`: fills the run folder and ends a run with a short summary."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.confusion_picture import draw_confusion
from lightning_tl.reports.csv_metrics import CsvMetrics, read_metrics
from lightning_tl.reports.curves import draw_curves
from lightning_tl.reports.gather import Batch, gather_batches, to_numpy
from lightning_tl.reports.learning_rate_picture import draw_learning_rates
from lightning_tl.reports.prediction_writer import PredictionWriter, merge_parts
from lightning_tl.reports.predictions import Predictions
from lightning_tl.reports.resources import peak_memory_bytes
from lightning_tl.reports.results import evaluation_results
from lightning_tl.reports.summary import read_summary, short_path, write_summary
from lightning_tl.reports.wrong_samples import draw_wrong_samples
from lightning_tl.reports.wrong_texts import draw_wrong_texts

if TYPE_CHECKING:
    from lightning_tl.module import TransferModule


class RunReport(Callback):
    """Writes predictions, pictures, the exported model and a summary into the run folder.

    The run folder is the Trainer's `default_root_dir`. After training it holds `pictures/curves.png` and
    `pictures/learning_rates.png` (from a `CSVLogger`'s file); after a test `predictions/test.parquet`,
    `pictures/confusion_matrix.png`, `pictures/wrong_tiles.png` (or `wrong_texts.png`), `model/` (the weights that were
    tested), `summary.json` and `summary.txt`, which is also printed; after prediction `predictions/predict.parquet`.
    A picture or an export that fails gives a warning and the run goes on. Only the first process writes.

    Args:
        next_command: what the user may type next; `{run}` stands for the run folder.
        started: when the command began, in seconds since 1970; default now.
        wrong_samples: the most images or texts on the sheet of wrong ones.
        export: whether to write `model/`.
    """

    def __init__(
        self,
        next_command: str | None = None,
        started: float | None = None,
        wrong_samples: int = 24,
        export: bool = True,
    ) -> None:
        if wrong_samples < 1:
            raise ValueError(f"wrong_samples must be at least 1, got {wrong_samples}")
        self.next_command = next_command
        self.started = time.time() if started is None else started
        self.wrong_samples = wrong_samples
        self.export = export
        self.summary: dict[str, Any] = {}
        self._earlier_seconds = 0.0  # of the parts of the run before a resume
        self._last_stage_ended: float | None = None
        self._outputs: list[Batch] = []
        self._writer: PredictionWriter | None = None
        self._text = ""

    @property
    def elapsed_seconds(self) -> float:
        """Time of the whole run up to now, the parts before a resume included, the pauses between not."""
        return self._earlier_seconds + time.time() - self.started

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed_seconds": self.elapsed_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier_seconds = float(state_dict["elapsed_seconds"])

    # ---------------------------------------------------------------- training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, CsvMetrics):
                logger.drop_from(trainer.global_step)  # rows that a killed process wrote after its last checkpoint

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last_stage_ended = time.time()
        if not trainer.is_global_zero or _only_trying(trainer):
            return
        run = _run_folder(trainer)
        self.summary = {**read_summary(run), **self._costs(trainer, pl_module)}
        self.summary["seconds"] = {"training": self.elapsed_seconds}
        for stale in ("test", "model", "checkpoint"):  # of an earlier part of the run, with other weights
            self.summary.pop(stale, None)
        attempt("summary.json", partial(write_summary, run, self.summary))
        metrics = read_metrics(trainer.loggers)
        if metrics is None or not any(str(name).startswith("lr/") for name in metrics):
            return  # no logger, or a head that was not trained step by step: nothing to draw
        history = _history(trainer)
        groups = [group.name for group in pl_module.layer_groups()]  # type: ignore[operator]
        pictures = run / "pictures"
        attempt("curves.png", partial(draw_curves, metrics, history, pictures / "curves.png"))
        rates = partial(draw_learning_rates, metrics, groups, history, pictures / "learning_rates.png")
        attempt("learning_rates.png", rates)

    # ---------------------------------------------------------------- test

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._outputs = []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(outputs, Mapping) and {"index", "target", "probabilities"} <= set(outputs):
            self._outputs.append({key: to_numpy(outputs[key]) for key in ("index", "target", "probabilities")})

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches, self._outputs = gather_batches(self._outputs), []
        if not trainer.is_global_zero or _only_trying(trainer):
            return
        run = _run_folder(trainer)
        before = read_summary(run)
        self.summary = {**before, **self._costs(trainer, pl_module)}
        seconds = time.time() - (self._last_stage_ended or self.started)
        self.summary["seconds"] = {**before.get("seconds", {}), "test": seconds}
        self._last_stage_ended = time.time()
        self.summary.pop("test", None)
        self.summary["checkpoint"] = str(trainer.ckpt_path) if trainer.ckpt_path else None
        self.summary["next_command"] = self._next_command(run)
        if batches:
            predictions = Predictions.from_batches(batches)
            self._report_test(trainer, pl_module, run, predictions)  # type: ignore[arg-type]
        else:
            warnings.warn("test_step returned no index, target and probabilities: no predictions kept", stacklevel=2)
        if self.export:
            attempt("the exported model", partial(self._export, pl_module, run))  # type: ignore[arg-type]
        self._text = attempt("summary.txt", partial(write_summary, run, self.summary)) or ""

    def _report_test(self, trainer: pl.Trainer, module: TransferModule, run: Path, predictions: Predictions) -> None:
        data, names = trainer.datamodule, module.class_names  # type: ignore[attr-defined]
        index = [int(k) for k in predictions.index]
        ids = getattr(data, "sample_ids", _numbers)
        blocks = attempt("the blocks of the samples", partial(getattr(data, "blocks", _no_blocks), index))
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test_")}
        results = attempt("the scores", partial(evaluation_results, predictions, names, blocks)) or {}
        self.summary["test"] = {"samples": len(index), "task": predictions.task, **results, "logged": logged}
        path = run / "predictions" / "test.parquet"
        attempt("predictions/test.parquet", lambda: predictions.write(path, ids(index), names))
        if results.get("confusion") is None:
            return
        pictures = run / "pictures"
        counts = np.asarray(results["confusion"])
        attempt("confusion_matrix.png", partial(draw_confusion, counts, names, pictures / "confusion_matrix.png"))
        if hasattr(data, "image"):
            sheet = partial(draw_wrong_samples, predictions, names, data.image, ids, pictures / "wrong_tiles.png")
            attempt("wrong_tiles.png", partial(sheet, self.wrong_samples))
        if hasattr(data, "sample_text"):
            sheet = partial(draw_wrong_texts, predictions, names, data.sample_text, ids, pictures / "wrong_texts.png")
            attempt("wrong_texts.png", partial(sheet, self.wrong_samples))

    def _export(self, module: TransferModule, run: Path) -> None:
        folder = run / "model"
        if module.head is None:
            raise ValueError("the module has no head")
        # A test runs in inference mode, whose tensors cannot be used for training again.
        with torch.inference_mode(False), torch.no_grad():
            load = module.export(folder)
        self.summary["model"] = {"folder": "model", "load": load}

    # ---------------------------------------------------------------- predict

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        names = pl_module.class_names
        self._writer = PredictionWriter(_part(trainer, trainer.global_rank), names)  # type: ignore[arg-type]
        self._writer.path.unlink(missing_ok=True)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        if self._writer is not None and isinstance(outputs, Mapping) and {"index", "probabilities"} <= set(outputs):
            index = to_numpy(outputs["index"])
            ids = getattr(trainer.datamodule, "sample_ids", _numbers)([int(k) for k in index])  # type: ignore[attr-defined]
            self._writer.write(index, ids, to_numpy(outputs["probabilities"]))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._writer is not None:
            self._writer.close()
        trainer.strategy.barrier("predictions written")
        if trainer.is_global_zero:
            path = _run_folder(trainer) / "predictions" / "predict.parquet"
            rows = merge_parts([_part(trainer, rank) for rank in range(trainer.world_size)], path)
            self._text = f"\n  predictions    {rows:,} samples in {short_path(path)}\n"

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
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


def _run_folder(trainer: pl.Trainer) -> Path:
    return Path(trainer.default_root_dir)


def _only_trying(trainer: pl.Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))


def _history(trainer: pl.Trainer) -> list[dict[str, Any]]:
    """The phases that `ProgressiveUnfreezing`, or a callback of the user's that keeps the same, went through."""
    kept = (getattr(callback, "history", None) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return next((list(history) for history in kept if isinstance(history, list | tuple)), [])


def _part(trainer: pl.Trainer, rank: int) -> Path:
    return _run_folder(trainer) / "predictions" / f"predict.rank{rank}.parquet"


def _numbers(index: Sequence[int]) -> list[str]:
    return [str(k) for k in index]


def _no_blocks(index: Sequence[int]) -> None:
    return None
