"""Is it worth it to train MiniLM further on a field's own unlabelled texts before it is adapted?

    python scripts/benchmarks/text_pretraining.py --output build/text_pretraining

The recipe `pretrain_text_mlm` restores masked words in the shipped reviews, no test text among them. Then the exact
linear probe learns departments from some 100, 500 and 4,500 labels, in the same draws, on MiniLM's own features and on
those of the weights that were trained further. Intervals draw reviewed products, differences are paired. The weights
and the features are kept in the output folder, and the same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from datamodules import TextDataModule
from datamodules.loading.orders import EvaluationOrder
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.metrics import bootstrap_difference, bootstrap_mean
from lightning_tl.strategies.probe.linear_probe import L2_GRID
from lightning_tl.training.convex import solve_linear

ROOT = Path(__file__).resolve().parents[2]
LABELS = (17, 83, 750)  # a class, of six
DRAWS = 5


def pretrained(folder: Path, epochs: int) -> Path:
    """The weights that were trained further."""
    target = folder / f"run-{epochs}"
    if not (target / "model" / "model.safetensors").exists():
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "scripts" / "fit.py"), "--recipe", "pretrain_text_mlm"]
        subprocess.run([*command, f"--run_folder={target}", f"--trainer.max_epochs={epochs}"], check=True)
        print(f"trained further for {epochs} epochs in {(time.perf_counter() - began) / 60:.1f} min", flush=True)
    return target / "model"


def data_for(backbone: HuggingFaceText, labels: int | None, draw: int) -> TextDataModule:
    """The shipped reviews as this backbone reads them."""
    data = TextDataModule(labels_per_class=labels, seed=draw, num_workers=0, eval_batch_size=128)
    data.serve(Conditions.of_model(backbone))
    data.prepare_data()
    data.setup("fit")
    return data


def features(backbone: HuggingFaceText, file: Path) -> NDArray[np.float32]:
    """Of every review, by its number."""
    if not file.exists():
        data = data_for(backbone, None, 0)
        rows = data.setup_reading()
        found = np.zeros((len(data.records.ids), backbone.feature_dim), np.float32)
        with torch.no_grad():
            for batch in data.reading_loader(EvaluationOrder(rows, 256, 0, 1)):
                found[batch["index"].numpy()] = backbone(batch["inputs"]).numpy()
        np.save(file, found)
    kept: NDArray[np.float32] = np.load(file)
    return kept


def main() -> None:
    """Train further, solve probes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/text_pretraining"))
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    args.output.mkdir(parents=True, exist_ok=True)
    weights = {
        "MiniLM": HuggingFaceText(),
        "trained further": HuggingFaceText(str(pretrained(args.output, args.epochs))),
    }
    right: dict[tuple[str, int], NDArray[np.float64]] = {}
    blocks = None
    for name, backbone in weights.items():
        found = torch.from_numpy(features(backbone.eval(), args.output / f"{name.replace(' ', '_')}-{args.epochs}.npy"))
        for labels in LABELS:
            draws = []
            for draw in range(DRAWS):
                data = data_for(backbone, labels, draw)
                target = torch.from_numpy(data.records.labels)
                part = {split: (found[rows], target[rows]) for split, rows in data.indices.items() if len(rows)}
                solved = solve_linear(
                    part["train"], part["validation"], len(data.class_names), nn.CrossEntropyLoss(), L2_GRID
                )
                given = part["test"][0] @ solved.weight.T + solved.bias
                draws.append((given.argmax(1) == part["test"][1]).numpy().astype(float))
                blocks = data.records.blocks[data.indices["test"]] if data.records.blocks is not None else None
            right[name, labels] = np.mean(draws, 0)
    print("| weights | " + " | ".join(f"{len(data.class_names) * n:,} labels" for n in LABELS) + " |")
    print("|" + "---|" * (len(LABELS) + 1))
    for name in weights:
        ends = [bootstrap_mean(right[name, n], blocks, bounds=(0.0, 1.0)) for n in LABELS]
        print(f"| {name} | " + " | ".join(f"{e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]" for e in ends) + " |")
    gaps = [bootstrap_difference(right["trained further", n], right["MiniLM", n], blocks) for n in LABELS]
    print("| difference | " + " | ".join(f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in gaps) + " |")


if __name__ == "__main__":
    main()
