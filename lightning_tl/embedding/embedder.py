"""Embeddings of every sample of a data set, by any backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_tl.backbones.base import Backbone, take_input
from lightning_tl.contracts.batches import TextSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.embedding.batch_run import embed_batches
from lightning_tl.embedding.budget_order import BudgetOrder, budget_batches
from lightning_tl.embedding.parts.output_file import OutputFile
from lightning_tl.embedding.parts.part_folder import PartFolder
from lightning_tl.embedding.parts.part_writer import PartWriter
from lightning_tl.embedding.precision import resolve_precision
from lightning_tl.embedding.ranks import Ranks
from lightning_tl.embedding.settings import EmbeddingSettings
from lightning_tl.reports.progress import Progress
from lightning_tl.reports.resources import duration_text
from lightning_tl.storage.alone import alone
from lightning_tl.storage.tensor_digest import tensor_digest

Places = NDArray[np.int64]
Split = Literal["train", "validation", "test", "predict"]


@runtime_checkable
class ReadableData(Protocol):
    """What embedding asks of a data module; every `datamodules.ClassificationDataModule` has it."""

    labelled: bool  # whether labels are read

    def serve(self, conditions: Conditions) -> None:
        """Take what has to be known of model and machine."""
        ...

    def prepare_data(self) -> None:
        """Download or unpack, where there is something to."""
        ...

    def setup_reading(self, split: Split | None = None) -> Places:
        """In place of `setup`: the numbers of the samples to read."""
        ...

    def lengths(self, indices: Places) -> Places:
        """How long each sample is, [n]."""
        ...

    def fingerprint(self, indices: Places) -> str:
        """A hash that changes with these samples, and with how they are read."""
        ...

    def reading_loader(self, order: Any) -> Any:
        """The samples as they are, in batches of the caller's choice."""
        ...

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        """Stable names of samples."""
        ...


