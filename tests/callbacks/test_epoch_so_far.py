"""A run that is broken off in mid-epoch and resumed logs, watches and keeps what the uninterrupted run does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tiny import TinyBackbone, TinyData, TinyImages, tiny_module, tiny_trainer, weights_hash
from tiny_run import Run, killed_and_resumed, launch
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from lightning_tl.callbacks import ResumableCheckpoint, SafeCheckpointIO
from lightning_tl.reports import CsvMetrics
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

LOGGED = ["train_loss", "highest", "lowest", "sum", "rare", "accuracy", "own_accuracy"]


class Logging(TransferModule):
    """Logs training metrics in every way that Lightning has for an epoch's end."""

    def __init__(self) -> None:
        super().__init__(TinyBackbone(), lr=0.05)
        self.accuracy, self.own_accuracy = MulticlassAccuracy(3), MulticlassAccuracy(3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        logits, target = self(batch["inputs"]).detach(), batch["target"]
        self.accuracy(logits, target)
        self.own_accuracy.update(logits, target)
        self.log("accuracy", self.accuracy, on_epoch=True)
        for name, how in {"highest": "max", "lowest": "min", "sum": "sum"}.items():
            self.log(name, loss.detach(), on_step=False, on_epoch=True, reduce_fx=how)
        if batch_idx in (1, 6):
            self.log("rare", loss.detach(), on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("own_accuracy", self.own_accuracy.compute())
        self.own_accuracy.reset()
        super().on_train_epoch_end()


class KilledError(Exception):
    pass


class Kill(Callback):
    """Ends the process's work as a kill would: between two batches, with nothing more saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            raise KilledError


class EpochEnds(Callback):
    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.seen.append({name: float(trainer.callback_metrics[name]) for name in LOGGED})


def run(folder: Path, *more: Callback, resume: bool = False, log_every: int = 1, save_every: int = 2) -> dict[str, Any]:
    torch.manual_seed(0)
    module, ends = Logging(), EpochEnds()
    checkpoint = ResumableCheckpoint("train_loss_epoch", every_n_train_steps=save_every, save_top_k=2)
    stop = EarlyStopping("train_loss_epoch", patience=1, min_delta=0.0)
    logger = CsvMetrics(folder)
    trainer = tiny_trainer(
        folder,
        [ends, stop, checkpoint, *more],
        max_epochs=4,
        logger=logger,
        log_every_n_steps=log_every,
        plugins=[SafeCheckpointIO()],
    )
    last = folder / "checkpoints" / "last.ckpt"
    try:
        trainer.fit(module, datamodule=TinyData(), ckpt_path=str(last) if resume else None)
    except KilledError:
        return {}
    finally:
        logger.finalize("")
    scores = {Path(path).name: float(score) for path, score in checkpoint.best_k_models.items()}
    return {"weights": weights_hash(module), "ends": ends.seen, "best": scores, "waited": stop.wait_count}


@pytest.mark.parametrize(("log_every", "save_every"), [(1, 2), (2, 1), (3, 3)])
def test_training_metrics_of_a_resumed_epoch_are_those_of_the_whole(
    log_every: int, save_every: int, tmp_path: Path
) -> None:
    settings = {"log_every": log_every, "save_every": save_every}
    whole = run(tmp_path / "whole", **settings)  # type: ignore[arg-type]
    for step in (3, 12, 20):
        folder = tmp_path / f"killed-{step}"
        assert run(folder, Kill(step), **settings) == {}  # type: ignore[arg-type]
        assert run(folder, resume=True, **settings) == whole, f"killed at step {step}"  # type: ignore[arg-type]
        assert (folder / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_moved_run_keeps_its_best(how: str, tmp_path: Path) -> None:
    """Also where training goes on badly after it."""

    def fit(folder: Path, epochs: int, lr: float, resume: bool) -> ResumableCheckpoint:
        checkpoint = ResumableCheckpoint(save_top_k=2)
        trainer = tiny_trainer(folder, [checkpoint], max_epochs=epochs)
        last = str(folder / "checkpoints" / "last.ckpt") if resume else None
        trainer.fit(tiny_module(lr=lr), datamodule=TinyData(), ckpt_path=last, weights_only=True)
        return checkpoint

    first = fit(tmp_path / "a", 3, 0.05, resume=False)
    best, score = Path(first.best_model_path).name, first.best_model_score
    (shutil.move if how == "moved" else shutil.copytree)(tmp_path / "a", tmp_path / "b")
    kept = sorted(path.name for path in (tmp_path / "a").rglob("*.ckpt")) if how == "copied" else []
    second = fit(tmp_path / "b", 5, 50.0, resume=True)
    assert second.best_model_path == str(tmp_path / "b" / "checkpoints" / best)
    assert second.best_model_score == score and Path(second.best_model_path).is_file()
    assert all(Path(path).parent == tmp_path / "b" / "checkpoints" for path in second.best_k_models)
    assert kept == (sorted(path.name for path in (tmp_path / "a").rglob("*.ckpt")) if how == "copied" else [])


@pytest.mark.parametrize(("batches", "accumulated"), [(7, 3), (7, 2), (6, 3), (2, 4)])
def test_a_short_step_has_the_mean_gradient_of_its_batches(batches: int, accumulated: int, tmp_path: Path) -> None:
    """As the same samples in one batch give it: the slow way."""
    seen: list[torch.Tensor] = []

    class Gradients(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            seen.append(pl_module.head.weight.grad.clone())
            expected = torch.zeros_like(pl_module.head.weight)
            rest = min(accumulated, batches - (len(seen) - 1) * accumulated)
            for number in range(rest):
                batch = samples[(len(seen) - 1) * accumulated + number]
                loss = pl_module.step(batch).loss
                expected += torch.autograd.grad(loss, pl_module.head.weight)[0] / rest
            torch.testing.assert_close(seen[-1], expected)

    loader = DataLoader(TinyImages(8 * batches, augment=False), batch_size=8)
    samples = list(loader)
    module = tiny_module(num_classes=3, blocks=0)
    tiny_trainer(tmp_path, [Gradients()], max_epochs=1, accumulate_grad_batches=accumulated).fit(module, loader)
    assert len(seen) == -(-batches // accumulated)


def watching_training() -> list[Callback]:
    return [EarlyStopping("train_loss_epoch", patience=0, min_delta=0.01)]


def test_two_processes_decide_alike_after_a_kill_in_mid_epoch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"extra": watching_training, "world_size": 2, "save_every": 1}
    settings["trainer"] = {"max_epochs": 6}
    through = launch(Run(str(tmp_path / "through"), **settings))
    resumed = killed_and_resumed(Run(str(tmp_path / "killed"), **settings), [("on_train_batch_start", 6)])
    for expected, got in zip(through, resumed, strict=True):
        assert expected is not None and got is not None and "error" not in expected, (expected, got)
        assert (got.get("weights"), got.get("step")) == (expected["weights"], expected["step"]), got
