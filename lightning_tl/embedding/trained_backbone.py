"""The backbone as a run trained it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_tl.backbones.base import Backbone
from lightning_tl.callbacks import SafeCheckpointIO
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.storage.tensor_digest import tensor_digest
from lightning_tl.training.frozen_weights import backbone_name, check_frozen
from lightning_tl.training.transfer_module import TransferModule

_PREFIX = "backbone."


def backbone_of(module: Any) -> Backbone:
    """The backbone of a recipe's model, weights as they are.

    Raises:
        ValueError: for a model without one, such as one that pretrains an encoder.
    """
    backbone = getattr(module, "backbone", None)
    if not isinstance(backbone, Backbone):
        raise ValueError(
            f"{type(module).__name__} has no backbone that embeds samples; take a recipe that has one, such as "
            "satellite_linear_probe, and name an encoder of yours with --model.backbone.pretrained=FOLDER (a two-tower "
            "run has the vectors of its items in index/embeddings.npy)"
        )
    return backbone


def load_trained_backbone(module: TransferModule, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the backbone of a new module; its head, which needs the classes, is left out.

    Raises:
        ValueError: the checkpoint is damaged, of another model, or was made beside other frozen weights.
    """
    loaded = SafeCheckpointIO().load_checkpoint(checkpoint)
    backbone = backbone_of(module)
    if (spec := _trained_input(checkpoint)) is not None:
        backbone.take_input(spec)
    module.adaptation.apply(backbone)
    stored = {
        name.removeprefix(_PREFIX): value for name, value in loaded["state_dict"].items() if name.startswith(_PREFIX)
    }
    state = backbone.state_dict()
    strangers = stored.keys() - state.keys()
    misfits = [name for name in stored.keys() & state if stored[name].shape != state[name].shape]
    absent = {f"{_PREFIX}{name}": value for name, value in state.items() if name not in stored}
    noted = loaded.get("frozen")
    if strangers or misfits or (absent and noted is None):
        first = min([*strangers, *misfits, *absent])
        raise ValueError(f"{checkpoint} is of another model or adaptation: {first.removeprefix(_PREFIX)} does not fit")
    if noted is not None:
        check_frozen(noted, tensor_digest(absent), backbone_name(backbone))
    backbone.load_state_dict({**state, **stored})


def _trained_input(checkpoint: Path) -> ImageSpec | None:
    """What the run that a checkpoint lies in reads; None where it does not say, or reads no images."""
    for folder in checkpoint.parents[:2]:
        if (description := RunDescription.read(folder)) is not None:
            return description.image_spec
    return None
