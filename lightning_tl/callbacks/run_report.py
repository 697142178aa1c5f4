"""`RunReport`: fills the run folder of a classifier and ends a run with a short summary."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch

from lightning_tl.backbones.exporting.noted_temperature import note_temperature
from lightning_tl.callbacks.run_folder_report import RunFolderReport, only_trying, run_folder
from lightning_tl.callbacks.validation_temperature import ValidationTemperature
from lightning_tl.contracts.data import BlockedSamples, NamedSamples, NotedData, ShownImages, ShownTexts
from lightning_tl.contracts.mask_legend import MaskedSamples
from lightning_tl.contracts.notice import Notice
from lightning_tl.contracts.run_description import FILE, RunDescription
from lightning_tl.reports.against import against
from lightning_tl.reports.attempt import attempt
from lightning_tl.reports.folder_kind import folder_kind
from lightning_tl.reports.gather import Batch, to_numpy
from lightning_tl.reports.mask_writer import MaskWriter
from lightning_tl.reports.model_card import write_model_card
from lightning_tl.reports.pictures.confusion_picture import draw_confusion
from lightning_tl.reports.pictures.reliability_picture import Panel, draw_reliability
from lightning_tl.reports.pictures.run_pictures import draw_in_run
from lightning_tl.reports.pictures.values_picture import draw_values
from lightning_tl.reports.pictures.wrong_samples import draw_wrong_samples
from lightning_tl.reports.pictures.wrong_texts import draw_wrong_texts
from lightning_tl.reports.pixel_counts import PixelCounts
from lightning_tl.reports.pixel_test import TEST_MASKS, draw_pixel_test
from lightning_tl.reports.prediction_writer import PredictionWriter, merge_parts
from lightning_tl.reports.predictions import Predictions
from lightning_tl.reports.results import calibrated, calibrated_error, evaluation_results
from lightning_tl.reports.summary import short_path

if TYPE_CHECKING:
    from lightning_tl.training.transfer_module import TransferModule

MASKS = Path("predictions") / "masks"
_Score = Callable[[Sequence[str], Any], dict[str, Any]]  # of class names and blocks


class RunReport(RunFolderReport):
    """Writes predictions, pictures, the exported model and a summary into the run folder.

    The run folder is the Trainer's `default_root_dir`. After training it holds `pictures/curves.png` and
    `pictures/learning_rates.png` (from a `CSVLogger`'s file); after a test `predictions/test.parquet`,
    `pictures/confusion_matrix.png` (of values `predicted_against_true.png`), `pictures/reliability.png`,
    `pictures/wrong_tiles.png` (or `wrong_texts.png`), `model/` (the weights that were tested), `summary.json` and
    `summary.txt`, which is also printed; after prediction `predictions/predict.parquet`. A temperature is fitted on the
    validation samples with the weights that are tested (see `fit_temperature`), and noted in all of these.
    A picture or an export that fails gives a warning and the run goes on. Only the first process writes.

    Args:
        next_command: what the user may type next; `{run}` stands for the run folder.
        started: when the command began, in seconds since 1970; default now.
        wrong_samples: the most images or texts on the sheet of wrong ones.
        export: whether to write `model/`.
        against: folder of a run that was tested on the same samples; the summary then says which of the two is ahead
            and, where that one trained from scratch, whether transfer helped.
    """

    test_outputs = ("index",)
    optional_outputs = ("target", "probabilities", "logits", "confusion")

    def __init__(
        self,
        next_command: str | None = None,
        started: float | None = None,
        wrong_samples: int = 24,
        export: bool = True,
        against: Path | None = None,
    ) -> None:
        super().__init__(next_command, started, export)
        self.against = None if against is None else Path(against)
        if wrong_samples < 1:
            raise ValueError(f"wrong_samples must be at least 1, got {wrong_samples}")
        self.wrong_samples = wrong_samples
        self._writer: PredictionWriter | None = None
        self._masks: MaskWriter | None = None
        self._temperature = ValidationTemperature()
        self._calibration: dict[str, Any] = {}

    # ---------------------------------------------------------------- calibration

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the temperature of an earlier part of the run: it is of other weights."""
        if trainer.is_global_zero and not only_trying(trainer):
            _keep(run_folder(trainer), {})

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the validation samples for one more pass."""
        self._temperature.note_data(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fit the temperature with the weights that are to be tested."""
        super().on_test_start(trainer, pl_module)
        self._masks = None if only_trying(trainer) else self._mask_writer(trainer, TEST_MASKS)
        self._calibrate(trainer, pl_module, trainer.ckpt_path)

    def finish_untested(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: str | None = None) -> None:
        """See `RunFolderReport`; fit the temperature first."""
        device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        self._calibrate(trainer, module.to(trainer.strategy.root_device), checkpoint)  # a fit's end leaves the device
        self.summary["calibration"] = self._calibration
        super().finish_untested(trainer, module.to(device), checkpoint)

    def _calibrate(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: Any) -> None:
        if only_trying(trainer):
            return
        run = run_folder(trainer)
        self._calibration = self._temperature.found(trainer, module, run, checkpoint)
        if trainer.is_global_zero and self._temperature.fitted_here:
            _keep(run, self._calibration)

    # ---------------------------------------------------------------- test

    def _mask_writer(self, trainer: pl.Trainer, folder: Path) -> MaskWriter | None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        return (
            MaskWriter((self.folder or run_folder(trainer)) / folder, data) if isinstance(data, MaskedSamples) else None
        )

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Keep a batch's outputs; of labels of pixels write the masks, and keep what they got right alone."""
        if isinstance(outputs, Mapping) and {"index", "confusion"} <= set(outputs):
            if (masks := self._masks) is not None:
                index = outputs["index"].tolist()
                ids = _names(trainer.datamodule)(index)  # type: ignore[attr-defined]
                attempt(str(TEST_MASKS), lambda: masks.write(index, ids, outputs["probabilities"]))
            outputs = {"index": outputs["index"], "confusion": outputs["confusion"]}
        super().on_test_batch_end(trainer, pl_module, outputs, *args, **kwargs)

    def report_test(self, trainer: pl.Trainer, module: TransferModule, run: Path, batches: list[Batch]) -> None:
        """See `RunFolderReport`."""
        data, names = trainer.datamodule, module.class_names  # type: ignore[attr-defined]
        ids = _names(data)
        if batches and all("confusion" in batch for batch in batches):
            pixels = PixelCounts.from_batches(batches)
            self._note_test(trainer, module, run, pixels, pixels.results)
            return draw_pixel_test(pixels, names, data, ids, run, self.wrong_samples)
        if not batches or not all({"target", "probabilities"} <= set(batch) for batch in batches):
            warnings.warn(
                "test_step returned no index, target and probabilities: no predictions kept",
                stacklevel=2,
                category=Notice,
            )
            return None
        predictions = Predictions.from_batches(batches, module.task_name)
        results = self._note_test(trainer, module, run, predictions, partial(evaluation_results, predictions))
        panels = self._reliability(predictions, results)
        self.summary["test"] |= results
        pictures = run / "pictures"
        if results.get("values"):
            draw = partial(draw_values, predictions.target, predictions.probabilities, names)
            draw_in_run(pictures / "predicted_against_true.png", draw)
        if panels:
            draw_in_run(pictures / "reliability.png", partial(draw_reliability, panels, predictions.target))
        if results.get("confusion") is None:
            return
        counts = np.asarray(results["confusion"])
        draw_in_run(pictures / "confusion_matrix.png", partial(draw_confusion, counts, names))
        most = self.wrong_samples
        if isinstance(data, ShownImages):
            sheet = partial(draw_wrong_samples, predictions, names, data.image, ids, count=most)
            draw_in_run(pictures / "wrong_tiles.png", sheet)
        if isinstance(data, ShownTexts):
            sheet = partial(draw_wrong_texts, predictions, names, data.sample_text, ids, count=most)
            draw_in_run(pictures / "wrong_texts.png", sheet)

    def _note_test(
        self, trainer: pl.Trainer, module: TransferModule, run: Path, kept: Predictions | PixelCounts, score: _Score
    ) -> dict[str, Any]:
        """Put what a test found into the summary, and write the file of its samples; returns the scores."""
        data, names, index = trainer.datamodule, module.class_names, [int(k) for k in kept.index]  # type: ignore[attr-defined]
        find_blocks = data.blocks if isinstance(data, BlockedSamples) else _no_blocks
        blocks = attempt("the blocks of the samples", partial(find_blocks, index))
        results = attempt("the scores", partial(score, names, blocks)) or {}
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test_")}
        self.summary["calibration"] = self._calibration
        self.summary["notes"] = list(data.notes) if isinstance(data, NotedData) else []
        self.summary["test"] = {"samples": len(index), "task": kept.task, **results, "logged": logged}
        path, ids = run / "predictions" / "test.parquet", _names(data)
        attempt("predictions/test.parquet", lambda: kept.write(path, ids(index), names, blocks))
        if (other := self.against) is not None:
            compared = attempt("the comparison", lambda: against(run, other, type(module).__name__))
            self.summary["test"]["against"] = compared
        return results

    def _reliability(self, predictions: Predictions, results: dict[str, Any]) -> list[Panel]:
        """As trained and at the temperature, whose error goes into the results."""
        if "calibration_error" not in results:
            return []
        panels = [Panel("as trained", predictions.probabilities, results["calibration_error"])]
        if predictions.logits is not None and "temperature" in self._calibration:
            temperature = float(self._calibration["temperature"])
            results["calibrated_error"] = calibrated_error(predictions, temperature)
            title = f"at temperature {temperature:.3g}"
            panels.append(Panel(title, calibrated(predictions, temperature), results["calibrated_error"]))
        return panels

    def export_model(self, module: TransferModule, run: Path) -> None:
        """See `RunFolderReport`."""
        folder = run / "model"
        if module.head is None:
            raise ValueError("the module has no head")
        fresh = not folder.exists()
        try:
            line = module.export(folder)
            if "temperature" in self._calibration:
                note_temperature(folder, self._calibration["temperature"])
        except BaseException:  # a full disk, or Ctrl-C: half a model must not be taken for one
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self.summary["model"] = {"folder": "model", "load": line, "is": folder_kind(folder)}
        described = RunDescription.read(run) if (run / FILE).is_file() else None
        attempt("model/README.md", partial(write_model_card, folder, run, described, self.summary))

    # ---------------------------------------------------------------- predict

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the file of predictions."""
        if only_trying(trainer):
            return
        names, task = getattr(pl_module, "class_names", ()), getattr(pl_module, "task_name", None)
        temperature = getattr(pl_module, "calibration_temperature", None)
        self._writer = PredictionWriter(_part(trainer, trainer.global_rank), names, task, temperature)
        self._writer.path.unlink(missing_ok=True)
        self._masks = self._mask_writer(trainer, MASKS)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Write the batch's predictions."""
        if self._writer is not None and isinstance(outputs, Mapping) and "index" in outputs and len(outputs) > 1:
            index = to_numpy(outputs["index"])
            ids = _names(trainer.datamodule)([int(k) for k in index])  # type: ignore[attr-defined]
            if self._masks is not None and "probabilities" in outputs:
                parts = self._masks.write(index.tolist(), ids, outputs["probabilities"])
            else:
                parts = {name: to_numpy(part) for name, part in outputs.items() if name != "index"}
            self._writer.write(index, ids, parts)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join the processes' predictions in one file."""
        if self._writer is None:
            return
        self._writer.close()
        trainer.strategy.barrier("predictions written")
        if trainer.is_global_zero:
            path = run_folder(trainer) / "predictions" / "predict.parquet"
            rows = merge_parts([_part(trainer, rank) for rank in range(trainer.world_size)], path)
            self._text = f"\n  predictions    {rows:,} samples in {short_path(path)}\n"
            if self._masks is not None:
                self._text += f"                 masks in {short_path(self._masks.folder)}\n"
            if (temperature := getattr(pl_module, "calibration_temperature", None)) is not None:
                self._text += f"                 calibrated at temperature {temperature:.3g}\n"


def _keep(run: Path, calibration: dict[str, Any]) -> None:
    """Write the temperature into `run.json`, where there is one."""
    description = RunDescription.read(run) if (run / FILE).is_file() else None
    if description is not None and description.calibration != calibration:
        dataclasses.replace(description, calibration=calibration).write(run)


def _part(trainer: pl.Trainer, rank: int) -> Path:
    return run_folder(trainer) / "predictions" / f"predict.rank{rank}.parquet"


def _names(data: Any) -> Callable[[Sequence[int]], list[str]]:
    """How samples are called by their numbers."""
    return data.sample_ids if isinstance(data, NamedSamples) else _numbers


def _numbers(index: Sequence[int]) -> list[str]:
    return [str(k) for k in index]


def _no_blocks(index: Sequence[int]) -> None:
    return None
