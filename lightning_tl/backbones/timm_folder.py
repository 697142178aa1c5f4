"""A folder in the form that timm has on the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_tl.compat.for_timm import write_settings


def write_timm_folder(
    model: nn.Module, folder: Path, class_names: Sequence[str] | None, data_config: Mapping[str, Any]
) -> None:
    """Write config.json and model.safetensors, as `timm.models.save_for_hf` does, of any model.

    Unlike there, tensors may lie in channels-last order or share memory (CoaT's position encodings): each is written
    whole, as in the folders on the hub.

    Args:
        model: made by `timm.create_model`, which notes by what arguments.
        folder: to write into; it is made where it is not there.
        class_names: in the order of the logits.
        data_config: timm's settings of the images: `input_size`, `mean`, `std`, `crop_pct`.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_settings(model, folder / "config.json", class_names, data_config)
