"""How many labels does each strategy need? Trains every arm at 10, 50, 200 and all labels per class.

    python scripts/benchmarks/label_efficiency.py run --arms probe fine_tune progressive from_scratch
    python scripts/benchmarks/label_efficiency.py table

Arms and seeds are paired: a seed fixes which labels are used. At each size every arm searches its learning rate (the
probe its L2) by the loss on validation, over a grid of six that grows while the best lies at its end; only then is the
chosen setting scored on test, once for each seed. All trained arms take the same number of optimizer steps. Finished
runs are kept in a JSON Lines file, so an interrupted `run` goes on where it was; several may run at once on different
arms. A run counts for the weights that it started from: exchanging the shipped ones measures anew.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from kept_runs import kept_run, read_runs
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from datamodules import OverheadAugmentation, SatelliteDataModule
from lightning_tl.backbones import HuggingFaceVision, TimmBackbone
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.opening.weights_resolver import DEFAULT_MODEL, shipped_models
from lightning_tl.callbacks import ProgressiveUnfreezing
from lightning_tl.metrics.block_bootstrap import bootstrap_difference
from lightning_tl.strategies import FineTune, FromScratch, LinearProbe
from lightning_tl.training.transfer_module import TransferModule

RESULTS = Path(__file__).resolve().parent / "label_efficiency.jsonl"
ARMS = ("probe", "fine_tune", "progressive", "from_scratch", "imagenet_fine_tune", "imagenet_from_scratch")
PAIRS = (
    *((arm, "from_scratch") for arm in ("probe", "fine_tune", "progressive")),
    ("imagenet_fine_tune", "imagenet_from_scratch"),
)
# labels per class (None: all) -> epochs, batch size, seeds of the search, seeds of the test
SIZES: dict[int | None, tuple[int, int, int, int]] = {
    10: (40, 16, 4, 10),  # few validation tiles too, so the search needs several draws of them
    50: (20, 32, 2, 10),
    200: (10, 64, 1, 5),
    None: (8, 64, 1, 3),
}
# Settings to choose from: the search begins with the middle six, and goes on past an end where the best lies there.
RATES = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # of the head; from scratch of all
L2 = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)


def vit() -> Backbone:
    return HuggingFaceVision()


def efficientnet() -> Backbone:
    return TimmBackbone("efficientnet-lite0", image_size=64)


def build(arm: str, rate: float, epochs: int) -> tuple[TransferModule, list[Callback]]:
    common: dict[str, Any] = {"lr": rate, "label_smoothing": 0.1}
    if arm == "probe":
        return LinearProbe(vit(), l2_grid=(rate,)), []
    if arm == "from_scratch":
        return FromScratch(vit(), **common), []
    if arm == "imagenet_from_scratch":
        return FromScratch(efficientnet(), **common), []
    if arm == "imagenet_fine_tune":
        return FineTune(efficientnet(), backbone_lr=rate / 3, **common), []
    module = FineTune(vit(), backbone_lr=rate / 3, layer_decay=0.75, **common)
    if arm == "fine_tune":
        return module, []
    names = 7  # groups of the backbone: embeddings and six blocks
    steps = sorted({max(1, round(epochs * k / (2 * names))) for k in range(1, names + 1)})
    per_phase = -(-names // len(steps))
    return module, [ProgressiveUnfreezing(milestones=steps[: -(-names // per_phase)], groups_per_phase=per_phase)]


def train(arm: str, size: int | None, seed: int, rate: float, test: bool) -> dict[str, Any]:
    """One run; the last weights count, so that validation serves for the search alone."""
    epochs, batch_size, _, _ = SIZES[size]
    pl.seed_everything(seed, verbose=False)
    augmentation = None if arm == "probe" else OverheadAugmentation(shift=0)
    data = SatelliteDataModule(batch_size=batch_size, seed=seed, labels_per_class=size, augmentation=augmentation)
    module, callbacks = build(arm, rate, epochs)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        devices=1,
        callbacks=callbacks,
        check_val_every_n_epoch=1 if arm == "probe" else epochs,
        num_sanity_val_steps=0,
        gradient_clip_val=None if arm == "probe" else 1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    trainer.fit(module, datamodule=data)
    result: dict[str, Any] = {"val_loss": float(trainer.callback_metrics["val_loss"])}
    result["seconds"] = round(time.perf_counter() - started, 2)
    if test:
        result["correct"] = "".join(map(str, correct(trainer, module, data).tolist()))
    return result


@torch.no_grad()
def correct(trainer: pl.Trainer, module: TransferModule, data: SatelliteDataModule) -> NDArray[np.int64]:
    """1 where a test tile's class is right, in the order of the tiles."""
    module.eval()
    rows = []
    for batch in data.test_dataloader():
        batch = trainer.strategy.batch_to_device(batch, module.device)
        rows.append(torch.stack([batch["index"], (module(batch["inputs"]).argmax(1) == batch["target"]).long()], 1))
    table = torch.cat(rows).cpu().numpy()
    hits: NDArray[np.int64] = table[np.argsort(table[:, 0]), 1]
    return hits


