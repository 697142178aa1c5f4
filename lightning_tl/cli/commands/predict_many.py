"""`predict --output`: predictions of many rows, kept in parts, by one process or several."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from datamodules.labelled.classification_data import ClassificationDataModule
from lightning_tl.bundling.trained_module import trained_module
from lightning_tl.cli.commands.finished_run import FinishedRunCLI
from lightning_tl.cli.commands.predict_many_options import PredictManyOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.process.parts_job import PartsJob
from lightning_tl.cli.process.parts_on_ray import PartsOnRay
from lightning_tl.contracts.batches import moved
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.embedding import Ranks
from lightning_tl.embedding.budget_order import BudgetOrder, budget_batches
from lightning_tl.reports.prediction_writer import PredictionWriter
from lightning_tl.reports.progress import progress_bar
from lightning_tl.serving.bundle.manifest import file_sha256
from lightning_tl.storage.parts_on_disk import PartsOnDisk
from lightning_tl.training.transfer_module import TransferModule

_TOKENS_AT_ONCE = 2**15
_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

Places = NDArray[np.int64]


class PredictManyCLI(FinishedRunCLI):
    """Reads a run as `predict` does, and writes its predictions in the order of the data; processes share the work.

    Batches depend on the data alone: not on the number of processes, and not on where a job was interrupted.

    Args:
        options: from `read_predict_many_options`.
        only_open: open the job, and make nothing.
    """

    def __init__(self, options: PredictManyOptions, only_open: bool = False) -> None:
        self.wanted, self.only_open = options, only_open
        self.ray: PartsOnRay | None = None
        with ExitStack() as self.stack:
            super().__init__(options.run)

    def before_instantiate_classes(self) -> None:
        """Connect to the cluster, before anything long."""
        super().before_instantiate_classes()
        if self.wanted.ray is not None:
            opener = partial(_opened, replace(self.wanted, ray=None))
            self.ray = self.stack.enter_context(PartsOnRay(self.wanted.ray, opener))

    def instantiate_classes(self) -> None:
        """Build model and data, which are to be read for the run."""
        super().instantiate_classes()
        self.read_for_the_run()

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        data = self.datamodule
        if not isinstance(self.model, TransferModule) or not isinstance(data, ClassificationDataModule):
            raise UserError(
                f"predict --output is for runs on images and texts; {self.folder} trained a "
                f"{type(self.model).__name__} on {type(data).__name__}"
            )
        module = trained_module(self.model, self.description(), self.checkpoint)
        accelerator = str(self.field(self.config, "trainer").accelerator)
        with Ranks() as ranks:
            device = ranks.device(accelerator)
            shares = {"rank": ranks.rank, "world_size": ranks.world_size, "local_world_size": ranks.local_world_size}
            data.serve(Conditions.of_model(module.backbone, device=device, **shares))
            if ranks.local_rank == 0:
                data.prepare_data()
            ranks.wait()
            data.setup("predict")
            rows = np.sort(np.concatenate(list(data.indices.values())))  # of one split, for a finished run
            if len(rows) == 0:
                raise ValueError("there are no samples to predict")
            card, count = self._job(data, rows, module), -(-len(rows) // self.wanted.save_every)
            parts = PartsOnDisk(self.wanted.output, card, count)

            def make(left: list[int], shown: bool) -> None:
                self._write(parts, left, data, rows, module.to(device), shown)

            self.job = PartsJob(parts, make, gpu=accelerator != "cpu")
            if self.only_open:
                return
            elsewhere = None if self.ray is None else self.ray.make
            written = self.job.share(ranks, self.wanted.overwrite, elsewhere)
            if written is not None:
                print(f"{self.wanted.output}: predictions of {written:,} rows")

    def _job(self, data: ClassificationDataModule[Any], rows: Places, module: TransferModule) -> dict[str, object]:
        """What the parts depend on."""
        told: list[object] = [file_sha256(self.checkpoint), data.fingerprint(rows), data.sample_ids(rows.tolist())]
        told += [module.calibration_temperature, self.wanted.save_every, self._precision()]
        return {"sha256": hashlib.sha256(json.dumps(told).encode()).hexdigest()}

    def _precision(self) -> str:
        given = str(self.field(self.config, "trainer").precision or "32-true")
        if given not in (*_MIXED, "32", "32-true", "None"):
            raise UserError(
                f"predict --output computes in 32 bits or mixed, and the run's precision is {given}: add "
                "--trainer.precision=32-true, or leave --output out"
            )
        return given

    def _write(
        self,
        parts: PartsOnDisk,
        left: list[int],
        data: ClassificationDataModule[Any],
        rows: Places,
        module: TransferModule,
        shown: bool,
    ) -> None:
        """Predict the rows of these parts, with one loader for all of them."""
        if not left:
            return
        every, most = self.wanted.save_every, data.eval_batch_size or 2 * data.batch_size
        mine = {part: rows[part * every : (part + 1) * every] for part in left}
        batches = {part: budget_batches(data.lengths(some), _TOKENS_AT_ONCE, most) for part, some in mine.items()}
        order = BudgetOrder([mine[part][places] for part in left for places in batches[part]])
        answers = self._answers(data.reading_loader(order), module)
        writer = PredictionWriter(
            self.wanted.output, module.class_names, module.task_name, module.calibration_temperature
        )
        bar = progress_bar(len(left), "Predicting", "parts", shown)
        for part in left:
            found = [next(answers) for _ in batches[part]]
            back = np.argsort(np.concatenate(batches[part]), kind="stable")
            outputs = {name: np.concatenate([one[name] for one in found])[back] for name in found[0]}
            parts.write(part, lambda outputs=outputs, some=mine[part]: _table(writer, data, some, outputs))  # type: ignore[misc]
            bar.update(1)
        bar.close()

    def _answers(self, loader: Any, module: TransferModule) -> Iterator[dict[str, NDArray[Any]]]:
        """What the module tells of each batch, by name."""
        device, kind = module.device, _MIXED.get(self._precision())
        for batch in loader:
            with torch.inference_mode(), torch.autocast(device.type, kind, enabled=kind is not None):
                found = module.predict_step({**batch, "inputs": moved(batch["inputs"], device)}, 0)
            told = {name: value for name, value in found.items() if name != "index"}
            yield {name: (v.float() if v.is_floating_point() else v).cpu().numpy() for name, v in told.items()}


def _opened(options: PredictManyOptions) -> PartsJob:
    return PredictManyCLI(options, only_open=True).job


def _table(
    writer: PredictionWriter, data: ClassificationDataModule[Any], rows: Places, outputs: dict[str, NDArray[Any]]
) -> pa.Table:
    return writer.table(rows, data.sample_ids(rows.tolist()), outputs).drop_columns(["index"])
