"""An adapter and a head as a folder that PEFT loads onto the unchanged backbone.

FOLDER/adapter_config.json         PEFT's own
FOLDER/adapter_model.safetensors   the adapter's weights and the head's
FOLDER/classifier.json             which backbone they belong to, with a hash of its weights, and the class names
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_tl.backbones.added_parameters import base_of, check_base
from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import (
    DESCRIPTION,
    ExportedClassifier,
    classifier_of,
    description,
    read_description,
)
from lightning_tl.backbones.exporting.shared_head import shared

_IN_PEFT = "base_model.model."  # where PEFT keeps the model that it wraps


def write_peft_folder(
    folder: Path, configure: Callable[..., Any], backbone: Backbone, head: nn.Module, class_names: Sequence[str]
) -> str:
    """Write the adapter that PEFT put into `backbone`, with the head.

    Args:
        folder: to write into; it is made where it is not there.
        configure: called as `configure(names, **more)`, gives PEFT's configuration for layers of these names.
        backbone: with PEFT's layers in it.
        head: maps [batch, feature_dim] to [batch, num_classes].
        class_names: in the order of the logits.

    Returns:
        one line of Python that loads the folder.
    """
    from peft import get_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors.torch import save_file

    names = [f"backbone.{name}" for name, layer in backbone.named_modules() if isinstance(layer, BaseTunerLayer)]
    config = configure(
        names, modules_to_save=["head"], base_model_name_or_path=backbone.arguments["pretrained"], inference_mode=True
    )
    config.save_pretrained(str(folder))
    adapter = {f"backbone.{name}": value for name, value in get_peft_model_state_dict(backbone).items()}
    adapter |= {f"head.{name}": value for name, value in head.state_dict().items()}
    state = {_IN_PEFT + name: value.detach().cpu().contiguous() for name, value in adapter.items()}
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    assert backbone.base is not None, "an adapter is put in before it is written"
    settings = {**description(backbone, head, class_names), "base_sha256": backbone.base.sha256}
    (folder / DESCRIPTION).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return f'peft.PeftModel.from_pretrained(lightning_tl.backbones.load_peft_base("{folder}"), "{folder}")'


def load_peft_base(
    folder: str | Path, head: nn.Module | None = None, pretrained: str | Path | None = None
) -> ExportedClassifier:
    """The backbone that an adapter folder belongs to, with a fresh head, for `PeftModel.from_pretrained`.

    Several adapters of one base share what this returns, also with different numbers of classes: load the first with
    `PeftModel.from_pretrained`, the others with `add_peft_adapter`, which checks them, or the model's own
    `load_adapter`. Rows of one batch may go through different adapters (`adapter_names=[…]`): a row whose adapter has
    fewer classes than another's has -inf behind its own logits.

    Args:
        folder: that was exported.
        head: as of `load_exported`.
        pretrained: where the backbone's weights are now, if they are not where they were.

    Returns:
        the classifier, in evaluation mode.

    Raises:
        FileNotFoundError: the folder is no adapter folder of this project, or its backbone is not found.
        ValueError: the backbone has other weights than those that the adapter was trained on.
    """
    folder = Path(folder)
    settings = read_description(folder, "lightning_tl.backbones.load_peft_base")
    classifier = classifier_of(settings, folder, head, pretrained)
    check_base(classifier.backbone, base_of(classifier.backbone), settings["base_sha256"], folder)
    return shared(classifier).eval()


def add_peft_adapter(model: Any, folder: str | Path, name: str) -> None:
    """Load one more adapter into a `PeftModel` around what `load_peft_base` returned; if it fails, nothing stays of it.

    Args:
        model: `peft.PeftModel`.
        folder: of an adapter that was trained on the same base.
        name: of the adapter in `adapter_names` and `set_adapter`.

    Raises:
        FileNotFoundError: the folder is no adapter folder of this project.
        ValueError: the name is taken, or the adapter was trained on another base or does not fit this one.
    """
    folder = Path(folder)
    settings = read_description(folder, "lightning_tl.backbones.load_peft_base")
    if name in model.peft_config:
        raise ValueError(f"there is an adapter '{name}' already; give this one another name")
    base = model.get_base_model()
    check_base(base.backbone, base_of(base.backbone), settings["base_sha256"], folder)
    wrapped = _tuned(model)
    try:
        model.load_adapter(str(folder), name)
    except Exception as error:
        if name in model.peft_config:
            model.delete_adapter(name)
        for place in _tuned(model) - wrapped:
            parent, _, own = place.rpartition(".")
            layer: Any = model.get_submodule(place)
            setattr(model.get_submodule(parent), own, layer.get_base_layer())
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise ValueError(f"the adapter in {folder} cannot be loaded: {reason}") from None
    model.eval()


def _tuned(model: nn.Module) -> set[str]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)}
