"""What a sentence-transformers folder says of its model, read and written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["cls", "mean"]
_MODES = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}


@dataclass(frozen=True)
class SentenceSettings:
    """How token vectors become one vector of a text.

    Args:
        pooling: the class token's vector, or the mean over all tokens that are no padding.
        normalize: scale the result to length 1.
        max_length: most tokens of a text; None where the folder does not say.
    """

    pooling: Pooling
    normalize: bool
    max_length: int | None = None


def read_sentence_settings(folder: Path) -> SentenceSettings | None:
    """What `modules.json` declares; None for a folder that is no sentence-transformers model.

    Raises:
        ValueError: for a chain of modules that these settings do not describe, naming the module.
    """
    if not (folder / "modules.json").is_file():
        return None
    pooling: Pooling | None = None
    normalize = False
    for module in json.loads((folder / "modules.json").read_text(encoding="utf-8")):
        kind = str(module["type"]).rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(folder / module["path"] / "config.json")
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ValueError(
                f"{folder} is a sentence-transformers model with a module {kind}, which is not supported; set pooling "
                "to cls or mean to use its transformer alone"
            )
    if pooling is None:
        raise ValueError(f"{folder} is a sentence-transformers model without a pooling module; set pooling")
    return SentenceSettings(pooling, normalize, declared_length(folder))


def declared_length(folder: Path) -> int | None:
    """The most tokens of a text, as a sentence-transformers folder declares it; None where there is none."""
    file = folder / "sentence_bert_config.json"
    length = json.loads(file.read_text(encoding="utf-8")).get("max_seq_length") if file.is_file() else None
    return None if length is None else int(length)


def write_sentence_settings(folder: Path, settings: SentenceSettings, feature_dim: int) -> None:
    """Make an encoder's folder one that `SentenceTransformer(folder)` opens."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if settings.normalize else [])]
    modules = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": feature_dim,
        "pooling_mode_cls_token": settings.pooling == "cls",
        "pooling_mode_mean_tokens": settings.pooling == "mean",
    }
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": settings.max_length, "do_lower_case": False})
    for place, kind in enumerate(kinds[1:], start=1):
        (folder / f"{place}_{kind}").mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", pooling)


def _pooling(file: Path) -> Pooling:
    settings = json.loads(file.read_text(encoding="utf-8"))
    mode = settings.get("pooling_mode")  # since sentence-transformers 6; one flag for each mode before
    modes = [mode] if isinstance(mode, str) else list(mode or [])
    modes += [
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
    ]
    if len(modes) == 1 and modes[0] in _MODES:
        return _MODES[modes[0]]  # type: ignore[return-value]
    raise ValueError(f"{file} declares the pooling {' + '.join(modes) or 'none'}; supported: cls, mean (set pooling)")


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
