"""What a sentence-transformers folder says of its model, read and written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Pooling = Literal["cls", "mean", "lasttoken"]
_MODES = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean", "lasttoken": "lasttoken"}
_PROMPTS = "config_sentence_transformers.json"


@dataclass(frozen=True)
class SentenceSettings:
    """How token vectors become one vector of a text.

    Args:
        pooling: the first token's vector, the mean over all tokens that are no padding, or the last of them.
        normalize: scale the result to length 1.
        max_length: most tokens of a text; None where the folder does not say.
        prompt: put before every text.
        lower_case: texts are lower-cased.
    """

    pooling: Pooling
    normalize: bool
    max_length: int | None = None
    prompt: str = ""
    lower_case: bool = False


def read_sentence_settings(folder: Path) -> SentenceSettings | None:
    """What `modules.json` declares; None for a folder that is no sentence-transformers model.

    Raises:
        ValueError: for a chain of modules that these settings do not describe, naming the module, or a prompt that is
            read but not pooled.
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
    return SentenceSettings(
        pooling, normalize, declared_length(folder), declared_prompt(folder), declared_lower_case(folder)
    )


def declared_length(folder: Path) -> int | None:
    """The most tokens of a text, as a sentence-transformers folder declares it; None where there is none."""
    length = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    return None if length is None else int(length)


def declared_lower_case(folder: Path) -> bool:
    """Whether a sentence-transformers folder lower-cases texts before they are tokenised."""
    return bool(_read(folder / "sentence_bert_config.json").get("do_lower_case", False))


def declared_prompt(folder: Path) -> str:
    """What `SentenceTransformer.encode` puts before every text unless it is told otherwise.

    Raises:
        ValueError: the folder names a default prompt that it does not have.
    """
    settings = _read(folder / _PROMPTS)
    prompts, name = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if name is None:
        return ""
    if name not in prompts:
        raise ValueError(
            f"{folder / _PROMPTS} names the default prompt '{name}', but has {', '.join(prompts) or 'none'}; "
            "set default_prompt_name there to one of them, or to null"
        )
    return str(prompts[name] or "")


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
        "pooling_mode_lasttoken": settings.pooling == "lasttoken",
    }
    read = {"max_seq_length": settings.max_length, "do_lower_case": settings.lower_case}
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", read)
    if settings.prompt:
        _write(folder / _PROMPTS, {"prompts": {"default": settings.prompt}, "default_prompt_name": "default"})
    for place, kind in enumerate(kinds[1:], start=1):
        (folder / f"{place}_{kind}").mkdir(exist_ok=True)
    _write(folder / "1_Pooling" / "config.json", pooling)


def _pooling(file: Path) -> Pooling:
    settings = _read(file)
    mode = settings.get("pooling_mode")  # since sentence-transformers 6; one flag for each mode before
    modes = [mode] if isinstance(mode, str) else list(mode or [])
    modes += [
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_mode_") and on
    ]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise ValueError(
            f"{file} declares the pooling {' + '.join(modes) or 'none'}; supported: cls, mean, lasttoken (set pooling)"
        )
    if not settings.get("include_prompt", True) and declared_prompt(file.parent.parent):
        raise ValueError(
            f"{file} leaves the tokens of the prompt out of the pooling (include_prompt is false), which is not "
            "supported; set pooling to pool them too"
        )
    return _MODES[modes[0]]  # type: ignore[return-value]


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
