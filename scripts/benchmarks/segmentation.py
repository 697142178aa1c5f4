"""Land cover of each pixel: what pretrained weights and the way of training them are worth.

    python scripts/benchmarks/segmentation.py --output build/segmentation

Chips of 32 pixels are cut from what ships, NASA's Blue Marble with the MODIS land-cover map as masks: four of each 5°
block that has a labelled tile, and whole blocks are for training, validation or test as in the shipped split. The
shipped ViT under a small feature pyramid is frozen, fine-tuned, unfrozen step by step, or trained from scratch; all
ways choose among the same rates of the decoder by validation mIoU, a pretrained backbone has `--share` of that rate.
Prints mean IoU with intervals over blocks, and paired differences. It takes some forty minutes of one core
(`OMP_NUM_THREADS=1`; runs that are done are kept in the output folder, so `--ways` may share them out among processes);
`--blocks 40 --epochs 2` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import ModelCheckpoint
from numpy.typing import NDArray
from PIL import Image

from datamodules import OverheadAugmentation, SegmentationDataModule
from datamodules.sets.land_cover_map import BLOCK_PIXELS, CELLS_PER_PIXEL, CLASSES, IGBP, LandCoverMap
from lightning_tl.adaptation import Frozen
from lightning_tl.backbones import HuggingFaceVision, PyramidDecoder
from lightning_tl.callbacks import ProgressiveUnfreezing
from lightning_tl.losses import CrossEntropyAndDice
from lightning_tl.metrics import miou_difference, pixel_scores
from lightning_tl.strategies import FineTune, FromScratch
from lightning_tl.training.transfer_module import TransferModule

SIDE, LEAST_LABELLED = 32, 0.25
SPLITS = ("test", "validation", "train", "train", "train")  # of the five folds of the shipped split
COLOURS = ("#1f6f3a", "#d9b84a", "#c0392b", "#2a6fb0", "#b9a58a", "#5fb3a1")
IGNORED = 255


def write_chips(folder: Path, most_blocks: int | None) -> int:
    """Write images, masks, `chips.csv` and `classes.json`; returns the number of chips."""
    source = LandCoverMap()
    numbers = np.full(256, IGNORED, np.uint8)
    for number, codes in enumerate(IGBP):
        numbers[list(codes)] = number
    cells = [((np.arange(count) + 0.5) * CELLS_PER_PIXEL).astype(int) for count in source.image.shape[:2]]
    masks = numbers[source.igbp[np.ix_(*cells)]]  # the cell in which a pixel's middle lies
    folds = source.manifest.groupby("block")["fold"].first()
    places = source.manifest.groupby("block")[["row", "column"]].first() // BLOCK_PIXELS * BLOCK_PIXELS
    chosen = folds.index if most_blocks is None else folds.sample(most_blocks, random_state=0).index
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    gap = (BLOCK_PIXELS - 2 * SIDE) // 3
    for block in chosen:
        for k in range(4):
            row, column = places.loc[block] + gap + np.array(divmod(k, 2)) * (SIDE + gap)
            window = slice(row, row + SIDE), slice(column, column + SIDE)
            if (masks[window] != IGNORED).mean() < LEAST_LABELLED:
                continue
            name = f"b{block:04}_{k}.png"
            Image.fromarray(source.image[window]).save(folder / "images" / name)
            Image.fromarray(masks[window]).save(folder / "masks" / name)
            split = SPLITS[int(folds[block])]
            rows.append({"path": f"images/{name}", "mask": f"masks/{name}", "split": split, "block": block})
    pd.DataFrame(rows).to_csv(folder / "chips.csv", index=False)
    legend = [{"number": k, "name": name, "colour": COLOURS[k]} for k, name in enumerate(CLASSES)]
    (folder / "classes.json").write_text(json.dumps(legend, indent=2), encoding="utf-8")
    return len(rows)


@dataclass(frozen=True)
class Tested:
    """What a way of training got.

    Args:
        rate: that validation chose.
        validation: best mean IoU there.
        confusion: [images, true, predicted] of the test.
        seconds: of the search.
    """

    rate: float
    validation: float
    confusion: NDArray[np.int64]
    seconds: float


class KeptCounts(pl.Callback):
    """Keeps the counts of each test image."""

    def __init__(self) -> None:
        self.index: list[int] = []
        self.counts: list[NDArray[np.int64]] = []

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any) -> None:
        """Keep a batch's."""
        self.index += outputs["index"].tolist()
        self.counts += list(outputs["confusion"].cpu().numpy())

    def ordered(self) -> NDArray[np.int64]:
        """[images, true, predicted], by the images' numbers."""
        return np.stack(self.counts)[np.argsort(self.index)]


def backbone() -> HuggingFaceVision:
    """The shipped ViT for chips of their own size, so that a patch shows as much ground as in pretraining."""
    return HuggingFaceVision(image_size=SIDE)


def common(rate: float) -> dict[str, Any]:
    """What all ways have in common."""
    return {"lr": rate, "decoder": PyramidDecoder(64, stride=2), "loss": CrossEntropyAndDice()}


WAYS: dict[str, Callable[[float, float], TransferModule]] = {
    "frozen": lambda rate, share: FineTune(backbone(), adaptation=Frozen(), **common(rate)),
    "fine-tuned": lambda rate, share: FineTune(backbone(), backbone_lr=share * rate, **common(rate)),
    "progressive": lambda rate, share: FineTune(backbone(), backbone_lr=share * rate, **common(rate)),
    "from scratch": lambda rate, share: FromScratch(backbone(), **common(rate)),
}


