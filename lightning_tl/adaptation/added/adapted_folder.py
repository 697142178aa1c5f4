"""What an adaptation learned, and a head, as a folder of their own beside the unchanged backbone.

FOLDER/adaptation.safetensors   what of the backbone was trained: adapters, prompts, …; and its buffers
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
from lightning_tl.backbones.added_parameters import base_of, check_base, persistent_buffers
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import (
    DESCRIPTION,
    ExportedClassifier,
    classifier_of,
    description,
    read_description,
)
from lightning_tl.backbones.opening.loading_report import check_keys, load_checked, read_state

ADAPTATION, HEAD = "adaptation.safetensors", "head.safetensors"


def write_adapted(
    folder: Path,
    adaptation: Adaptation,
    backbone: Backbone,
    head: nn.Module,
    class_names: Sequence[str],
    trained: Collection[str],
) -> str:
    """As `Adaptation.export`, for adaptations whose changes no family's own classifier can hold.

    Of a backbone that began with fresh weights, which lie nowhere else, all weights are written.
    """
    from safetensors.torch import save_file

    assert backbone.base is not None, "an adaptation is applied before it is exported"
    found_again = backbone.arguments.get("weights", True) not in (False, None)
    kept = {n: v for n, v in backbone.state_dict().items() if n in trained or not found_again}
    parts = {ADAPTATION: {**persistent_buffers(backbone), **kept}, HEAD: head.state_dict()}
    settings = {
        **description(backbone, head, class_names),
        "adaptation": described(adaptation),
        "base_sha256": backbone.base.sha256 if found_again else None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in parts.items():
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, folder / name)
    (folder / DESCRIPTION).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    own = "" if settings["head"] is not None else f", head={type(head).__name__}(...)"
    return f'lightning_tl.adaptation.load_adapted("{folder}"{own})'


def load_adapted(
    folder: str | Path, head: nn.Module | None = None, pretrained: str | Path | None = None
) -> ExportedClassifier:
    """Read back what an adaptation such as `Adapters` exported: the pretrained backbone, adapted, and the head.

    Args:
        folder: that was exported.
        head: as of `load_exported`.
        pretrained: where the backbone's weights are now, if they are not where they were.

    Returns:
        the classifier, in evaluation mode.

    Raises:
        FileNotFoundError: the folder is not of this kind, or its backbone is not found.
        ValueError: the backbone has other weights than those beside which the adaptation was trained.
    """
    folder = Path(folder)
    settings = read_description(folder, "lightning_tl.adaptation.load_adapted")
    classifier = classifier_of(settings, folder, head, pretrained)
    backbone = classifier.backbone
    of_description(settings["adaptation"]).apply(backbone)
    file = folder / ADAPTATION
    state = read_state(file)
    own = backbone.state_dict()
    needed = {name for name, value in backbone.named_parameters() if value.requires_grad}
    shapes = [(n, v.shape, own[n].shape) for n, v in state.items() if n in own and v.shape != own[n].shape]
    check_keys(str(file), sorted(needed - state.keys()), sorted(state.keys() - own.keys()), shapes)
    if settings["base_sha256"] is not None:  # else the folder has all weights
        found = base_of(backbone, frozenset(state) - persistent_buffers(backbone).keys())
        check_base(backbone, found, settings["base_sha256"], folder)
    backbone.load_state_dict({**own, **state})
    load_checked(str(folder / HEAD), classifier.head, read_state(folder / HEAD))
    return classifier.eval()


def described(adaptation: Adaptation) -> dict[str, Any]:
    """An adaptation as JSON values.

    Raises:
        ValueError: for a class that could not be found again.
    """
    from lightning_tl import adaptation as room

    if getattr(room, type(adaptation).__name__, None) is not type(adaptation):
        raise ValueError(
            f"{type(adaptation).__name__} is no adaptation of lightning_tl.adaptation, so a folder cannot name it; "
            "override its export"
        )
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
