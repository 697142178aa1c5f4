"""What pretraining on a domain's own imagery is worth, and which objective: SimCLR, DINO, MAE, or ImageNet's weights.

    python scripts/benchmarks/pretraining_worth.py --minutes 10 --output build/pretraining

Each objective's recipe trains the shipped ViT's architecture from nothing on unlabelled tiles of the shipped imagery,
none of which touches a validation or test block, for as many steps as fit the minutes on one core (trial steps are
timed first, and the fastest tenth of them counts, which other work on the machine has hardly slowed). Then each is
judged with 10, 50 and 200 labels a class, in the same draws: by its nearest neighbours, by the exact linear solution,
and fine-tuned at the rate that validation prefers among three. Beside them stand the weights that ship, ImageNet's
EfficientNet-Lite0 at 64 pixels, and the same networks from scratch. Intervals draw test blocks, and differences are
paired. What is done is kept in the output folder, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from equal_pretraining import OBJECTIVES, pretrain
from numpy.typing import NDArray
from torch import Tensor

from datamodules import OverheadAugmentation, SatelliteDataModule
from datamodules.loading.orders import EvaluationOrder
from lightning_tl.backbones import Backbone, HuggingFaceVision, TimmBackbone
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.metrics import bootstrap_difference, bootstrap_mean
from lightning_tl.metrics.nearest_neighbours import NearestNeighbours
from lightning_tl.strategies import FineTune, FromScratch, LinearProbe
from lightning_tl.training.transfer_module import TransferModule

EPOCHS = {10: 50, 50: 20, 200: 10}  # of fine-tuning, by labels a class
RATES = {"vit": (3e-4, 1e-3, 3e-3), "efficientnet": (1e-3, 3e-3, 1e-2)}
DRAWS = {"neighbours": 5, "probe": 5, "fine-tuned": 3}
WAYS = tuple(DRAWS)
BATCH, NEIGHBOURS = 32, 20
PAIRS = [("DINO", "SimCLR"), ("MAE", "SimCLR"), ("SimCLR", "shipped"), ("DINO", "shipped"), ("shipped", "from scratch"),
         ("SimCLR", "from scratch"), ("DINO", "from scratch"), ("MAE", "from scratch"),
         ("ImageNet", "EfficientNet from scratch"), ("shipped", "ImageNet"), ("DINO", "ImageNet")]  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """Weights to be judged.

    Args:
        name: in the tables.
        folder: of the weights; None for a network that `kind` names.
        kind: `vit`, or `efficientnet`.
        pretrained: whether it starts from weights.
    """

    name: str
    folder: str | None = None
    kind: str = "vit"
    pretrained: bool = True

    def backbone(self) -> Backbone:
        """Built anew."""
        if self.kind == "efficientnet":
            return TimmBackbone("efficientnet-lite0", image_size=64)
        return HuggingFaceVision() if self.folder is None else HuggingFaceVision(self.folder)


def arms(folder: Path, objectives: list[str]) -> list[Arm]:
    """Those that were pretrained here, and those they are set against."""
    return [
        *(Arm(name, str(folder / "weights" / OBJECTIVES[name])) for name in objectives),
        Arm("shipped"),
        Arm("from scratch", pretrained=False),
        Arm("ImageNet", kind="efficientnet"),
        Arm("EfficientNet from scratch", kind="efficientnet", pretrained=False),
    ]


# -------------------------------------------------------------------- judging


def scores(data: SatelliteDataModule, predict: Callable[[Tensor], NDArray[np.int64]]) -> dict[str, Any]:
    """What the classes that tiles are given say.

    Returns:
        `chosen_by`, accuracy on the validation labels that someone with so few labels has; `validation`, on all of
        them; `test`, whether each test tile is right.
    """
    found = {}
    for split in ("validation", "test"):
        rows = np.flatnonzero(data.records.splits == split)
        loader = data.reading_loader(EvaluationOrder(rows, 256, 0, 1))
        with torch.no_grad():
            given = np.concatenate([predict(batch["inputs"]) for batch in loader])
        found[split] = (given == data.records.labels[rows]).astype(int)
        if split == "validation":
            few = found[split][np.isin(rows, data.indices["validation"])]
    return {"chosen_by": few.mean(), "validation": found["validation"].mean(), "test": found["test"].tolist()}


def read(arm: Arm, labels: int, draw: int, augmented: bool) -> SatelliteDataModule:
    """Data with so many labels a class."""
    augmentation = OverheadAugmentation(shift=0.0 if arm.kind == "efficientnet" else 0.1) if augmented else None
    return SatelliteDataModule(
        labels_per_class=labels, seed=draw, batch_size=BATCH, augmentation=augmentation, num_workers=0
    )


def trained(arm: Arm, labels: int, draw: int, rate: float | None, folder: Path) -> dict[str, Any]:
    """Fine-tune at a rate, or solve the probe where there is none; what validation and test say."""
    pl.seed_everything(draw, verbose=False)
    data = read(arm, labels, draw, augmented=rate is not None)
    module: TransferModule
    if rate is None:
        module = LinearProbe(arm.backbone() if arm.pretrained else fresh(arm))
    elif arm.pretrained:
        module = FineTune(arm.backbone(), lr=rate, backbone_lr=rate, label_smoothing=0.1)
    else:
        module = FromScratch(arm.backbone(), lr=rate, label_smoothing=0.1)
    trainer = pl.Trainer(
        max_epochs=1 if rate is None else EPOCHS[labels], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=folder,
        gradient_clip_val=None if rate is None else 1.0, limit_val_batches=None if rate is None else 0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    module.eval()
    return scores(data, lambda inputs: module(inputs).argmax(1).numpy())


def neighbours(arm: Arm, labels: int, draw: int) -> dict[str, Any]:
    """As `trained`, of the nearest neighbours among the labelled tiles."""
    pl.seed_everything(draw, verbose=False)
    backbone = (arm.backbone() if arm.pretrained else fresh(arm)).eval()
    data = read(arm, labels, draw, augmented=False)
    data.serve(Conditions.of_model(backbone))
    data.setup("fit")

    def features(inputs: Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(backbone(inputs).numpy())

    rows = data.indices["train"]
    loader = data.reading_loader(EvaluationOrder(rows, 256, 0, 1))
    known = np.concatenate([features(batch["inputs"]) for batch in loader])
    search = NearestNeighbours(known, data.records.labels[rows], min(NEIGHBOURS, labels))
    return scores(data, lambda inputs: search.predict(features(inputs)))


def fresh(arm: Arm) -> Backbone:
    """The same architecture with fresh weights."""
    backbone = arm.backbone()
    backbone.reinitialise()
    return backbone


def judge(task: tuple[Arm, int, str, Path]) -> None:
    """All draws of an arm with so many labels a class, by one way of judging."""
    arm, labels, way, folder = task
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    file = folder / "judged" / f"{arm.name}-{labels}-{way}.json"
    if file.exists():
        return
    began, rate, first = time.perf_counter(), None, None
    if way == "fine-tuned":
        tried = [(trained(arm, labels, 0, rate, folder), rate) for rate in RATES[arm.kind]]
        first, rate = max(tried, key=lambda each: each[0]["chosen_by"])
    draws = [first] if first else []
    for draw in range(len(draws), DRAWS[way]):
        draws.append(neighbours(arm, labels, draw) if way == "neighbours" else trained(arm, labels, draw, rate, folder))
    told = {"rate": rate, "draws": draws, "seconds": time.perf_counter() - began}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told))


def judged_right(folder: Path, arm: str, labels: int, way: str) -> tuple[NDArray[np.float64], float] | None:
    """[test tiles] share of the draws in which a tile was right, and the accuracy on validation; None: not judged."""
    file = folder / "judged" / f"{arm}-{labels}-{way}.json"
    if not file.exists():
        return None
    draws = json.loads(file.read_text())["draws"]
    right: NDArray[np.float64] = np.mean([draw["test"] for draw in draws], 0)
    return right, float(np.mean([draw["validation"] for draw in draws]))


def told(folder: Path, names: list[str], way: str, blocks: NDArray[np.int64]) -> str:
    """Tables of test accuracies and of paired differences, and what validation said, of what has been judged."""
    found = {(name, n): judged_right(folder, name, n, way) for name in names for n in EPOCHS}
    lines = [f"\n**{way}**\n", "| weights | " + " | ".join(f"{n} labels a class" for n in EPOCHS) + " |",
             "|" + "---|" * (len(EPOCHS) + 1)]  # fmt: skip
    for name in names:
        cells = []
        for labels in EPOCHS:
            each = found[name, labels]
            ends = None if each is None else bootstrap_mean(each[0], blocks, bounds=(0.0, 1.0))
            said = "" if each is None else f" (validation {each[1]:.3f})"
            cells.append("—" if ends is None else f"{ends.mean:.3f} [{ends.low:.3f}, {ends.high:.3f}]{said}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["\n| difference | " + " | ".join(map(str, EPOCHS)) + " |", "|" + "---|" * (len(EPOCHS) + 1)]
    for first, second in PAIRS:
        cells = []
        for labels in EPOCHS:
            one, other = found.get((first, labels)), found.get((second, labels))
            gap = None if one is None or other is None else bootstrap_difference(one[0], other[0], blocks)
            cells.append("—" if gap is None else f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
        if any(cell != "—" for cell in cells):
            lines.append(f"| {first} − {second} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Pretrain, judge, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/pretraining"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of pretraining, for each objective")
    parser.add_argument("--objectives", nargs="*", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument(
        "--arms", nargs="*", help="which are judged now; default all, and the tables have all that were"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes that judge, of one thread each")
    args = parser.parse_args()
    for name in args.objectives:
        pretrain(name, args.minutes, args.output, args.seed)
        kept = json.loads((args.output / "weights" / OBJECTIVES[name] / "pace.json").read_text())
        print(f"{name}: {kept['steps']:,} steps of {kept['seconds_of_a_step']:.2f} s", flush=True)
    every = arms(args.output, args.objectives)
    names = [arm.name for arm in every]
    if unknown := sorted(set(args.arms or []) - set(names)):
        parser.error(f"there is no arm {unknown[0]}, only {', '.join(names)}")
    chosen = [arm for arm in every if args.arms is None or arm.name in args.arms]
    tasks = [(arm, labels, way, args.output) for way in args.ways for arm in chosen for labels in EPOCHS]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for number, _ in enumerate(pool.map(judge, tasks), 1):
            print(f"judged {number} of {len(tasks)}", flush=True)
    data = SatelliteDataModule(num_workers=0)
    data.serve(Conditions.of_model(HuggingFaceVision()))
    data.setup("fit")
    blocks = data.records.blocks
    assert blocks is not None
    for way in args.ways:
        print(told(args.output, names, way, blocks[data.indices["test"]]))


if __name__ == "__main__":
    main()
