"""Training runs in processes of their own, which tests kill, resume and compare.

`launch` starts them from a server process that has imported everything once, so that a run takes a second.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver, spawn
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from ports import free_port
from torch.optim.lr_scheduler import ReduceLROnPlateau
from warm_python import warm_executable

from lightning_tl.callbacks import (
    DiscriminativeLearningRates,
    GracefulInterrupt,
    ProgressiveUnfreezing,
    ResumableCheckpoint,
    SafeCheckpointIO,
    TrainingInterrupted,
)
from lightning_tl.training.schedules import OneCycle, TorchSchedule

Hook = tuple[str, int]  # a hook's name and the how-manieth call of it, from 0


@dataclass(frozen=True)
class Run:
    """One run; everything in it can be pickled."""

    folder: str
    unfreezing: dict[str, Any] = field(default_factory=dict)
    module: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    plateau: bool = False
    one_cycle: bool = False
    early_stopping: int | None = None  # patience
    save_every: int | None = 2
    workers: int = 0
    world_size: int = 1
    kill_at: Hook | None = None  # on rank 0
    signal_at: Hook | None = None
    signal_number: int = signal.SIGINT
    extra: Callable[[], list[Callback]] | None = None  # in place of the project's unfreezing
    build: Callable[[], tuple[pl.LightningModule, pl.LightningDataModule]] | None = None

    @property
    def last(self) -> Path:
        return Path(self.folder) / "checkpoints" / "last.ckpt"


class SignalAt(Callback):
    """Sends this process a signal in a certain call of a hook."""

    def __init__(self, at: Hook | None, number: int) -> None:
        self.hook, self.left = at or ("", 0)
        self.number = number
        for name in (
            "on_train_start",
            "on_train_batch_start",
            "on_train_batch_end",
            "on_train_epoch_start",
            "on_train_epoch_end",
            "on_validation_batch_start",
            "on_before_optimizer_step",
            "on_fit_start",
        ):
            setattr(self, name, lambda *args, _name=name, **kwargs: self._count(_name))

    def _count(self, name: str) -> None:
        if name == self.hook:
            if self.left == 0:
                os.kill(os.getpid(), self.number)
            self.left -= 1


class EpochHashes(Callback):
    """The weights' hash after every epoch, at the moment checkpoints are written."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.trainable: list[int] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trainable.append(sum(p.requires_grad for p in pl_module.parameters()))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.hashes.append(parameter_hash(pl_module))


def parameter_hash(module: torch.nn.Module) -> str:
    """As `tiny.weights_hash`, without buffers: each rank's BatchNorm statistics are its own until the next forward."""
    return tiny.weights_hash(torch.nn.ParameterDict({n.replace(".", "/"): p for n, p in module.named_parameters()}))


def fit(run: Run, rank: int = 0) -> dict[str, Any]:
    """Run, or go on from `last.ckpt`, and say how it ended."""
    if run.build is None:
        options = dict(run.module)
        if run.plateau:
            options["schedule"] = TorchSchedule(_plateau, monitor="val_loss")
        if run.one_cycle:
            options["schedule"] = OneCycle()
        module, data = tiny.tiny_module(**options), tiny.TinyData(workers=run.workers)
    else:
        module, data = run.build()
    hashes = EpochHashes()
    checkpoint = ResumableCheckpoint(every_n_train_steps=run.save_every)
    unfreezing = [ProgressiveUnfreezing(**run.unfreezing)] if run.extra is None else run.extra()
    callbacks: list[Callback] = [
        *unfreezing,
        *([DiscriminativeLearningRates(0.5)] if run.extra is None and "decay" not in run.unfreezing else []),
        *([EarlyStopping("val_loss", patience=run.early_stopping)] if run.early_stopping is not None else []),
        hashes,
        GracefulInterrupt(),
        checkpoint,
        SignalAt(run.kill_at if rank == 0 else None, signal.SIGKILL),
        SignalAt(run.signal_at if rank == 0 else None, run.signal_number),
    ]
    options = dict(run.trainer)
    if run.world_size > 1:
        options |= {"devices": run.world_size, "strategy": "ddp"}
    trainer = tiny.tiny_trainer(run.folder, callbacks, plugins=[SafeCheckpointIO()], **options)
    trainer.fit(module, datamodule=data, ckpt_path=str(run.last) if run.last.exists() else None)
    first = unfreezing[0]
    return {
        "weights": tiny.weights_hash(module) if run.world_size == 1 else parameter_hash(module),
        "epochs": hashes.hashes,
        "trainable": hashes.trainable,
        "history": first.history if isinstance(first, ProgressiveUnfreezing) else [],
        "step": trainer.global_step,
        "logged_steps": trainer.fit_loop.epoch_loop._batches_that_stepped,
        "best": os.path.basename(checkpoint.best_model_path),
        "lr": [group["lr"] for group in trainer.optimizers[0].param_groups],
    }


def _plateau(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.1)


def _process(run: Run, rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    if run.world_size > 1:
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(run.world_size),
            "NODE_RANK": "0",
            "LOCAL_RANK": str(rank),
        }
    sys.stderr = open(Path(run.folder) / f"stderr-{rank}.txt", "a", buffering=1)  # noqa: SIM115
    result: dict[str, Any]
    try:
        result = fit(run, rank)
    except TrainingInterrupted as error:
        result = {"interrupted": error.code, "checkpoint": error.checkpoint}
    except BaseException as error:
        traceback.print_exc()
        result = {"error": f"{type(error).__name__}: {error}"}
    (Path(run.folder) / f"result-{rank}.json").write_text(json.dumps(result))
    os._exit(0)


def server() -> multiprocessing.context.ForkServerContext:
    """Starts processes from one that has imported this file; use it for every process that tests start.

    What preloads knows no path but PYTHONPATH, which is as before afterwards: programs that tests start must find
    what is installed, and no room of the tests that has the name of a package.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny_run"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        cold = spawn.get_executable()
        context.set_executable(warm_executable())
        forkserver.ensure_running()
        context.set_executable(cold)
    return context


def launch(run: Run, seconds: float = 90) -> list[dict[str, Any] | None]:
    """Run in `world_size` processes.

    Returns:
        what `fit` returned on each rank, or `{"error": …}` or `{"interrupted": …}`; None for a rank that was killed.
    """
    folder = Path(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    context, port = server(), free_port()
    for rank in range(run.world_size):
        (folder / f"result-{rank}.json").unlink(missing_ok=True)
    processes = [context.Process(target=_process, args=(run, rank, port)) for rank in range(run.world_size)]
    for process in processes:
        process.start()
    processes[0].join(seconds)
    for process in processes:
        process.join(5 if run.kill_at is None else 1)  # ranks that wait for a killed one
        process.kill()
        process.join()
    files = [folder / f"result-{rank}.json" for rank in range(run.world_size)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def killed_and_resumed(run: Run, kills: list[Hook]) -> list[dict[str, Any] | None]:
    """Run, dying at each of `kills` in turn, and resume to the end."""
    for at in kills:
        assert launch(replace(run, kill_at=at))[0] is None, f"the run was to die at {at}"
    return launch(run)
