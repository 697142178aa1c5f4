"""`ModelCard`: what is written about a model's weights."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.backbones.opening.weights_resolver import PACKAGED, shipped_models

PROVENANCE = "provenance.json"  # what pretraining writes beside its weights
_MOST_DATA_SETS = 3


@dataclass(frozen=True)
class ModelCard:
    """What the hub, a folder or a package says of weights; None where it says nothing.

    Args:
        told_by: "hub"; or "offline: …" with what was read in its place.
        task: that they were trained for, or the class of model that was saved.
        domain: data sets or languages that they were trained on.
        licence: as it is named there.
        downloads: in the last 30 days.
        date: of the last change, year-month-day.
    """

    told_by: str
    task: str | None = None
    domain: str | None = None
    licence: str | None = None
    downloads: int | None = None
    date: str | None = None


FRESH = ModelCard("fresh weights, drawn by chance")


class CardReader:
    """Reads model cards, from the hub where it can be reached, and asks it no more once it could not.

    Args:
        online: False reads what is on this machine alone.
        endpoint: of the hub; default that of huggingface_hub.
        seconds: until an answer is given up.
    """

    def __init__(self, online: bool = True, endpoint: str | None = None, seconds: float = 5.0) -> None:
        from huggingface_hub import constants

        self.online = online and not constants.HF_HUB_OFFLINE
        self.endpoint, self.seconds = endpoint, seconds

    def read(self, name: str) -> ModelCard:
        """What is known of the weights of this name; never an error.

        Args:
            name: as `--model.backbone.pretrained` takes it.
        """
        if Path(name).expanduser().is_dir():
            return _of_folder(Path(name).expanduser(), "folder")
        if name in shipped_models():
            return _of_folder(shipped_models()[name], "shipped with this project")
        packaged = PACKAGED.get(name)
        if packaged is not None and packaged.installed:
            return _of_package(packaged.package)
        if self.online and name.count("/") == 1 and (card := self._of_hub(name)) is not None:
            return card
        return _of_cache(name)

    def _of_hub(self, name: str) -> ModelCard | None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = HfApi(endpoint=self.endpoint).model_info(name, timeout=self.seconds)
        except RepositoryNotFoundError:
            return None  # the hub answers: others may be there
        except Exception:  # whatever a network does: a card is no reason to end a comparison
            self.online = False
            return None
        written: dict[str, Any] = vars(info.card_data) if info.card_data is not None else {}
        date = info.last_modified.strftime("%Y-%m-%d") if info.last_modified is not None else None
        return ModelCard(
            "hub", info.pipeline_tag, _domain(written), _text(written.get("license")), info.downloads, date
        )


def _of_folder(folder: Path, where: str) -> ModelCard:
    config, card, made = _json(folder / "config.json"), _front_matter(folder / "README.md"), _json(folder / PROVENANCE)
    saved = (
        config.get("architecture") or next(iter(config.get("architectures") or []), None) or config.get("model_type")
    )
    task = _text(card.get("pipeline_tag")) or _text(made.get("objective")) or _text(saved)
    recipe = str(made.get("command", "")).rpartition("--recipe ")[2] or None
    own = config.get("pretrained_cfg")
    licence = card.get("license") or (own.get("license") if isinstance(own, Mapping) else None)
    return ModelCard(f"offline: {where}", task, _domain(card) or recipe, _text(licence))


def _of_package(package: str) -> ModelCard:
    about = importlib.metadata.metadata(package)
    said = {name: about[name] for name in ("Summary", "License-Expression", "License") if name in about}
    licence = said.get("License-Expression") or said.get("License")
    return ModelCard(f"offline: package {package}", _text(said.get("Summary")), licence=_text(licence))


def _of_cache(name: str) -> ModelCard:
    """What the cache of downloads has of a model."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except (HFValidationError, OSError):
        found = None
    return (
        _of_folder(Path(os.fspath(found)).parent, "cache") if isinstance(found, str) else ModelCard("offline: nothing")
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _front_matter(file: Path) -> dict[str, Any]:
    """The fields at the head of a README; none where they cannot be read."""
    import yaml

    try:
        parts = file.read_text(encoding="utf-8").split("---", 2)
        content = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _domain(card: Mapping[str, Any]) -> str | None:
    data = card.get("datasets") or card.get("language")
    names = [data] if isinstance(data, str) else [str(name) for name in data] if isinstance(data, list) else []
    more = f" and {len(names) - _MOST_DATA_SETS} more" if len(names) > _MOST_DATA_SETS else ""
    return ", ".join(names[:_MOST_DATA_SETS]) + more if names else None


def _text(value: Any) -> str | None:
    """The first line, for a table."""
    lines = str(value).strip().splitlines() if value else []
    return lines[0] if lines and lines[0] != "UNKNOWN" else None
