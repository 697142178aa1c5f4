"""Three promises of unfreezing, kept or not by Lightning's own callback, the finetuning-scheduler package and ours.

    python scripts/benchmarks/unfreezing_peers.py

Prints a table. It takes a minute on two cores: a tiny network is trained alone and by two processes, and killed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback
from torch import Tensor, nn

from lightning_tl.callbacks import ProgressiveUnfreezing

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support"))

import tiny
from tiny_run import Run, killed_and_resumed, launch

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


class AfterFirstEpoch(Callback):
    """Keeps the backbone as it is when the first epoch ends: one of the packages trains on beyond `max_epochs`."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            backbone: Any = pl_module.backbone
            self.state = {name: value.clone() for name, value in backbone.state_dict().items()}


@dataclass(frozen=True)
class Peer:
    """Who unfreezes, and the module and data that it is documented with."""

    name: str
    callbacks: Callable[[], list[Callback]]
    build: Callable[[], tuple[pl.LightningModule, pl.LightningDataModule]]

    def run(self, folder: Path, **options: Any) -> Run:
        return Run(
            str(folder),
            extra=self.callbacks,
            save_every=None,
            trainer={"max_epochs": EPOCHS},
            build=self.build,
            **options,
        )


OURS = Peer("lightning_tl", ours, transfer_module)
PEERS = [
    OURS,
    Peer("Lightning's BackboneFinetuning", lightnings, plain_module),
    Peer("finetuning-scheduler", schedulers, plain_module),
]


def finished(results: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """What every rank returned; a rank that failed or was lost ends the comparison with its error."""
    for result in results:
        if result is None or "error" in result:
            raise RuntimeError(f"a run did not end: {result}")
    return [result for result in results if result is not None]


def ranks_agree(peer: Peer, folder: Path) -> str:
    """Two processes have the same weights after every epoch, though more is trained from epoch 1 on."""
    first, second = finished(launch(peer.run(folder, world_size=2)))
    if not first["trainable"][0] < first["trainable"][-1]:
        return f"nothing was unfrozen: {first['trainable']} tensors trained"
    differs = [
        epoch for epoch, pair in enumerate(zip(first["epochs"], second["epochs"], strict=True)) if len({*pair}) > 1
    ]
    return f"apart from epoch {differs[0]} on" if differs else ""


def resumes(peer: Peer, folder: Path) -> str:
    """A run that is killed and resumed ends with the weights of one that was not."""
    run = peer.run(folder / "killed")
    (through,) = finished(launch(replace(run, folder=str(folder / "through"))))
    (resumed,) = killed_and_resumed(run, [("on_train_batch_start", 16)])
    if resumed is None or "error" in resumed:
        return "the resumed run fails"
    return "" if resumed["weights"] == through["weights"] else "ends with other weights"


def frozen_stays(peer: Peer, folder: Path) -> str:
    """While the backbone is frozen its weights and BatchNorm's statistics keep every bit."""
    module, data = peer.build()
    backbone: Any = module.backbone
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    first = AfterFirstEpoch()
    tiny.tiny_trainer(folder, [*peer.callbacks(), first], max_epochs=1).fit(module, datamodule=data)
    moved = [name for name, value in before.items() if not torch.equal(value, first.state[name])]
    kinds = sorted({name.rpartition(".")[2] for name in moved})
    return f"{len(moved)} tensors moved: {', '.join(kinds)}" if moved else ""


PROMISES: dict[str, Callable[[Peer, Path], str]] = {
    "ranks agree": ranks_agree,
    "killed and resumed": resumes,
    "what is frozen stays": frozen_stays,
}


def main() -> None:
    for promise, check in PROMISES.items():
        for peer in PEERS:
            with tempfile.TemporaryDirectory() as folder:
                broken = check(peer, Path(folder))
            print(f"{promise:<22}{peer.name:<34}{'no: ' + broken if broken else 'yes'}", flush=True)


if __name__ == "__main__":
    main()
