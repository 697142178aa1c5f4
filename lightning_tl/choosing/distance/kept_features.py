"""Features of a domain in one file, for those who have the backbone and not the data that it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.opening.weights_resolver import resolve_weights
from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.storage.partial_file import write_whole
from lightning_tl.storage.tensor_digest import tensor_digest

FILE = "pretraining_features.safetensors"  # beside the weights
_ABOUT = "about"


def beside_weights(backbone: Backbone) -> Path:
    """The file of features of what a backbone was pretrained on.

    Raises:
        FileNotFoundError: its weights came without one.
    """
    name = str(backbone.arguments.get("pretrained", type(backbone).__name__))
    try:
        folder = resolve_weights(name)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{name} is not a folder of weights: {error}") from None
    if not (file := folder / FILE).is_file():
        raise FileNotFoundError(
            f"{name} came without features of what it was pretrained on ({FILE} beside its weights): name a folder or "
            "table of such data with --source"
        )
    return file


def write_features(path: Path, samples: DomainSamples, backbone: Backbone) -> None:
    """Keep features in float16, with the hash of the backbone that made them.

    Args:
        path: the file to write, whole or not at all.
        samples: features [n, dim], and where there are any blocks and classes, of which the latter are not kept.
        backbone: with the weights that made them.

    Raises:
        ValueError: features that are not finite in float16.
    """
    values = np.asarray(samples.values, np.float32).astype(np.float16)
    if not np.isfinite(values).all():
        largest = float(np.abs(np.nan_to_num(samples.values)).max())
        raise ValueError(f"features must be finite and below 65,504 to be kept, the largest is {largest:.3g}")
    tensors = {"features": np.ascontiguousarray(values)}
    if samples.blocks is not None:
        tensors["blocks"] = np.ascontiguousarray(samples.blocks, np.int64)
    about = {"name": samples.name, "total": samples.total, **_made_by(backbone)}
    write_whole(path, save(tensors, {_ABOUT: json.dumps(about, ensure_ascii=False)}))


def read_features(path: Path, backbone: Backbone, name: str) -> DomainSamples:
    """What `write_features` kept.

    Args:
        path: the file.
        backbone: with the weights that the other side's features are made with.
        name: of backbone and weights, for messages.

    Raises:
        ValueError: no file of features, or another backbone made them.
    """
    try:
        with safe_open(path, "numpy") as file:
            about: dict[str, Any] = json.loads(file.metadata()[_ABOUT])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  the file is no dictionary
            values = tensors["features"].astype(np.float32)
            made = {"sha256": about["sha256"], "arguments": _said(about["arguments"])}
            kept_name, total = str(about["name"]), int(about["total"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no file of features as --keep_source writes it ({error})") from None
    own = _made_by(backbone)
    if made != own:
        differ = [
            f"{key} {made['arguments'].get(key)} there, {own['arguments'].get(key)} here"
            for key in sorted({*made["arguments"], *own["arguments"]})
            if made["arguments"].get(key) != own["arguments"].get(key)
        ] or ["other weights"]
        raise ValueError(
            f"the features in {path} were made by another backbone than {name} ({', '.join(differ)}): features are "
            "compared of one backbone; name the source's data with --source"
        )
    return DomainSamples(kept_name, values, None, tensors.get("blocks"), total)


def _made_by(backbone: Backbone) -> dict[str, Any]:
    """What features depend on: the weights, and how the backbone reads and pools."""
    arguments = {key: value for key, value in backbone.arguments.items() if key not in ("pretrained", "revision")}
    return {"sha256": tensor_digest(backbone.state_dict()), "arguments": _said(json.loads(json.dumps(arguments)))}


def _said(arguments: dict[str, Any]) -> dict[str, Any]:
    """Without those that say nothing: files of earlier versions lack what backbones have since then."""
    return {key: value for key, value in arguments.items() if value not in (None, [])}
