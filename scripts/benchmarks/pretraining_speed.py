"""Images a second of SimCLR and DINO, here and in `lightly`, on the same network, files and crops.

    python -m pip install --no-deps lightly lightly_utils aenum
    python scripts/benchmarks/pretraining_speed.py

Tiles of the shipped imagery are written as PNG files of 48 x 48 pixels. Both sides read, crop and augment them with as
many workers, and train a ViT of the shipped size for images of 32 pixels by Lightning's Trainer, in float32: `lightly`
with its own transforms, heads, losses and momentum updates, as its tutorials put them together. Every run is a process
of its own, and the sides take turns. Prints medians, ranges and the ratio.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from PIL import Image
from torch import Tensor

from datamodules import UnlabelledImagesDataModule, ViewAugmentation
from datamodules.sets.land_cover_map import LandCoverMap
from datamodules.sets.unlabelled_land_cover import UnlabelledLandCoverDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.pretraining import ContrastivePretraining, Dino

STORED, SIDE, LOCAL, CROPS = 48, 32, 16, 4  # pixels; local crops an image
AREA, LOCAL_AREA = (0.4, 1.0), (0.05, 0.4)
PROTOTYPES, HIDDEN, BOTTLENECK, PROJECTION = 4096, 1024, 256, 128
LEFT_OUT = 4  # steps at the beginning
STATISTICS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Pace(pl.Callback):
    """Seconds of each step after the first ones."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        """Note when."""
        self.ends.append(time.perf_counter())

    def images_a_second(self, batch: int) -> float:
        """By the whole time, loading included."""
        kept = self.ends[LEFT_OUT:]
        return batch * (len(kept) - 1) / (kept[-1] - kept[0])


def write_files(folder: Path, count: int) -> None:
    """Tiles as PNG."""
    data = UnlabelledLandCoverDataModule(tile_size=STORED, tiles_per_epoch=count, batch_size=1, seed=0)
    data.setup("fit")
    centres = data.centres(range(count), 0)
    for number, tile in enumerate(LandCoverMap().tiles(centres[:, 0], centres[:, 1], STORED)):
        Image.fromarray(tile).save(folder / f"{number:05}.png")


def backbone() -> HuggingFaceVision:
    """The shipped architecture, with fresh weights."""
    return HuggingFaceVision(
        weights=False, image_size=SIDE, mean=tuple(STATISTICS["mean"]), std=tuple(STATISTICS["std"])
    )


def ours(objective: str, folder: Path, batch: int, workers: int) -> tuple[pl.LightningModule, dict[str, Any]]:
    """Module, and what the Trainer is to fit it to."""
    crops: dict[str, Any] = {"local_views": CROPS, "local_size": LOCAL, "local_area": LOCAL_AREA}
    augmentation = ViewAugmentation(jitter=0.8, strength=0.5, grey=0.2, blur=0.5)
    data = UnlabelledImagesDataModule(
        folder, views=2, area=AREA, augmentation=augmentation, batch_size=batch, num_workers=workers,
        **(crops if objective == "dino" else {}),
    )  # fmt: skip
    if objective == "simclr":
        return ContrastivePretraining(backbone(), PROJECTION, temperature=0.5), {"datamodule": data}
    return Dino(backbone(), PROTOTYPES, HIDDEN, BOTTLENECK), {"datamodule": data}


def theirs(objective: str, folder: Path, batch: int, workers: int) -> tuple[pl.LightningModule, dict[str, Any]]:
    """As `ours`, of lightly's parts."""
    import copy

    from lightly.data import LightlyDataset
    from lightly.loss import DINOLoss, NTXentLoss
    from lightly.models.modules import DINOProjectionHead, SimCLRProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.transforms import DINOTransform, SimCLRTransform
    from lightly.utils.scheduler import cosine_schedule

    colours = {"cj_prob": 0.8, "cj_strength": 0.5, "random_gray_scale": 0.2}
    width = backbone().feature_dim

    class SimCLR(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone()
            self.head = SimCLRProjectionHead(width, 2 * width, PROJECTION)
            self.loss = NTXentLoss(temperature=0.5)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            views = batch[0]
            first, second = (self.head(self.backbone(view)) for view in views)
            loss: Tensor = self.loss(first, second)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    class DINO(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.student = backbone()
            self.teacher = copy.deepcopy(self.student)
            self.head = DINOProjectionHead(width, HIDDEN, BOTTLENECK, PROTOTYPES, freeze_last_layer=1)
            self.teacher_head = DINOProjectionHead(width, HIDDEN, BOTTLENECK, PROTOTYPES)
            deactivate_requires_grad(self.teacher)
            deactivate_requires_grad(self.teacher_head)
            self.loss = DINOLoss(output_dim=PROTOTYPES, warmup_teacher_temp_epochs=0)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            views = batch[0]
            momentum = cosine_schedule(self.current_epoch, 10, 0.996, 1)
            update_momentum(self.student, self.teacher, m=momentum)
            update_momentum(self.head, self.teacher_head, m=momentum)
            with torch.no_grad():
                wanted = [self.teacher_head(self.teacher(view)) for view in views[:2]]
            given = [self.head(self.student(view)) for view in views]
            loss: Tensor = self.loss(wanted, given, epoch=self.current_epoch)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def on_after_backward(self) -> None:
            self.head.cancel_last_layer_gradients(current_epoch=self.current_epoch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    if objective == "simclr":
        transform = SimCLRTransform(SIDE, min_scale=AREA[0], gaussian_blur=0.5, normalize=STATISTICS, **colours)
    else:
        transform = DINOTransform(
            SIDE, AREA, LOCAL, LOCAL_AREA, CROPS, gaussian_blur=(0.5, 0.5, 0.5), solarization_prob=0.0,
            normalize=STATISTICS, **colours,
        )  # fmt: skip
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(folder), transform=transform), batch_size=batch, shuffle=True, drop_last=True,
        num_workers=workers, persistent_workers=workers > 0,
    )  # fmt: skip
    return (SimCLR() if objective == "simclr" else DINO()), {"train_dataloaders": loader}


def run(side: str, objective: str, folder: Path, batch: int, workers: int) -> float:
    """Images a second of one epoch."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    pl.seed_everything(0, verbose=False)
    module, data = {"ours": ours, "lightly": theirs}[side](objective, folder, batch, workers)
    pace = Pace()
    with tempfile.TemporaryDirectory() as place:
        trainer = pl.Trainer(
            max_epochs=1, accelerator="auto", devices=1, logger=False, enable_checkpointing=False, callbacks=[pace],
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=place,
        )  # fmt: skip
        trainer.fit(module, **data)
    return pace.images_a_second(batch)


def main() -> None:
    """Take turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--objectives", nargs="+", default=["simclr", "dino"], choices=["simclr", "dino"])
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "OBJECTIVE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        side, objective, place = args.one
        print(f"images a second: {run(side, objective, Path(place), args.batch, args.workers)}")
        return
    with tempfile.TemporaryDirectory() as place:
        write_files(Path(place), args.images)
        print("| objective | here | lightly | ratio of medians |\n|---|---|---|---|")
        for objective in args.objectives:
            found: dict[str, list[float]] = {"ours": [], "lightly": []}
            for _ in range(args.repeats):
                for side, paces in found.items():
                    command = [sys.executable, __file__, "--one", side, objective, place]
                    command += ["--batch", str(args.batch), "--workers", str(args.workers)]
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if done.returncode:
                        raise SystemExit(done.stderr)
                    paces.append(float(done.stdout.rsplit("images a second:", 1)[1]))
            middle = {side: statistics.median(paces) for side, paces in found.items()}
            cells = [f"{middle[s]:.0f} ({min(p):.0f} to {max(p):.0f})" for s, p in found.items()]
            print(f"| {objective} | {cells[0]} | {cells[1]} | {middle['ours'] / middle['lightly']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