def train(way: str, rate: float, args: argparse.Namespace, seed: int) -> tuple[float, NDArray[np.int64]]:
    """The best validation mIoU of a run, and the counts of its test with the weights that had it."""
    pl.seed_everything(seed, verbose=False)
    data = SegmentationDataModule(
        manifest=args.output / "chips" / "chips.csv", augmentation=OverheadAugmentation(), batch_size=64, num_workers=0,
        seed=seed,
    )  # fmt: skip
    kept = ModelCheckpoint(args.output / "checkpoints" / f"{way}-{rate:g}-{seed}", monitor="val_miou", mode="max")
    thaw = [ProgressiveUnfreezing(epochs_per_phase=1, groups_per_phase=2)] if way == "progressive" else []
    counts = KeptCounts()
    trainer = pl.Trainer(
        max_epochs=args.epochs, accelerator=args.accelerator, devices=1, logger=False, gradient_clip_val=1.0,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, callbacks=[kept, *thaw, counts],
        default_root_dir=args.output,
    )  # fmt: skip
    module = WAYS[way](rate, args.share)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, ckpt_path=kept.best_model_path, weights_only=True, verbose=False)
    return float(kept.best_model_score or 0.0), counts.ordered()


def kept_run(way: str, rate: float, args: argparse.Namespace, seed: int) -> tuple[float, NDArray[np.int64], float]:
    """As `train`, with the seconds it took; read from the output folder where it is there."""
    share = "" if way in ("frozen", "from scratch") else f"-{args.share:g}"
    file = args.output / "runs" / f"{way}-{rate:g}{share}-{args.epochs}-{seed}.npz"
    if not file.exists():
        began = time.time()
        score, confusion = train(way, rate, args, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, score=score, confusion=confusion, seconds=time.time() - began)
    kept = np.load(file)
    return float(kept["score"]), kept["confusion"], float(kept["seconds"])


def search(way: str, args: argparse.Namespace, seed: int) -> Tested:
    """Try every rate, and take the test of the one that validation prefers."""
    found = []
    for rate in args.rates:
        found.append((*kept_run(way, rate, args, seed), rate))
        print(f"{way:<13} rate {rate:<7g} validation mIoU {found[-1][0]:.3f}", flush=True)
    score, confusion, _, rate = max(found, key=lambda each: each[0])
    return Tested(rate, score, confusion, sum(each[2] for each in found))


def blocks_of_test(args: argparse.Namespace) -> NDArray[np.int64]:
    """The block of each test image, in their order."""
    table = pd.read_csv(args.output / "chips" / "chips.csv")
    blocks: NDArray[np.int64] = table.loc[table["split"] == "test", "block"].to_numpy(np.int64)
    return blocks


def report(results: dict[str, Tested], blocks: NDArray[np.int64]) -> str:
    """Tables of scores, of classes, and of paired differences."""
    lines = [
        "| way | rate | validation mIoU | test mIoU | 95% over blocks | right pixels | seconds |",
        "|" + "---|" * 7,
    ]
    by_class = ["| IoU | " + " | ".join(CLASSES) + " |", "|" + "---|" * (len(CLASSES) + 1)]
    for way, one in results.items():
        scores = pixel_scores(one.confusion, CLASSES, blocks)
        ends = scores["miou_interval"]
        told = "" if ends is None else f"{ends['low']:.3f} to {ends['high']:.3f}"
        lines.append(
            f"| {way} | {one.rate:g} | {one.validation:.3f} | {scores['miou']:.3f} | {told} | "
            f"{scores['pixel_accuracy']:.3f} | {one.seconds:.0f} |"
        )
        values = [each["iou"] for each in scores["pixel_classes"]]
        by_class.append(f"| {way} | " + " | ".join("–" if v is None else f"{v:.2f}" for v in values) + " |")
    gaps = ["| difference of mIoU | mean | 95% over blocks, paired |", "|---|---|---|"]
    for first, second in (("fine-tuned", "frozen"), ("progressive", "fine-tuned"), ("fine-tuned", "from scratch"),
                          ("frozen", "from scratch")):  # fmt: skip
        if first in results and second in results:
            gap = miou_difference(results[first].confusion, results[second].confusion, blocks)
            cells = ("", "") if gap is None else (f"{gap.mean:+.3f}", f"{gap.low:+.3f} to {gap.high:+.3f}")
            gaps.append(f"| {first} − {second} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, "", *by_class, "", *gaps])


def main() -> None:
    """Cut chips, train, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/segmentation"))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--rates", nargs="+", type=float, default=[3e-4, 1e-3, 3e-3, 1e-2])
    parser.add_argument("--share", type=float, default=0.1, help="of the decoder's rate, for a pretrained backbone")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=None, help="take only so many 5° blocks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default="cpu")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*(many workers|groups never train|log_every_n_steps|LeafSpec).*")
    count = write_chips(args.output / "chips", args.blocks)
    blocks = blocks_of_test(args)
    print(f"{count} chips of {SIDE} x {SIDE} pixels; the test has {len(blocks)} of {len(np.unique(blocks))} blocks")
    results = {way: search(way, args, args.seed) for way in args.ways}
    print("\n" + report(results, blocks))


if __name__ == "__main__":
    main()
