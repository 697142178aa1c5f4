"""What an adaptation learned, and a head, as a folder of their own beside the unchanged backbone.

FOLDER/adaptation.safetensors   the backbone's parameters that were trained: adapters, prompts, …
FOLDER/head.safetensors         the head's weights
FOLDER/classifier.json          adaptation, backbone, a hash of the backbone's other weights, and the class names
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.added_parameters import base_hash
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exported import (
    DESCRIPTION,
    ExportedClassifier,
    classifier_of,
    description,
    read_description,
)
from lightning_tl.backbones.loading_report import check_keys, load_checked, read_state

ADAPTATION, HEAD = "adaptation.safetensors", "head.safetensors"


def write_adapted(
    folder: Path,
    adaptation: Adaptation,
    backbone: Backbone,
    head: nn.Module,
    class_names: Sequence[str],
    trained: Collection[str],
) -> str:
    """As `Adaptation.export`, for adaptations whose changes no family's own classifier can hold."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts = {ADAPTATION: {n: v for n, v in backbone.state_dict().items() if n in trained}, HEAD: head.state_dict()}
    for name, state in parts.items():
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, folder / name)
    settings = {
        **description(backbone, head, class_names),
        "adaptation": described(adaptation),
        "base_sha256": base_hash(backbone, frozenset(trained)),
    }
    (folder / DESCRIPTION).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    own = "" if settings["head"] is not None else f", head={type(head).__name__}(...)"
    return f'lightning_tl.adaptation.load_adapted("{folder}"{own})'


def load_adapted(folder: str | Path, head: nn.Module | None = None) -> ExportedClassifier:
    """Read back what an adaptation such as `Adapters` exported: the pretrained backbone, adapted, and the head.

    Args:
        head: as of `load_exported`.

    Returns:
        the classifier, in evaluation mode.

    Raises:
        FileNotFoundError: the folder is not of this kind, or its backbone is not found.
        ValueError: the backbone has other weights than those beside which the adaptation was trained.
    """
    folder = Path(folder)
    settings = read_description(folder)
    if "adaptation" not in settings:
        raise FileNotFoundError(f"{folder} holds no adaptation; open it with lightning_tl.backbones.load_exported")
    classifier = classifier_of(settings, folder, head)
    backbone = classifier.backbone
    of_description(settings["adaptation"]).apply(backbone)
    file = folder / ADAPTATION
    state = read_state(file)
    own = dict(backbone.named_parameters())
    shapes = [(n, v.shape, own[n].shape) for n, v in state.items() if n in own and v.shape != own[n].shape]
    missing = [name for name, value in own.items() if value.requires_grad and name not in state]
    check_keys(str(file), missing, sorted(state.keys() - own.keys()), shapes)
    found, wanted = base_hash(backbone, frozenset(state)), settings["base_sha256"]
    if found != wanted:
        raise ValueError(
            f"the adaptation in {folder} was trained beside other weights than {backbone.arguments['pretrained']} has "
            f"now (hash {wanted[:12]}, found {found[:12]}): take the weights that it was trained on"
        )
    for name, value in state.items():
        own[name].data.copy_(value)
    load_checked(str(folder / HEAD), classifier.head, read_state(folder / HEAD))
    return classifier.eval()


def described(adaptation: Adaptation) -> dict[str, Any]:
    """An adaptation as JSON values."""
    return {"class": type(adaptation).__name__, "arguments": adaptation.arguments}


def of_description(values: dict[str, Any]) -> Adaptation:
    """The adaptation that `described` wrote down.

    Raises:
        ValueError: there is none of this name.
    """
    from lightning_tl import adaptation

    found = getattr(adaptation, values["class"], None)
    if not (isinstance(found, type) and issubclass(found, Adaptation)):
        raise ValueError(f"there is no adaptation '{values['class']}' in lightning_tl.adaptation")
    arguments = {
        name: of_description(value) if isinstance(value, dict) and "class" in value else value
        for name, value in values["arguments"].items()
    }
    made: Adaptation = found(**arguments)
    return made
