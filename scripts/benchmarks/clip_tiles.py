"""How many tiles of the test blocks does CLIP name right that learned from captions alone?

    python scripts/benchmarks/clip_tiles.py [--epochs 5] [--more_tiles 12000] [--frozen_text] [--output FILE]

Trains the shipped ViT and MiniLM on tiles of the training blocks with captions from the land-cover map (as the recipe
`pretrain_satellite_clip`), and names the labelled tiles of the test blocks by their classes' descriptions. Beside it
a linear head, solved exactly on all labels of the training blocks, over the same ViT before and after. Intervals draw
whole blocks, and differences are paired.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules import CaptionedLandCoverDataModule, OverheadAugmentation, SatelliteDataModule
from lightning_tl.adaptation import Frozen, Full
from lightning_tl.backbones import Backbone, HuggingFaceText, HuggingFaceVision
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.metrics import bootstrap_difference, bootstrap_mean
from lightning_tl.pretraining import Clip, ZeroShotProbe
from lightning_tl.training.convex import solve_linear

DESCRIPTIONS = {"urban": "urban land", "barren": "barren land"}
TEMPLATES = ("a satellite image of {}",)
L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def labelled(backbone: Backbone) -> SatelliteDataModule:
    """The labelled tiles, read as the backbone reads them."""
    data = SatelliteDataModule(batch_size=256)
    data.serve(Conditions.of_model(backbone))
    data.setup("fit")
    return data


@torch.no_grad()
def features(model: Any, data: SatelliteDataModule, split: str) -> tuple[Tensor, Tensor]:
    """[tiles, width] of what the model makes of a split, and its labels [tiles]."""
    parts = [(model(batch["inputs"]), batch["target"]) for batch in data.cache_loader(split, 0, 0, 1)]
    made, labels = zip(*parts, strict=True)
    return torch.cat(made), torch.cat(labels)


def linear_right(backbone: Backbone, data: SatelliteDataModule) -> NDArray[np.float64]:
    """[test tiles] whether the exact linear head on the backbone's features is right."""
    backbone.eval()
    train, validation, test = (features(backbone, data, split) for split in ("train", "validation", "test"))
    head = solve_linear(train, validation, len(data.class_names), nn.CrossEntropyLoss(), L2_GRID)
    logits = test[0].double() @ head.weight.double().T + head.bias.double()
    return (logits.argmax(1) == test[1]).double().numpy()


@torch.no_grad()
def named_right(module: Clip, data: SatelliteDataModule, probe: ZeroShotProbe) -> NDArray[np.float64]:
    """[test tiles] whether the nearest description is the own class's."""
    module.eval()
    shown, labels = features(module.embed_images, data, "test")
    words = module.embed_wordings(probe.wordings())  # one template: a vector for each class
    return ((shown @ words.T).argmax(1) == labels).double().numpy()


def trained(epochs: int, more_tiles: int, frozen_text: bool) -> tuple[Clip, float]:
    """The module after training, and the seconds that it took."""
    pl.seed_everything(0, verbose=False)
    data = CaptionedLandCoverDataModule(more_tiles=more_tiles, augmentation=OverheadAugmentation())
    text = HuggingFaceText(pooling="cls")
    module = Clip(HuggingFaceVision(), text, text_adaptation=Frozen() if frozen_text else Full())
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="bf16-mixed",
        logger=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        default_root_dir="runs/clip_tiles",
    )
    start = time.perf_counter()
    trainer.fit(module, datamodule=data)
    return module.float(), time.perf_counter() - start


def main() -> None:
    """Train, name, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--more_tiles", type=int, default=12_000)
    parser.add_argument("--frozen_text", action="store_true", help="the text tower stays as it is")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    shipped = HuggingFaceVision()
    data = labelled(shipped)
    blocks = data.blocks(data.indices["test"].tolist())
    before = linear_right(shipped, data)
    module, seconds = trained(options.epochs, options.more_tiles, options.frozen_text)
    data = labelled(module.backbone)
    probe = ZeroShotProbe(data, DESCRIPTIONS, TEMPLATES)
    arms = {
        "named by CLIP, no labels": named_right(module, data, probe),
        "linear head on CLIP's ViT": linear_right(module.backbone, data),
        "linear head on the shipped ViT": before,
    }
    told: dict[str, Any] = {"seconds": round(seconds, 1), "threads": torch.get_num_threads()}
    print(f"trained in {seconds:.0f} s on {torch.get_num_threads()} threads, tested on {len(before):,} tiles")
    for name, right in arms.items():
        found = bootstrap_mean(right, blocks)
        told[name] = [found.mean, found.low, found.high]
        print(f"{name:32} {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]")
    apart = bootstrap_difference(arms["named by CLIP, no labels"], before, blocks)
    told["named - linear head"] = [apart.mean, apart.low, apart.high]
    print(f"{'named - shipped linear head':32} {apart.mean:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]")
    if options.output is not None:
        options.output.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
