"""Where the weights in a folder come from, written beside them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_tl.contracts.data import DigestedImages, SeededBatches
from lightning_tl.contracts.seen_images import write_seen

_LOSSES = {"training": "train", "validation": "val"}


def write_provenance(folder: Path, trainer: pl.Trainer, objective: str, samples: str, start: str = "") -> None:
    """Write `provenance.json` beside the weights, with their hashes, and what the images that were looked at showed.

    Args:
        folder: that holds the weights.
        trainer: that trained them; its steps, precision and last losses are noted.
        objective: what the weights were trained on.
        samples: what a batch holds, such as "images".
        start: the weights that training began with; empty for none.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    together = (data.batch_size if isinstance(data, SeededBatches) else 0) * trainer.world_size
    indices = _trained_on(data)
    if indices is not None:  # fewer than a batch are one batch
        together = min(together, len(indices))
    provenance: dict[str, Any] = {
        "command": _command(),
        "data": _told(data),
        "objective": objective,
        "started_from": start or None,
        "seed": int(os.environ.get("PL_GLOBAL_SEED", 0)),
        "steps": trainer.global_step,
        f"{samples}_per_step": together * trainer.accumulate_grad_batches,
        **{f"final_{name}_loss": _last(trainer, f"{short}_loss") for name, short in _LOSSES.items()},
        **_hashes(folder),
        "precision": str(trainer.precision),
        "torch": torch.__version__.split("+")[0],
    }
    if isinstance(data, DigestedImages) and data.image_digests:
        write_seen(folder, data.image_digests)
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")


def _told(data: Any) -> str:
    """Of what data, in words."""
    source, indices = getattr(data, "source", None), _trained_on(data)
    told = [type(data).__name__] + ([f"of {source}"] if isinstance(source, str) else [])
    return " ".join([*told, *([f"({len(indices):,} samples)"] if indices is not None else [])])


def _trained_on(data: Any) -> Any:
    """Numbers of the samples that are trained on; None where the data do not tell."""
    indices = getattr(data, "indices", None)
    return indices.get("train") if isinstance(indices, dict) else indices


def renew_hash(folder: Path) -> None:
    """Other weights of the same run were written: note their hashes, and leave the rest."""
    file = folder / "provenance.json"
    told = json.loads(file.read_text()) | _hashes(folder)
    file.write_text(json.dumps(told, indent=2) + "\n")


def _hashes(folder: Path) -> dict[str, str]:
    """Of each file of weights in a folder and the folders inside, by its name."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")])
    names = ["_".join(file.relative_to(folder).with_suffix("").parts) for file in files]
    return {
        f"sha256_of_{name}_safetensors": hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in zip(names, files, strict=True)
    }


def _last(trainer: pl.Trainer, metric: str) -> float | None:
    value = trainer.callback_metrics.get(metric)
    return None if value is None else round(float(value), 5)


def _command() -> str:
    """What was typed, without where it was to be written."""
    words = sys.argv[1:]
    kept = [w for i, w in enumerate(words) if "--run_folder" not in w and words[i - 1 : i] != ["--run_folder"]]
    return " ".join([Path(sys.argv[0]).name, *kept])