def weights(arm: str) -> str | None:
    """The shipped weights that an arm starts from, by hash; None where training starts from no weights of ours."""
    if arm not in ("probe", "fine_tune", "progressive"):
        return None
    return hashlib.sha256((shipped_models()[DEFAULT_MODEL] / "model.safetensors").read_bytes()).hexdigest()[:12]


def run(arms: list[str], sizes: list[int | None], path: Path) -> None:
    for size in sizes:
        for arm in arms:
            best = search(path, arm, size)
            for seed in range(SIZES[size][3]):
                hits = done(path, arm, size, seed, best, True)["correct"]
                print(
                    f"{arm} {size or 'all'} labels, seed {seed}, {best:g}: test {hits.count('1') / len(hits):.4f}",
                    flush=True,
                )


def search(path: Path, arm: str, size: int | None) -> float:
    """The rate (of the probe: the L2) with the lowest mean loss on validation."""
    grid = L2 if arm == "probe" else RATES
    first, last = 3, len(grid) - 4
    while True:
        losses = {
            rate: np.mean([done(path, arm, size, seed, rate, False)["val_loss"] for seed in range(SIZES[size][2])])
            for rate in grid[first : last + 1]
        }
        best = min(losses, key=lambda rate: losses[rate])
        if best == grid[first] and first > 0:
            first -= 1
        elif best == grid[last] and last < len(grid) - 1:
            last += 1
        else:
            return best


def done(path: Path, arm: str, size: int | None, seed: int, rate: float, test: bool) -> dict[str, Any]:
    """The kept result of a run, or that of running it now."""
    key = {"arm": arm, "weights": weights(arm), "size": size, "seed": seed, "rate": rate, "test": test}
    return kept_run(path, key, lambda: train(arm, size, seed, rate, test))


def table(path: Path) -> str:
    """Test accuracy per arm and size (mean, and standard deviation over seeds), then the paired differences."""
    data = SatelliteDataModule(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    data.setup("test")
    split = [i for batch in data.test_dataloader() for i in batch["index"].tolist()]
    blocks = data.blocks(sorted(split))
    hits: dict[tuple[str, int | None], dict[int, NDArray[np.int64]]] = {}
    rows = [row for row in read_runs(path) if row["weights"] == weights(row["arm"])]
    losses: dict[tuple[str, int | None], dict[float, list[float]]] = {}
    for row in rows:
        if not row["test"]:
            losses.setdefault((row["arm"], row["size"]), {}).setdefault(row["rate"], []).append(row["val_loss"])
    chosen = {key: min(found, key=lambda rate: np.mean(found[rate])) for key, found in losses.items()}
    for row in rows:
        if row["test"] and row["rate"] == chosen[row["arm"], row["size"]]:
            found = np.array(list(map(int, row["correct"])))
            hits.setdefault((row["arm"], row["size"]), {})[row["seed"]] = found
    head = " | ".join(str(size or "all") for size in SIZES)
    lines = [f"| labels per class | {head} |", "|---|" + "---|" * len(SIZES)]
    for arm in ARMS:
        cells = []
        for size in SIZES:
            scores = [found.mean() for found in hits.get((arm, size), {}).values()]
            cells.append(f"{np.mean(scores):.3f} ± {np.std(scores):.3f}" if scores else "")
        lines.append(f"| {arm.replace('_', ' ')} | {' | '.join(cells)} |")
    for left, right in PAIRS:
        cells = []
        for size in SIZES:
            a, b = hits.get((left, size), {}), hits.get((right, size), {})
            seeds = sorted(a.keys() & b.keys())
            if not seeds:
                cells.append("")
                continue
            first, second = (np.mean([one[s] for s in seeds], 0) for one in (a, b))
            d = bootstrap_difference(first, second, blocks)
            cells.append(f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]")
        lines.append(f"| {left.replace('_', ' ')} − {right.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--sizes", nargs="+", default=["10", "50", "200", "all"], help="labels per class")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.command == "table":
        print(table(arguments.results))
        return
    sizes = [None if size == "all" else int(size) for size in arguments.sizes]
    run(arguments.arms, sizes, arguments.results)


if __name__ == "__main__":
    main()
