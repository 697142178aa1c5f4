"""What a linear probe costs: `LinearProbe` against the Hugging Face Trainer with a frozen backbone, over 20 epochs.

    python scripts/benchmarks/probe_speed.py

All train a linear head on the same frozen ViT (width 384, depth 12, 96 pixels, 37 tokens; random weights, whose
features do for this purpose) with the same tiles of the land-cover sample, and validate after every epoch. The two
stochastic solvers share learning rate, schedule, weight decay and batch size; nobody writes checkpoints, and reading
the data set is left out everywhere. One pass is the backbone run once over training and validation tiles, nothing else.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

from datamodules import SatelliteDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.strategies import LinearProbe

EPOCHS, BATCH, RATE, DECAY, WARMUP = 20, 64, 1e-2, 0.05, 0.1
SPLITS = ("train", "validation")
Seconds = NDArray[np.float64]  # [2]: wall and CPU


def timed(action: Callable[[], Any]) -> Seconds:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def save_backbone(folder: str) -> None:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=96
    )
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)


def make_data(labels_per_class: int) -> SatelliteDataModule:
    half = (0.5,) * 3
    data = SatelliteDataModule(
        image_size=96, mean=half, std=half, labels_per_class=labels_per_class, batch_size=BATCH, seed=0
    )
    data.setup("fit")
    return data


@torch.no_grad()
def one_pass(backbone: nn.Module, data: SatelliteDataModule) -> None:
    backbone.eval()
    for split in SPLITS:
        for batch in data.cache_loader(split, 0, 0, 1):
            backbone(batch["inputs"])


def probe(folder: str, data: SatelliteDataModule, solver: Literal["sgd", "lbfgs"]) -> tuple[Seconds, nn.Module]:
    """Time of the whole fit, the pass over the data included, and the head."""
    pl.seed_everything(0, verbose=False)
    module = LinearProbe(HuggingFaceVision(folder), solver=solver, lr=RATE, weight_decay=DECAY)
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    seconds = timed(lambda: trainer.fit(module, datamodule=data))
    assert module.head is not None
    return seconds, module.head


def hugging_face(folder: str, data: SatelliteDataModule) -> tuple[Seconds, float, nn.Module]:
    """Time of training, the seconds of it that went into validation, and the head."""
    model = transformers.ViTForImageClassification.from_pretrained(folder, num_labels=data.num_classes)
    model.base_model.requires_grad_(False)
    samples = {}
    for split in SPLITS:
        batches = list(data.cache_loader(split, 0, 0, 1))
        images, labels = (torch.cat([batch[key] for batch in batches]) for key in ("inputs", "target"))
        samples[split] = [{"pixel_values": x, "labels": y} for x, y in zip(images, labels, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=2 * BATCH,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        warmup_steps=WARMUP,
        weight_decay=DECAY,
        max_grad_norm=0.0,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=samples["train"], eval_dataset=samples["validation"])
    trainer.remove_callback(transformers.PrinterCallback)
    seconds = timed(trainer.train)
    validation = sum(row.get("eval_runtime", 0.0) for row in trainer.state.log_history)
    head: nn.Module = model.classifier
    return seconds, validation, head


@torch.no_grad()
def test_features(backbone: nn.Module, data: SatelliteDataModule) -> tuple[Tensor, Tensor]:
    """Features [tiles, 384] and class numbers of the test split."""
    backbone.eval()
    rows = [(backbone(batch["inputs"]), batch["target"]) for batch in data.test_dataloader()]
    return torch.cat([features for features, _ in rows]), torch.cat([target for _, target in rows])


def measure(folder: str, labels_per_class: int) -> str:
    save_backbone(folder)
    backbone, data = HuggingFaceVision(folder), make_data(labels_per_class)
    features, target = test_features(backbone, data)  # also warms up
    passes, found = [timed(lambda: one_pass(backbone, data))], []
    for solver in ("sgd", "lbfgs"):
        found.append((f"LinearProbe, {solver}", *probe(folder, make_data(labels_per_class), solver)))
        passes.append(timed(lambda: one_pass(backbone, data)))
    seconds, validation, head = hugging_face(folder, data)
    passes.append(timed(lambda: one_pass(backbone, data)))
    found.append(("Hugging Face Trainer", seconds, head))
    once = np.median(passes, axis=0)
    sizes = " + ".join(f"{data.cache_size(split)} {split}" for split in SPLITS)
    lines = [
        f"{sizes} tiles, {EPOCHS} epochs, {torch.get_num_threads()} threads; one pass takes {once[0]:.1f} s wall and "
        f"{once[1]:.1f} s CPU time (median of {len(passes)}); of the Hugging Face Trainer's wall time, validation took "
        f"{validation:.1f} s",
        "",
        "| | wall s | CPU s | test accuracy | in passes: wall, CPU | times faster than the HF Trainer: wall, CPU |",
        "|---|---|---|---|---|---|",
    ]
    for name, spent, layer in found:
        with torch.no_grad():
            accuracy = (layer(features).argmax(1) == target).float().mean().item()
        (a, b), (c, d) = spent / once, seconds / spent
        cells = (
            name,
            f"{spent[0]:.1f}",
            f"{spent[1]:.1f}",
            f"{accuracy:.3f}",
            f"{a:.2f}, {b:.2f}",
            f"{c:.1f}, {d:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Aims: at most 1.2 passes, at least 10 times faster, equal accuracy."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels_per_class", type=int, default=30)
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        print(measure(folder, given.labels_per_class))


if __name__ == "__main__":
    main()
