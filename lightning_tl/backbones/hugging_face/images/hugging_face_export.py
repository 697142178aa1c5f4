"""Write a fine-tuned Hugging Face encoder so that transformers reads it back with identical logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lightning_tl.backbones.exporting.exported import linear_of, logits_agree, write_pair
from lightning_tl.backbones.hugging_face.hugging_face_loading import quiet
from lightning_tl.backbones.hugging_face.images.model_inputs import model_inputs
from lightning_tl.backbones.hugging_face.images.vision_family import VisionFamily
from lightning_tl.backbones.opening.preprocessor import write_preprocessor

if TYPE_CHECKING:
    from lightning_tl.backbones.hugging_face.images.hugging_face_vision import HuggingFaceVision


def export_hugging_face(backbone: HuggingFaceVision, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
    """As `Backbone.export`."""
    folder.mkdir(parents=True, exist_ok=True)
    linear = linear_of(head)
    family = VisionFamily(backbone.model.config, backbone.pooling != "auto")
    classifier = None if linear is None else family.with_linear(backbone.model, linear, list(class_names))
    if classifier is not None and logits_agree(backbone, head, lambda images: logits_of(classifier, images)):
        _write(backbone, classifier, folder)
        return f'transformers.AutoModelForImageClassification.from_pretrained("{folder}")'
    # A head that the family's own classifier does not have (hidden layer, mean pooling): two parts, one loader.
    save_hugging_face(backbone, folder / "backbone", class_names)
    return write_pair(backbone, folder, head, class_names)


def save_hugging_face(backbone: HuggingFaceVision, folder: Path, class_names: Sequence[str] = ()) -> None:
    """As `Backbone.save`; the class names go into the configuration of a family that has no encoder without a head."""
    family = VisionFamily(backbone.model.config, backbone.pooling != "auto")
    model = family.with_linear(backbone.model, None, list(class_names)) if family.whole else backbone.model
    _write(backbone, model, folder)


def logits_of(classifier: Any, images: Tensor) -> Tensor:
    """Logits [batch, classes] of a classifier of transformers for images [batch, channels, height, width]."""
    outputs = classifier(**model_inputs(classifier, images))
    logits = getattr(outputs, "logits", None)
    found: Tensor = outputs.last_hidden_state if logits is None else logits  # PP-LCNet calls its logits so
    return found


def _write(backbone: HuggingFaceVision, model: Any, folder: Path) -> None:
    with quiet():
        model.save_pretrained(folder)  # safetensors
    write_preprocessor(folder, backbone.input_spec)
