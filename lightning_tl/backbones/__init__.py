"""Pretrained models behind one contract, and the resolver that finds their weights."""

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.colour_statistics import ColourStatistics
from lightning_tl.backbones.dense import LinearDecoder, PixelDecoder, PyramidDecoder
from lightning_tl.backbones.embeds_texts import EmbedsTexts
from lightning_tl.backbones.exporting.exported import ExportedClassifier, load_exported
from lightning_tl.backbones.exporting.peft_folder import add_peft_adapter, load_peft_base
from lightning_tl.backbones.hugging_face.hugging_face_clip import HuggingFaceCLIP
from lightning_tl.backbones.hugging_face.images.hugging_face_vision import HuggingFaceVision
from lightning_tl.backbones.hugging_face.texts.hugging_face_nli import HuggingFaceNLI
from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText
from lightning_tl.backbones.image_text_pair import ImageTextPair
from lightning_tl.backbones.opening.weights_resolver import resolve_weights, shipped_models
from lightning_tl.backbones.tfidf import Tfidf
from lightning_tl.backbones.timm_backbone import TimmBackbone
from lightning_tl.backbones.torchvision_resnet import TorchvisionResNet

FAMILIES = (
    "ColourStatistics",
    "HuggingFaceCLIP",
    "HuggingFaceNLI",
    "HuggingFaceText",
    "HuggingFaceVision",
    "ImageTextPair",
    "Tfidf",
    "TimmBackbone",
    "TorchvisionResNet",
)

__all__ = [
    "FAMILIES",
    "Backbone",
    "ColourStatistics",
    "EmbedsTexts",
    "ExportedClassifier",
    "HuggingFaceCLIP",
    "HuggingFaceNLI",
    "HuggingFaceText",
    "HuggingFaceVision",
    "ImageTextPair",
    "LinearDecoder",
    "PixelDecoder",
    "PyramidDecoder",
    "Tfidf",
    "TimmBackbone",
    "TorchvisionResNet",
    "add_peft_adapter",
    "load_exported",
    "load_peft_base",
    "resolve_weights",
    "shipped_models",
]
