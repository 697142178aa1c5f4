"""Says in words what an exported folder is, from what lies in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def folder_kind(folder: Path) -> str | None:
    """What reads this folder, and what does not; None where it is of no known kind.

    Args:
        folder: written by `Backbone.export` or `Adaptation.export`.
    """
    if (settings := _read(folder / "adapter_config.json")) is not None:
        return f"an adapter of PEFT with its head; its base {_base(settings)} is not in it"
    config = _read(folder / "config.json") or {}
    if architectures := config.get("architectures"):
        return f"a {architectures[0]}, which pipelines of transformers read"
    if "architecture" in config:
        return f"a timm model, {config['architecture']}"
    if (settings := _read(folder / "classifier.json")) is None:
        return None
    if (folder / "adaptation.safetensors").is_file():
        weights = settings.get("backbone", {}).get("arguments", {})
        base = {"base_model_name_or_path": weights.get("pretrained")}
        return f"the trained parts and the head; their backbone {_base(base)} is not in it"
    sentences = (folder / "backbone" / "modules.json").is_file()
    reader = ", which SentenceTransformer reads," if sentences else ""
    return f"a backbone/{reader} and a head beside it, which pipelines do not read"


def _base(settings: dict[str, Any]) -> str:
    name = settings.get("base_model_name_or_path")
    return f"({Path(name).name if Path(name).is_absolute() else name})" if name else "model"


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
