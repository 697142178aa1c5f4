"""What a folder of weights holds, found without building a model, and what it needs of this machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def stored_keys(folder: Path) -> list[str]:
    """Names of the tensors in a folder's files, read from their headers."""
    from safetensors import safe_open

    keys: list[str] = []
    for index in sorted(folder.glob("*.index.json")):
        keys += json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    if keys:
        return keys
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            keys += opened.keys()
    if keys:
        return keys
    return [
        key
        for file in sorted(folder.glob("*.bin"))
        for key in torch.load(file, map_location="meta", weights_only=True, mmap=True)
    ]


def prefix_in_file(folder: Path, names: Collection[str]) -> str:
    """What stands before the names of a model's tensors in a folder's files: `vit.` where a classifier was saved.

    Args:
        folder: with the weights of the model.
        names: of the tensors of the model.

    Returns:
        with its dot; empty where the model was saved alone.
    """
    votes: Counter[str] = Counter()
    wanted = set(names)
    for key in stored_keys(folder):
        parts = key.split(".")
        votes.update(".".join(parts[:k]) for k in range(len(parts)) if ".".join(parts[k:]) in wanted)
    if not votes:
        return ""
    prefix = votes.most_common(1)[0][0]
    return f"{prefix}." if prefix else ""


def check_no_code(folder: Path, name: str) -> None:
    """Refuse a folder whose model or tokenizer is Python code that comes with it: such code is never run.

    Raises:
        ValueError: naming the file that asks for it.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = _read(folder / "config.json")
    kind = settings.get("model_type")
    known = kind is None or kind in CONFIG_MAPPING  # then the library's own class is taken, whatever the folder has
    tokenizer = _read(folder / "tokenizer_config.json")
    for file, asks in (
        ("config.json", "auto_map" in settings and not known),
        ("tokenizer_config.json", "auto_map" in tokenizer and _tokenizer_is_unknown(tokenizer)),
    ):
        if asks:
            raise ValueError(
                f"{name} needs Python code of its own (auto_map in {file}), which is never run here; take a model "
                "whose family the installed transformers knows"
            )


@contextmanager
def missing_library_errors(name: str, config: Any) -> Iterator[None]:
    """Turn the complaint about a library that is not installed into one sentence.

    Args:
        name: of the weights.
        config: of the model; says whether its weights were quantised.
    """
    try:
        yield
    except ImportError as error:
        settings = getattr(config, "quantization_config", None)
        method = getattr(settings, "quant_method", None) or (settings or {}).get("quant_method", "another library")
        method = str(getattr(method, "value", method))
        if settings is not None:
            raise ValueError(
                f"the weights of {name} are quantised by {method}, which is not installed or does not run on this "
                "machine; take the model's weights of full precision"
            ) from None
        reason = " ".join(line for line in map(str.strip, str(error).splitlines()) if line).split(". ")[0].rstrip(".")
        raise ValueError(f"{name} cannot be opened: {reason}") from None


def _read(file: Path) -> dict[str, Any]:
    """The settings in a file; none where it is missing or damaged, which its own reader will say."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tokenizer_is_unknown(settings: dict[str, Any]) -> bool:
    import transformers

    return not hasattr(transformers, str(settings.get("tokenizer_class")))
