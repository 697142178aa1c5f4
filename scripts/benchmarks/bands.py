"""Are more bands worth it, and how should a network that knows red, green and blue begin with them?

    python -m pip install --no-deps tensorly
    python scripts/benchmarks/bands.py [--backbone vit|efficientnet] [--only probe|tuned] [--folds 5] [--output FILE]

On a real scene with real labels (see `pines.py`): chips of 8 x 8 pixels, 160 m, whose middle is corn, soybean, grass or
woods, every chip inside a square of 24 x 24 pixels. The squares are dealt into folds: each fold is tested once, by
networks that learned on the others but the next one, on which rate and penalty are chosen. So every square is tested,
and no chip shares a pixel with one of another fold. Intervals draw whole squares, and differences are paired.

Arms, each as a linear probe (solved exactly) and fine-tuned (the rate chosen among two on validation, for each arm):
red, green and blue; these with NDVI, NDWI and NDBI; all ten bands, where the first layer gets the weights of its own
bands and the mean, zero or fresh weights for the others; all ten with the weights repeated by position, as timm does;
and all ten from fresh weights throughout.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pines import BANDS, CORNER_M, COVERS, PIXEL_M, pines

from datamodules.earth.earth_data import EarthDataModule
from datamodules.images.augmentation import OverheadAugmentation
from lightning_tl.backbones import Backbone, HuggingFaceVision, TimmBackbone
from lightning_tl.metrics import bootstrap_difference, bootstrap_mean
from lightning_tl.strategies import FineTune, LinearProbe
from lightning_tl.training.transfer_module import TransferModule

CHIP, SQUARE, STRIDE = 8, 24, 4  # pixels
CLASSES = ("corn", "grass", "soybean", "woods")  # hay and small grain lie in too few squares
RATES = (1e-3, 3e-3)
EPOCHS = 12
RGB = ("red", "green", "blue")
INDICES = ("ndvi", "ndwi", "ndbi")
ALL = tuple(BANDS)
# name: data options, how new bands begin, whether the weights are kept
ARMS: dict[str, tuple[dict[str, Any], str | None, bool]] = {
    "RGB": ({"bands": RGB}, None, True),
    "RGB and indices, mean": ({"bands": RGB, "indices": INDICES}, "mean", True),
    "all bands, mean": ({"bands": ALL}, "mean", True),
    "all bands, zero": ({"bands": ALL}, "zero", True),
    "all bands, fresh first layer": ({"bands": ALL}, "fresh", True),
    "all bands, repeated": ({"bands": ALL}, "repeat", True),
    "all bands, from scratch": ({"bands": ALL}, None, False),
}
PAIRS = [(arm, "RGB") for arm in ARMS if arm != "RGB"]
PAIRS += [("all bands, mean", f"all bands, {other}") for other in ("zero", "fresh first layer", "repeated")]


def cut(folder: Path, folds: int) -> pd.DataFrame:
    """Write the chips as GeoTIFF files; a row for each with its label, square and fold."""
    import rasterio
    from rasterio.transform import from_origin

    values, labels = pines()
    of_number = {number: name for number, name in enumerate(COVERS) if name in CLASSES}
    squares = [(r, c) for r in range(0, 145 - SQUARE, SQUARE) for c in range(0, 145 - SQUARE, SQUARE)]
    rows = []
    for number, (top, left) in enumerate(squares):
        for r in range(top, top + SQUARE - CHIP + 1, STRIDE):
            for c in range(left, left + SQUARE - CHIP + 1, STRIDE):
                middle = labels[r + CHIP // 2, c + CHIP // 2]
                if middle not in of_number:
                    continue
                name = f"{r:03}_{c:03}.tif"
                transform = from_origin(CORNER_M[0] + c * PIXEL_M, CORNER_M[1] - r * PIXEL_M, PIXEL_M, PIXEL_M)
                shape = {"height": CHIP, "width": CHIP, "count": len(values), "dtype": "uint16"}
                with rasterio.open(
                    folder / name, "w", driver="GTiff", crs="EPSG:32616", transform=transform, **shape
                ) as file:
                    file.write(values[:, r : r + CHIP, c : c + CHIP])
                    file.descriptions = tuple(BANDS)
                row = {"path": name, "label": of_number[int(middle)], "square": number}
                rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(fold=table.square.map(deal(table, folds)))


def deal(table: pd.DataFrame, folds: int) -> dict[int, int]:
    """The fold of each square: squares of the rarest class first, in turn, so that every fold has all classes."""
    counts = table.groupby(["square", "label"]).size().unstack(fill_value=0)
    order = counts.gt(0).sum().sort_values().index  # classes by the number of their squares
    generator, dealt = np.random.default_rng(0), dict[int, int]()
    for name in order:
        free = [square for square in counts.index[counts[name] > 0] if square not in dealt]
        for square in generator.permutation(free).tolist():
            have = [sum(counts[name][other] for other, fold in dealt.items() if fold == k) for k in range(folds)]
            dealt[square] = int(np.argmin(have))
    for fold in range(folds):
        inside = counts.loc[[square for square, k in dealt.items() if k == fold]].sum()
        if not inside.all():
            raise ValueError(f"fold {fold} of {folds} has no {', '.join(inside.index[inside == 0])}: take fewer folds")
    return dealt


def backbone(kind: str, new_bands: Any, weights: bool) -> Backbone:
    """Of the shipped ViT, or EfficientNet-Lite0 with ImageNet's weights."""
    if kind == "vit":
        return HuggingFaceVision(weights=weights, new_bands=new_bands)
    return TimmBackbone("efficientnet-lite0", image_size=32, weights=weights, new_bands=new_bands)