class Embedder:
    """Computes embeddings and writes them, alone or as one of several processes; an interrupted job can go on.

    Batches, and with them the bits of the result, depend on the data and the settings only: not on the number of
    processes, and not on where a job was interrupted.

    Args:
        backbone: any, with the weights to use.
        name: of model and weights, for people.
        data: as recipes have it, before its `setup`.
        split: whose samples to embed; None for all, of data without labels too.
        settings: precision and sizes of batches.
        ranks: the processes that share the job.
        accelerator: as the Trainer takes it.

    Raises:
        ValueError: data that cannot be read this way.
    """

    def __init__(
        self,
        backbone: Backbone,
        name: str,
        data: Any,
        split: Split | None,
        settings: EmbeddingSettings,
        ranks: Ranks,
        accelerator: str = "auto",
    ) -> None:
        if not isinstance(data, ReadableData):
            raise ValueError(
                f"{type(data).__name__} cannot be read sample by sample: embedding needs a data module such as "
                "datamodules.TextDataModule, SatelliteDataModule or ImageFolderDataModule, or a subclass of theirs"
            )
        self.backbone, self.name, self.data, self.split = backbone.eval(), name, data, split
        self.settings, self.ranks = settings, ranks
        self.device = ranks.device(accelerator)
        self.precision, self.why = resolve_precision(settings.precision, self.device)
        shares = {"rank": ranks.rank, "world_size": ranks.world_size, "local_world_size": ranks.local_world_size}
        data.serve(Conditions.of_model(backbone, device=self.device, **shares))
        data.labelled = split is not None

    def write(self, output: OutputFile, overwrite: bool = False) -> None:
        """Embed everything that is not done yet, and write it.

        Args:
            output: the file to write, with the folder of what is done so far.
            overwrite: drop what an interrupted job of another kind left.

        Raises:
            ValueError: no samples, or an interrupted job of another kind.
        """
        rows = self._rows()
        self._write(rows, tensor_digest(self.backbone.state_dict()), output, overwrite)
        self._say(f"{output.path}: {len(rows):,} embeddings of {self.backbone.feature_dim} numbers")

    def keep(self, folder: Path) -> tuple[Places, NDArray[np.float32]]:
        """The same for one process, kept as a file in a folder, whose name says of what: computed once, then read.

        Args:
            folder: made where it is not there.

        Returns:
            the samples' numbers [n], in the order of the data, and their embeddings [n, feature_dim].

        Raises:
            ValueError: no samples, or several processes.
        """
        if self.ranks.world_size > 1:
            raise ValueError(
                f"features are computed and kept by one process, but there are {self.ranks.world_size}: start the "
                "command without torchrun"
            )
        rows, weights = self._rows(), tensor_digest(self.backbone.state_dict())
        job = json.dumps({**self._job(rows, weights), "rows": rows.tolist()}, sort_keys=True)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{hashlib.sha256(job.encode()).hexdigest()[:32]}.npy"
        if not file.exists():
            with alone(file.with_suffix(".lock")):
                if not file.exists():  # another process, which was here before, made it
                    self._write(rows, weights, OutputFile(file), overwrite=False)
        values: NDArray[np.float32] = np.load(file, mmap_mode="r")
        return rows, values

    def _write(self, rows: Places, weights: str, output: OutputFile, overwrite: bool) -> None:
        text = isinstance(self.backbone.input_spec, TextSpec)
        lengths = self.data.lengths(rows)
        batches = budget_batches(lengths, self.settings.batch_tokens if text else 2**62, self.settings.most(text))
        parts = PartFolder(output.parts, self._job(rows, weights))
        if self.ranks.rank == 0:
            parts.open(anew=overwrite)
        self.ranks.wait()
        self._embed(rows, batches, parts)
        self.ranks.wait()
        if self.ranks.rank == 0:
            ids = self.data.sample_ids(rows.tolist())
            output.write(ids, self.backbone.feature_dim, parts.read(), self._description(weights))
            parts.remove()

    def _rows(self) -> Places:
        """The samples' numbers in the data set, in the order of the result."""
        if self.ranks.local_rank == 0:
            self.data.prepare_data()
        self.ranks.wait()
        rows = self.data.setup_reading(self.split)
        take_input(self.backbone, self.data)
        if len(rows) == 0:
            where = "data" if self.split is None else f"{self.split} split"
            raise ValueError(f"there are no samples in the {where}; choose another --split, or all")
        return rows

    def _embed(self, rows: Places, batches: list[Places], parts: PartFolder) -> None:
        ranks, done = self.ranks, parts.done()
        mine = [k for k in range(len(batches)) if k % ranks.world_size == ranks.rank and k not in done]
        kept = sum(len(batches[k]) for k in done)
        self._say(f"{self.name}: {self.why}, {len(rows):,} samples in {len(batches):,} batches on {self._where()}")
        if kept:
            self._say(f"going on: {kept:,} of {len(rows):,} samples were done before")
        if not mine:
            return
        backbone = self.backbone.to(self.device)
        loader = self.data.reading_loader(BudgetOrder([rows[batches[k]] for k in mine]))
        total = sum(len(batches[k]) for k in mine)
        note = f" (process 1 of {ranks.world_size})" if ranks.world_size > 1 else ""
        progress = Progress(total, shown=ranks.rank == 0, note=note)
        writer = PartWriter(parts, self.settings.save_every)
        try:
            results = embed_batches(backbone, loader, self.device, self.precision == "bf16")
            for number, values in zip(mine, results, strict=True):
                writer.add(number, batches[number], values)
                progress.add(len(values))
            writer.flush()
        except KeyboardInterrupt:
            writer.flush_undisturbed()
            progress.close()
            self._say("\nstopped; what was done is kept, and the same command goes on from there")
            raise
        seconds = progress.close()
        self._say(f"embedded {total:,} samples{note} in {duration_text(seconds)}, {total / seconds:,.0f} a second")

    def _job(self, rows: Places, weights: str) -> dict[str, str]:
        """Everything that decides the bits of the result."""
        return {
            **{name: value for name, value in self._arguments().items() if name not in ("pretrained", "revision")},
            "weights": weights,  # last: image backbones have an argument of this name
            "backbone": type(self.backbone).__name__,
            "data": self.data.fingerprint(rows),
            "split": self.split or "all",
            "precision": self.precision,
            "batch_size": str(self.settings.batch_size),
            "batch_tokens": str(self.settings.batch_tokens),
            "device": self.device.type,
            "torch": torch.__version__,
        }

    def _description(self, weights: str) -> dict[str, str]:
        """What the embeddings are, for those who find the file."""
        arguments = self._arguments()
        return {
            "model": self.name,
            "backbone": type(self.backbone).__name__,
            "dim": str(self.backbone.feature_dim),
            **{name: arguments[name] for name in ("pooling", "normalize", "max_length") if name in arguments},
            "weights_sha256": weights,
            "precision": self.precision,
            "split": self.split or "all",
        }

    def _arguments(self) -> dict[str, str]:
        given: Mapping[str, Any] = getattr(self.backbone, "arguments", {})
        return {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in given.items()}

    def _where(self) -> str:
        kind = self.device.type.upper()
        return kind if self.ranks.world_size == 1 else f"{self.ranks.world_size} processes ({kind})"

    def _say(self, text: str) -> None:
        if self.ranks.rank == 0:
            print(text, flush=True)
