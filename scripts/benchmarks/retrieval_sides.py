"""What runs in the processes of `retrieval_speed.py`: our side, and what the peer's side needs of ours."""

from __future__ import annotations

import hashlib
import itertools
import logging
import tempfile
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from datamodules import StreamRecDataModule
from datamodules.sets.streamrec import StreamRecSettings
from lightning_tl.adaptation import Frozen, Full
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.batches import RetrievalBatch
from lightning_tl.losses import InfoNCE
from lightning_tl.reports import CsvMetrics
from lightning_tl.retrieval import HistoryTransformer, ItemTower, TextHistory, TwoTower
from lightning_tl.training.schedules import Constant

RATE, DECAY, LOG_EVERY, WARM_UP = 5e-5, 0.01, 10, 2
FUSED = partial(torch.optim.AdamW, fused=True)  # the peer's, and our recipes'


class Run(NamedTuple):
    """A race: a warm-up, then blocks of `steps` steps.

    Args:
        condition: trained or frozen.
        steps: of a block.
        pairs: blocks after the warm-up.
        batch: rows of history.
        encoder: folder; None for the one that ships.
        tokens: most tokens of a history as text.
        world: of StreamRec.
        cache: folder of prepared data; None for the usual one.
        alike: no dropout, the peer's loss, and no item twice in a batch.
        accelerator: cpu or gpu.
        precision: 32-true or bf16-mixed.
    """

    condition: str
    steps: int = 5
    pairs: int = 7
    batch: int = 32
    encoder: str | None = None
    tokens: int = 64
    world: StreamRecSettings = StreamRecSettings()
    cache: Path | None = None
    alike: bool = False
    accelerator: str = "cpu"
    precision: Any = "32-true"

    def blocks(self) -> list[int]:
        """Steps of each block."""
        return [WARM_UP] + [self.steps] * self.pairs


class Pace:
    """In a side's process: takes a block of steps when told to, and tells what the block took."""

    def __init__(self, connection: Connection, run: Run) -> None:
        self.connection, self.blocks = connection, iter(run.blocks())
        self.steps: list[tuple[Tensor, Tensor]] = []

    def begin(self, **more: Any) -> None:
        self.tell(more)

    def step(self, events: Tensor, loss: Tensor) -> None:
        """Note a step that is over: its queries' events [queries], and its loss."""
        self.steps.append((events, loss))
        if len(self.steps) == self.size:
            spent = np.subtract(self.now(), self.started).tolist()
            hashes = [hashlib.sha256(str(events.tolist()).encode()).hexdigest() for events, _ in self.steps]
            queries, seen = sum(len(events) for events, _ in self.steps), [float(loss) for _, loss in self.steps]
            self.steps.clear()
            self.tell({"seconds": spent, "hashes": hashes, "queries": queries, "losses": seen})

    def now(self) -> tuple[float, float]:
        """Wall and CPU seconds, once all is done that was asked of a GPU."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def tell(self, message: dict[str, Any]) -> None:
        """Send, and wait for the word to go on."""
        self.connection.send(message)
        self.connection.recv()
        self.size, self.started = next(self.blocks, 0), self.now()


class Ours(TwoTower):
    """Measures the encoding of the catalogue."""

    alike, encoding_s = False, 0.0

    def refresh_content(self, if_changed: bool = False) -> None:
        start = time.perf_counter()
        super().refresh_content(if_changed)
        self.encoding_s += time.perf_counter() - start

    def on_before_batch_transfer(self, batch: RetrievalBatch, dataloader_idx: int) -> RetrievalBatch:
        return different_targets(batch) if self.alike else batch


def different_targets(batch: RetrievalBatch) -> RetrievalBatch:
    """The first query of each item: ours never takes an item for its own negative, the peer does."""
    first = torch.from_numpy(np.sort(np.unique(batch["target"].numpy(), return_index=True)[1]))
    kept = {name: batch[name][first] for name in ("row", "position", "target", "index")}
    return {**batch, **kept}  # type: ignore[typeddict-item]


def build(run: Run) -> tuple[Ours, StreamRecDataModule, float]:
    """The data, a module whose weights depend on nothing but the run, and the seconds of building the module."""
    trained = run.condition == "trained"
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    data = StreamRecDataModule(
        run.world, batch_size=run.batch, queries_per_row=1 if trained else None, seed=0, cache=run.cache
    )
    data.setup()
    batches, wanted = len(data.train_dataloader()), sum(run.blocks())
    if batches < wanted:
        raise SystemExit(
            f"an epoch has {batches} batches of {run.batch} rows, and {wanted} steps are wanted: lower steps, pairs or "
            "batch"
        )
    named: dict[str, Any] = {} if run.encoder is None else {"pretrained": run.encoder}
    still: dict[str, Any] = {"dropout": 0.0} if run.alike else {}
    adaptation = Full() if trained else Frozen()
    items = ItemTower(HuggingFaceText(**named), adaptation, RATE, ids=False, **still)
    users: Any = HistoryTransformer(**still)
    if trained:
        users = TextHistory(HuggingFaceText(**named, max_length=run.tokens), Full(), RATE, **still)
    same: dict[str, Any] = {"loss": InfoNCE(1 / 20, learned=False), "item_to_user": 0.0, "log_q": False}
    rule = {**same, "mask_taken": False} if run.alike else {}
    start = time.perf_counter()
    torch.manual_seed(0)
    module = Ours(items, users, lr=RATE, weight_decay=DECAY, schedule=Constant(), optimizer=FUSED, **rule)
    module.build(data)
    module.alike = run.alike
    for part in module.modules():
        if isinstance(part, nn.Dropout) and run.alike:
            part.p = 0.0
    return module, data, time.perf_counter() - start


def ours(connection: Connection, run: Run) -> None:
    class Watch(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            kept = [getattr(module.items, name).cpu().numpy() for name in ("content", "mean", "spread")]
            pace.begin(features=kept, building_s=building_s, encoding_s=module.encoding_s)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            pace.step(batch["index"], outputs["loss"])

    module, data, building_s = build(run)
    pace = Pace(connection, run)
    off: Any = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    with tempfile.TemporaryDirectory() as folder:
        logs: Any = {"logger": CsvMetrics(folder), "log_every_n_steps": LOG_EVERY}
        device: Any = {"accelerator": run.accelerator, "devices": 1, "precision": run.precision}
        trainer = pl.Trainer(
            max_steps=sum(run.blocks()), limit_val_batches=0, callbacks=[Watch()], **device, **logs, **off
        )
        trainer.fit(module, datamodule=data)


def peer(connection: Connection, run: Run, given: bool = False) -> None:
    from retrieval_peer import train_peer

    features = connection.recv()
    module, data, _ = build(run)
    for name, value in zip(("content", "mean", "spread"), features, strict=True):
        setattr(module.items, name, torch.from_numpy(value))
    batches = list(itertools.islice(data.train_dataloader(), sum(run.blocks())))
    batches = [different_targets(batch) for batch in batches] if run.alike else batches
    pace = Pace(connection, run)
    rates: Any = {"lr": RATE, "weight_decay": DECAY, "log_every": LOG_EVERY}
    rates |= {"use_cpu": run.accelerator == "cpu", "bf16": run.precision != "32-true"}
    train_peer(module, data.item_texts, batches, pace.begin, pace.step, given=given, dropout=not run.alike, **rates)
