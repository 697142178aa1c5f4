"""`ValidationTemperature`: the temperature of a run, fitted on validation with the weights that are tested."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from lightning_tl.compat.for_lightning import batch_on_device, sources_of_fit
from lightning_tl.contracts.batches import classification_batch
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.metrics import NotFittedError, fit_temperature
from lightning_tl.reports.gather import Batch, gather_batches, to_numpy
from lightning_tl.training.calibration import why_uncalibrated
from lightning_tl.training.transfer_module import TransferModule

NONE_KEPT = "none was fitted on validation"


class ValidationTemperature:
    """Fits a temperature in one more pass over the validation samples of the fit; a test without a fit reads the run's.

    Training, weights and predicted labels do not change by it.
    """

    def __init__(self) -> None:
        self._loaders: Any = None
        self._limit: int | float = 1.0
        self._trained = False

    @property
    def fitted_here(self) -> bool:
        """Whether there was a fit, so that what is found is of this run's data."""
        return self._trained

    def note_data(self, trainer: pl.Trainer) -> None:
        """At the end of a fit, keep what it validated on: for a test, data modules read anew, and maybe other data."""
        self._limit, self._trained = trainer.limit_val_batches, True
        self._loaders = trainer.val_dataloaders
        if self._loaders is None and self._limit != 0:  # a fit that had nothing left to do
            source = sources_of_fit(trainer)["validation"]
            self._loaders = source.dataloader() if source.is_defined() else None

    def found(
        self, trainer: pl.Trainer, module: pl.LightningModule, run: Path, checkpoint: str | None
    ) -> dict[str, Any]:
        """The temperature for these weights and what it was fitted on, or why there is none, as JSON values.

        Every process must call it; what it returns counts on the first one.

        Args:
            trainer: whose fit it was, or which tests alone.
            module: with the weights that are tested.
            run: the run folder.
            checkpoint: the file that the weights come from; None for none.
        """
        checkpoint = Path(checkpoint).name if checkpoint else None
        if not isinstance(module, TransferModule):
            return {"why": "what the outputs are is not known"}
        if (why := why_uncalibrated(module)) is not None:
            return {"why": why}
        if self._trained:
            return {**self._fitted(trainer, module), "checkpoint": checkpoint}
        kept = (RunDescription.read(run) or RunDescription()).calibration
        if "temperature" not in kept:
            return {"why": kept.get("why", NONE_KEPT)}
        return kept if kept["checkpoint"] == checkpoint else {"why": of_another(kept, checkpoint)}

    def _fitted(self, trainer: pl.Trainer, module: TransferModule) -> dict[str, Any]:
        batches: list[Batch] = []
        why = None
        try:
            loader = self._loader()
            if self._limit == 0:
                why = "validation was left out (limit_val_batches=0)"
            elif loader is None:
                why = "there are no validation samples"
            else:
                batches = list(self._outputs(trainer, module, loader))
        except Exception as error:  # a run must not be lost to this, nor one process leave the others waiting
            why = f"validation could not be read again ({type(error).__name__}: {error})"
        batches = gather_batches([*batches, *([{"why": np.array(why)}] if why else [])])
        if failed := [str(batch["why"]) for batch in batches if "why" in batch]:
            return {"why": failed[0]}
        if not batches:
            return {"why": "there are no validation samples"}
        if not all("index" in batch for batch in batches):
            return {"why": "validation batches have no index"}
        joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        _, first = np.unique(joined["index"], return_index=True)  # a sampler may repeat samples
        try:
            found = fit_temperature(joined["logits"][first], joined["target"][first])
        except ValueError as error:
            return {"why": f"validation has {error}" if isinstance(error, NotFittedError) else str(error)}
        told = {"temperature": found.value, "samples": found.samples}
        return {**told, "loss_before": found.loss_before, "loss_after": found.loss_after}

    def _loader(self) -> Any:
        given = self._loaders
        if isinstance(given, list | tuple) and len(given) == 1:
            return given[0]
        if isinstance(given, list | tuple | dict):
            if given:
                raise ValueError(f"there are {len(given)} validation loaders")
            return None
        return given

    def _outputs(self, trainer: pl.Trainer, module: TransferModule, loader: Any) -> Iterator[Batch]:
        limit = self._limit
        batches = None if limit == 1.0 and isinstance(limit, float) else limit
        if isinstance(batches, float):
            batches = int(batches * len(loader))
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        try:
            for raw in islice(loader, batches):
                batch = classification_batch(batch_on_device(trainer, raw))
                with torch.inference_mode(), trainer.precision_plugin.val_step_context():
                    output = module.step(batch)
                kept = {"logits": output.predictions, "target": output.target}
                kept |= {"index": batch["index"]} if "index" in batch else {}
                yield {name: to_numpy(value) for name, value in kept.items()}
        finally:
            for part, training in modes:
                part.training = training


def of_another(kept: dict[str, Any], checkpoint: str | None) -> str:
    """That a run's temperature is of other weights."""
    return f"the run's is of {kept['checkpoint'] or 'other weights'}, not of {checkpoint or 'these weights'}"
