"""`DomainSamples`: features of one domain, with labels and blocks where it has them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.embedding import Embedder, EmbeddingSettings, Ranks, ReadableData

Places = NDArray[np.int64]


@dataclass(frozen=True)
class DomainSamples:
    """What distances are measured on.

    Args:
        name: where the samples come from.
        values: [n, dim] features.
        classes: [n] name of each sample's class, "" where not known; None where there is not one label a sample.
        blocks: [n] block of each; None when samples are independent.
        total: samples that there are, of which n were drawn.
    """

    name: str
    values: NDArray[Any]
    classes: NDArray[np.str_] | None = None
    blocks: Places | None = None
    total: int = 0


class Domain:
    """A data set whose samples are opened at once, and embedded later.

    Args:
        backbone: with the weights to use.
        name: of backbone and weights, for people.
        data: as recipes have it, before its `setup`.
        side: "source" or "target", for messages.
        fewest: samples, and blocks, that are needed.
        most: samples to draw where there are more.
        settings: of the embedding.
        accelerator: as the Trainer takes it.

    Raises:
        ValueError: data that cannot be read sample by sample, or have too few samples or blocks.
    """

    def __init__(
        self,
        backbone: Backbone,
        name: str,
        data: Any,
        side: str,
        fewest: int,
        most: int,
        settings: EmbeddingSettings,
        accelerator: str = "auto",
    ) -> None:
        read = _SomeSamples(data, side, fewest, most) if isinstance(data, ReadableData) else data
        self._embedder = Embedder(backbone, name, read, None, settings, Ranks(), accelerator)
        self.source = str(getattr(data, "source", type(data).__name__))
        self._read: _SomeSamples = read
        data.prepare_data()
        self.rows = self._read.setup_reading()

    def samples(self, folder: Path) -> DomainSamples:
        """Features of the samples, computed once and kept in `folder`."""
        rows, values = self._embedder.keep(folder)
        data = self._read.data
        blocks = data.blocks(rows.tolist()) if hasattr(data, "blocks") else None
        return DomainSamples(self.source, np.asarray(values), self._classes(rows), blocks, self._read.total)

    def _classes(self, rows: Places) -> NDArray[np.str_] | None:
        records: Any = getattr(self._read.data, "records", None)
        labels = getattr(records, "labels", None)
        if labels is None or labels.ndim != 1 or labels.dtype.kind != "i" or not self._read.with_labels:
            return None
        names = np.array([*records.class_names, ""])  # -1, not known, is the last
        found: NDArray[np.str_] = names[labels[rows]]
        return found if (found != "").any() else None


class _SomeSamples:
    """`ReadableData` of all samples, with labels where they can be read with labels; of many, some are drawn."""

    labelled = True

    def __init__(self, data: Any, side: str, fewest: int, most: int) -> None:
        self.data, self.side, self.fewest, self.most = data, side, fewest, most
        self.with_labels, self.total = True, 0
        self._rows: Places | None = None

    @property
    def input_spec(self) -> Any:
        """How the data prepare images, where they are images."""
        return getattr(self.data, "input_spec", None)

    def serve(self, conditions: Conditions) -> None:
        self.data.serve(conditions)

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup_reading(self, split: str | None = None) -> Places:
        if self._rows is None:
            self._rows = self._drawn(self._open())
        return self._rows

    def _open(self) -> Places:
        untouched = copy.deepcopy(self.data)
        try:
            self.data.labelled = self.with_labels = True
            found: Places = self.data.setup_reading(None)
        except (ValueError, OSError):  # perhaps for want of labels; else the next line says the same
            self.data, self.with_labels = untouched, False
            self.data.labelled = False
            found = self.data.setup_reading(None)
        return found

    def _drawn(self, rows: Places) -> Places:
        self.total, noun = len(rows), getattr(self.data, "noun", "samples")
        if self.total > self.most:
            rows = np.sort(np.random.default_rng(0).choice(rows, self.most, replace=False))
        if len(rows) < self.fewest:
            raise ValueError(
                f"the {self.side} {getattr(self.data, 'source', '')} has {len(rows)} {noun}, but {self.fewest} folds "
                "need at least as many: add some, or take fewer --folds"
            )
        blocks = self.data.blocks(rows.tolist()) if hasattr(self.data, "blocks") else None
        if blocks is not None and len(np.unique(blocks)) < self.fewest:
            raise ValueError(
                f"the {self.side} {getattr(self.data, 'source', '')} has {len(np.unique(blocks))} blocks, but "
                f"{self.fewest} folds need at least as many: take fewer --folds"
            )
        return rows

    def lengths(self, indices: Places) -> Places:
        return self.data.lengths(indices)  # type: ignore[no-any-return]

    def fingerprint(self, indices: Places) -> str:
        return str(self.data.fingerprint(indices))

    def reading_loader(self, order: Any) -> Any:
        return self.data.reading_loader(order)

    def sample_ids(self, indices: Sequence[int]) -> list[str]:
        return self.data.sample_ids(indices)  # type: ignore[no-any-return]