def run(module: TransferModule, data: EarthDataModule, epochs: int) -> tuple[float, NDArray[np.int64]]:
    """Accuracy on validation, and the classes that the test's chips are given."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=None if isinstance(module, LinearProbe) else 1.0,
        )
        trainer.fit(module, datamodule=data)
        accuracy = float(trainer.callback_metrics["val_accuracy"])
        module.eval()
        with torch.no_grad():
            found = [module(batch["inputs"]).argmax(1) for batch in data.test_dataloader()]
    return accuracy, torch.cat(found).numpy()


def tested(kind: str, tuned: bool, arm: str, data: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Whether each chip of the test is right, with the rate that validation preferred, and its number in the table."""
    options, new_bands, weights = ARMS[arm]
    best: tuple[float, NDArray[np.int64]] | None = None
    for rate in RATES if tuned else (0.0,):
        pl.seed_everything(0, verbose=False)
        module: TransferModule
        if tuned:
            module = FineTune(backbone(kind, new_bands, weights), lr=rate, backbone_lr=rate)
        else:
            module = LinearProbe(backbone(kind, new_bands, weights))
        reader = EarthDataModule(**options, **data)
        found = run(module, reader, EPOCHS if tuned else 1)
        if best is None or found[0] > best[0]:
            best = found
    assert best is not None
    test = reader.indices["test"]
    return (best[1] == reader.records.labels[test]).astype(np.float64), test


def main() -> None:
    """Every arm on every fold; prints a table and the paired differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", choices=("vit", "efficientnet"), default="vit")
    parser.add_argument("--only", choices=("probe", "tuned"), help="leave out the other; fine-tuning takes most time")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    if asked.folds < 3:
        parser.error(f"--folds must be at least 3 (to learn, to choose, to test), got {asked.folds}")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        table = cut(folder, asked.folds)
        print(f"{len(table):,} chips in {table.square.nunique()} squares: {table.label.value_counts().to_dict()}")
        for tuned in (False, True) if asked.only is None else (asked.only == "tuned",):
            correct = {arm: np.zeros(len(table)) for arm in ARMS}
            seconds = dict.fromkeys(ARMS, 0.0)
            for fold in range(asked.folds):
                named = {fold: "test", (fold + 1) % asked.folds: "validation"}
                file = folder / f"fold{fold}.csv"
                table.assign(split=table.fold.map(named).fillna("train")).to_csv(file, index=False)
                data = {
                    "manifest": file,
                    "sensor": "sentinel2",
                    "add_offset": 0.0,
                    "block_column": "square",
                    "normalisation": "data",
                    "check_images": False,
                    "augmentation": OverheadAugmentation(shift=0.0, brightness=0.0, contrast=0.0, colour=0.0),
                    "batch_size": 32,
                    "num_workers": 0,
                }
                for arm in ARMS:
                    start = time.perf_counter()
                    right, rows = tested(asked.backbone, tuned, arm, data)
                    correct[arm][rows] = right
                    seconds[arm] += time.perf_counter() - start
                print(f"  fold {fold + 1} of {asked.folds} done", flush=True)
            name = "fine-tuned" if tuned else "linear probe"
            results[name] = tell(name, correct, table.square.to_numpy(), seconds)
    if asked.output:
        asked.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def tell(
    name: str, correct: dict[str, NDArray[np.float64]], squares: NDArray[np.int64], seconds: dict[str, float]
) -> dict[str, Any]:
    """Print accuracies and differences with their intervals; returns them."""
    print(f"\n{name}")
    found: dict[str, Any] = {}
    for arm, values in correct.items():
        interval = bootstrap_mean(values, squares, bounds=(0.0, 1.0))
        ends = f"[{interval.low:.3f}, {interval.high:.3f}]"
        print(f"  {arm:32} {interval.mean:.3f} {ends}  {seconds[arm]:5.0f} s")
        found[arm] = [interval.mean, interval.low, interval.high]
    for first, second in PAIRS:
        gap = bootstrap_difference(correct[first], correct[second], squares)
        print(f"  {first} against {second}: {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
        found[f"{first} - {second}"] = [gap.mean, gap.low, gap.high]
    return found


if __name__ == "__main__":
    main()
