"""Write a fine-tuned Hugging Face encoder so that transformers reads it back with identical logits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_tl.backbones.exported import linear_of, logits_agree, write_pair
from lightning_tl.backbones.hugging_face_loading import quiet
from lightning_tl.backbones.preprocessor import write_preprocessor

if TYPE_CHECKING:
    from lightning_tl.backbones.hugging_face_vision import HuggingFaceVision


def export_hugging_face(backbone: HuggingFaceVision, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
    """As `Backbone.export`."""
    folder.mkdir(parents=True, exist_ok=True)
    linear = linear_of(head)
    classifier = None if linear is None else _classifier(backbone, linear, class_names)
    if classifier is not None and logits_agree(backbone, head, lambda images: classifier(pixel_values=images).logits):
        _write(backbone, classifier, folder)
        return f'transformers.AutoModelForImageClassification.from_pretrained("{folder}")'
    # A head that the family's own classifier does not have (hidden layer, mean pooling): two parts, one loader.
    _write(backbone, backbone.model, folder / "backbone")
    return write_pair(backbone, folder, head, class_names)


def _classifier(backbone: HuggingFaceVision, linear: nn.Linear, class_names: Sequence[str]) -> Any:
    """The family's own classifier with these weights, or None where it has none that a linear head fits."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as FAMILIES

    config = copy.deepcopy(backbone.model.config)
    if type(config) not in FAMILIES:
        return None
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: k for k, name in enumerate(class_names)}
    families: Any = transformers.AutoModelForImageClassification
    model = families.from_config(config)
    target = getattr(model, "classifier", None)
    if isinstance(target, nn.Sequential) and len(target):
        target = target[-1]
    encoder = getattr(model, model.base_model_prefix, None)
    if not isinstance(target, nn.Linear) or encoder is None or (target.bias is None) != (linear.bias is None):
        return None
    width = linear.in_features
    if target.in_features not in (width, 2 * width) or target.out_features != linear.out_features:
        return None
    state = {key: value.detach().cpu() for key, value in backbone.model.state_dict().items()}
    if set(encoder.state_dict()) != set(state):
        return None
    encoder.load_state_dict(state)
    with torch.no_grad():
        target.weight.zero_()  # DINOv2's head also reads the mean of the patches: weight 0 there
        target.weight[:, :width] = linear.weight.detach().cpu()
        if linear.bias is not None:
            target.bias.copy_(linear.bias.detach().cpu())
    return model.eval()


def _write(backbone: HuggingFaceVision, model: Any, folder: Path) -> None:
    with quiet():
        model.save_pretrained(folder)  # safetensors
    write_preprocessor(folder, backbone.input_spec)
