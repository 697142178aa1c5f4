"""Training steps of large batches with a live encoder, for `retrieval_scale.py`, whose own process is not measured."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from cuda_memory import CudaMemory
from numpy.typing import NDArray
from resident_memory import Memory
from torch.utils.data import DataLoader

from datamodules.texts.text_data import REVIEWS
from lightning_tl.adaptation import Frozen, Full
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.batches import RetrievalBatch
from lightning_tl.contracts.interactions import Exclude, InteractionLog, Queries
from lightning_tl.retrieval import HistoryTransformer, ItemTower, TwoTower
from lightning_tl.training.schedules import Constant

LENGTH, A_ROW = 50, 25  # items of a row, queries of a row


class Case(NamedTuple):
    """One line of the table: queries of a batch, and how many texts, or queries' histories, are read at once."""

    queries: int
    chunk: int
    tokens: int = 32
    steps: int = 2
    encoder: str | None = None
    threads: int | None = None
    accelerator: str = "cpu"
    precision: Any = "32-true"
    frozen: bool = False


class Measured(NamedTuple):
    """Bytes beyond the start and of the whole process, and the median seconds of a step."""

    beyond: int
    whole: int
    seconds: float


@dataclass(frozen=True)
class Catalogue:
    """Data with as many items as texts, each taken once: rows of 25 queries, of which each has a user."""

    item_texts: list[str]
    training_log: InteractionLog
    item_pictures: None = None
    profile_sizes: tuple[int, ...] = ()
    user_profiles: None = None
    history_length: int = LENGTH

    @classmethod
    def of(cls, texts: list[str]) -> Catalogue:
        """Item k is taken by user k // 25 at second k."""
        items = np.arange(len(texts))
        users, ids = (items // A_ROW).astype(np.int32), [str(item) for item in items]
        return cls(texts, InteractionLog(users, items.astype(np.int32), items, ids[: users[-1] + 1], ids))

    @property
    def item_titles(self) -> list[str]:
        return self.item_texts

    @property
    def profiles(self) -> NDArray[np.int64]:
        return np.zeros((len(self.training_log.user_ids), 0), np.int64)

    @property
    def exclude(self) -> Exclude:
        return "taken"

    @property
    def viewed(self) -> None:
        return None

    def queries(self, split: str) -> Queries:
        return Queries.of(self.training_log, np.zeros(0, np.int64))

    def batch(self) -> RetrievalBatch:
        """Every event is asked for, after 25 to 49 random items."""
        log, generator = self.training_log, torch.Generator().manual_seed(0)
        target = torch.arange(len(log))
        return {
            "history": torch.randint(len(log), (len(log.user_ids), LENGTH), generator=generator),
            "user": torch.arange(len(log.user_ids)),
            "row": target // A_ROW,
            "position": LENGTH - A_ROW + target % A_ROW,
            "target": target,
            "index": target,
        }


class Drawn(TwoTower):
    """Takes random features for those of the catalogue, whose encoding is not measured here."""

    def refresh_content(self, if_changed: bool = False) -> None:
        shape = len(self.items.content) or self.item_count, len(self.items.mean)
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.items.content = drawn.to(self.device)
        self.items.mean, self.items.spread = torch.zeros_like(self.items.mean), torch.ones_like(self.items.spread)


def train(case: Case) -> Measured:
    """Train on one batch again and again. Its process should do nothing else."""

    class Watch(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.memory: Memory | CudaMemory = Memory() if case.accelerator == "cpu" else CudaMemory()
            self.stamps = [time.perf_counter()]

        def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
            if case.accelerator != "cpu":
                torch.cuda.synchronize()
            self.stamps.append(time.perf_counter())

    if case.threads:
        torch.set_num_threads(case.threads)
    logging.disable(logging.WARNING)
    texts = pd.read_parquet(REVIEWS, columns=["text"])["text"].astype(str).tolist()
    if len(texts) < case.queries:
        raise ValueError(f"a batch may have {len(texts):,} queries, one for each review, got {case.queries:,}")
    data = Catalogue.of(texts[: case.queries])
    named: dict[str, Any] = {} if case.encoder is None else {"pretrained": case.encoder}
    adaptation = Frozen() if case.frozen else Full()
    items = ItemTower(HuggingFaceText(**named, max_length=case.tokens), adaptation, ids=False, chunk=case.chunk)
    torch.manual_seed(0)
    users = HistoryTransformer(chunk=max(1, case.chunk // A_ROW))
    module, watch = Drawn(items, users, schedule=Constant()), Watch()
    module.build(data)
    off: Any = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    with tempfile.TemporaryDirectory() as folder:
        place: Any = {"accelerator": case.accelerator, "devices": 1, "logger": False, "default_root_dir": folder}
        short: Any = {"max_steps": case.steps, "limit_val_batches": 0, "precision": case.precision}
        trainer = pl.Trainer(callbacks=[watch], **short, **place, **off)
        batches: Any = [data.batch()] * case.steps
        trainer.fit(module, DataLoader(batches, batch_size=None))
    taken, whole = watch.memory.beyond(), watch.memory.peak
    return Measured(taken, whole, float(np.median(np.diff(watch.stamps))))
