"""`EpochSoFar`: what an epoch has logged up to a checkpoint in its middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.apply_func import convert_tensors_to_scalars
from torch import Tensor
from torchmetrics import Metric

from lightning_tl.compat.for_lightning import forget_computed, log_row, results_of_epoch, row_of_step
from lightning_tl.compat.for_torchmetrics import count_updates
from lightning_tl.reports.csv_metrics import CsvMetrics

_KEY = "epoch_so_far"  # in a checkpoint


class EpochSoFar:
    """Keeps the sums behind the epoch's means of training metrics, which Lightning leaves out of its checkpoints.

    Without them a resumed run takes the mean over the rest of the epoch alone, and whatever watches it (early stopping,
    the best checkpoint, a plateau schedule) decides otherwise than the uninterrupted run. Each process has sums of its
    own. The row that loggers get for the step of the checkpoint is kept, too: Lightning writes it afterwards.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Any] = {}  # of metrics that the resumed run has not logged yet
        self._metrics: dict[str, Any] = {}
        self._row: dict[str, Any] | None = None

    # ---------------------------------------------------------------- into the checkpoint

    def save(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state of all processes to a checkpoint; call it on all of them."""
        self.add(trainer)
        states: list[Any] = [{"sums": self._current_sums(trainer), "metrics": _metric_states(module)}]
        if trainer.world_size > 1:
            mine, states = states[0], [None] * trainer.world_size
            torch.distributed.all_gather_object(states, mine)
        checkpoint[_KEY] = {"processes": states, "row": self._logged_row(trainer)}

    def _current_sums(self, trainer: pl.Trainer) -> dict[str, Any]:
        found = dict(self._sums)
        for key, result in results_of_epoch(trainer).items():
            if result.is_tensor and result.meta.on_epoch and not result.has_reset:
                found[key] = {"value": result.value.detach().cpu()}
                if result.meta.is_mean_reduction:
                    found[key]["weight"] = result.cumulated_batch_size.detach().cpu()
        return found

    @staticmethod
    def _logged_row(trainer: pl.Trainer) -> dict[str, Any] | None:
        row = row_of_step(trainer)
        if row is None:
            return None
        step, values = row
        return {"step": step, "values": {**convert_tensors_to_scalars(values), "epoch": trainer.current_epoch}}

    # ---------------------------------------------------------------- out of it

    def load(self, trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
        """Take what a checkpoint holds; nothing where it is from an epoch's end, or of another number of processes."""
        self.__init__()  # type: ignore[misc]
        kept = checkpoint.get(_KEY)
        if kept is None or len(kept["processes"]) != trainer.world_size:
            return
        mine = kept["processes"][trainer.global_rank]
        self._sums, self._metrics, self._row = dict(mine["sums"]), dict(mine["metrics"]), kept["row"]

    def begin(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Before the first batch: write the row of the checkpoint's step, and set metrics that are modules."""
        row, self._row = self._row, None
        if row is not None:
            for logger in trainer.loggers if trainer.is_global_zero else ():
                if isinstance(logger, CsvMetrics):
                    logger.drop_from(row["step"])
            log_row(trainer, row["values"], row["step"])
        parts, self._metrics = self._metrics, {}
        for name, part in module.named_modules():
            if isinstance(part, Metric) and name in parts:
                count_updates(part, parts[name]["updates"])
                for state, value in parts[name]["states"].items():
                    setattr(part, state, _on(value, part.device))

    def add(self, trainer: pl.Trainer) -> None:
        """After a batch: add the sums of before to metrics that have been logged again."""
        results = results_of_epoch(trainer)
        for key in [key for key in self._sums if key in results]:
            before, result = self._sums.pop(key), results[key]
            value = before["value"].to(result.value.device)
            if result.meta.is_mean_reduction:
                result.cumulated_batch_size = result.cumulated_batch_size + before["weight"].to(value.device)
            if result.meta.is_max_reduction or result.meta.is_min_reduction:
                result.value = result.meta.reduce_fx(result.value, value)
            else:
                result.value = value + result.value
            forget_computed(result)


def _metric_states(module: pl.LightningModule) -> dict[str, Any]:
    """The states of metrics that are modules and hold something: in mid-epoch those of training."""
    return {
        name: {"updates": part.update_count, "states": {key: _on(v, None) for key, v in part.metric_state.items()}}
        for name, part in module.named_modules()
        if isinstance(part, Metric) and part.update_count > 0
    }


def _on(value: Any, device: torch.device | None) -> Any:
    """A state, a tensor or a list of them, on a device; None for the CPU, as a copy."""
    if isinstance(value, list):
        return [_on(one, device) for one in value]
    assert isinstance(value, Tensor)
    return value.detach().cpu().clone() if device is None else value.to(device)
