"""Lightning's own callback and the finetuning-scheduler package, put through the tests that ours passes.

They are marked as expected to fail, with the reason, and may pass one day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback
from tiny_run import Run, killed_and_resumed, launch
from torch import Tensor, nn

from lightning_tl.callbacks import ProgressiveUnfreezing

EPOCHS = 4


class PlainModule(pl.LightningModule):
    """What these callbacks are documented with: the optimizer gets what requires gradients at the start."""

    def __init__(self, all_parameters: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = tiny.TinyBackbone()
        self.head = nn.Linear(8, 3)
        self.all_parameters = all_parameters

    def step(self, batch: dict[str, Any]) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.backbone(batch["inputs"])), batch["target"])

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val_loss", self.step(batch), sync_dist=True, batch_size=len(batch["target"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        chosen = [p for p in self.parameters() if p.requires_grad or self.all_parameters]
        return torch.optim.AdamW(chosen, lr=0.01)


class ThawAtOne(BackboneFinetuning):
    """Lightning's callback, which thaws the whole backbone at epoch 1."""

    def __init__(self) -> None:
        super().__init__(unfreeze_backbone_at_epoch=1, backbone_initial_lr=0.001, should_align=False)


def ours() -> list[Callback]:
    return [ProgressiveUnfreezing(milestones=[1], groups_per_phase=3)]


def lightnings() -> list[Callback]:
    return [ThawAtOne()]


def schedulers() -> list[Callback]:
    from finetuning_scheduler import FinetuningScheduler  # not at the top: ours must run without it

    names = [name for name, _ in tiny.TinyBackbone().named_parameters()]
    schedule = {
        0: {"params": ["head.weight", "head.bias"], "max_transition_epoch": 1},
        1: {"params": [f"backbone.{name}" for name in names], "max_transition_epoch": EPOCHS},
    }
    return [FinetuningScheduler(ft_schedule=schedule, epoch_transitions_only=True, logging_level=30)]


def transfer_module() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    return tiny.tiny_module(), tiny.TinyData()


def plain_module() -> tuple[pl.LightningModule, pl.LightningDataModule]:
    return PlainModule(all_parameters=False), tiny.TinyData()


Maker = Callable[[], list[Callback]]


def peers(reasons: dict[str, str]) -> Any:
    makers: dict[str, tuple[Maker, Any]] = {
        "this project": (ours, transfer_module),
        "Lightning's BackboneFinetuning": (lightnings, plain_module),
        "finetuning-scheduler": (schedulers, plain_module),
    }
    return pytest.mark.parametrize(
        ("callbacks", "build"),
        [
            pytest.param(
                *pair,
                id=name,
                marks=[pytest.mark.xfail(strict=False, reason=reasons[name])] if name in reasons else [],
            )
            for name, pair in makers.items()
        ],
    )


def runs(callbacks: Maker, folder: Path, **options: Any) -> Run:
    if callbacks is schedulers:
        pytest.importorskip("finetuning_scheduler")
    return Run(str(folder), extra=callbacks, save_every=None, trainer={"max_epochs": EPOCHS}, **options)


@peers(
    {
        "Lightning's BackboneFinetuning": "DDP drops what was frozen when it was built: ranks drift apart in silence",
        "finetuning-scheduler": "DDP drops what was frozen when it was built: ranks drift apart in silence",
    }
)
def test_ranks_agree_after_every_epoch(callbacks: Maker, build: Any, tmp_path: Path) -> None:
    first, second = launch(runs(callbacks, tmp_path, build=build, world_size=2))
    assert first is not None and second is not None and "error" not in first, (first, second)
    assert first["trainable"][0] < first["trainable"][-1] == 13
    assert first["epochs"] == second["epochs"]


@peers({"Lightning's BackboneFinetuning": "a resumed run has the backbone frozen again"})
def test_killed_and_resumed(callbacks: Maker, build: Any, tmp_path: Path) -> None:
    run = runs(callbacks, tmp_path / "killed", build=build)
    through = launch(replace(run, folder=str(tmp_path / "through")))[0]
    resumed = killed_and_resumed(run, [("on_train_batch_start", 16)])[0]
    assert through is not None and resumed is not None and "error" not in through, (through, resumed)
    assert resumed.get("weights") == through["weights"], resumed


@peers(
    {
        "Lightning's BackboneFinetuning": "frozen layers stay in training mode: BatchNorm's statistics move",
        "finetuning-scheduler": "frozen layers stay in training mode: BatchNorm's statistics move",
    }
)
def test_frozen_batch_norm_stays(callbacks: Maker, build: Any, tmp_path: Path) -> None:
    if callbacks is schedulers:
        pytest.importorskip("finetuning_scheduler")
    module, data = build()
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    tiny.tiny_trainer(tmp_path, callbacks(), max_epochs=1).fit(module, datamodule=data)
    after = module.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
