"""How transformers builds the models of a configuration that read images."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.compat.for_transformers import new_model

_CLASSES = 977  # no layer inside a model is as wide: so wide are only those that make the classes


class VisionFamily:
    """The encoder of a family, or its own classifier without the layers that make the classes.

    `transformers.AutoModel` gives the encoder. Where the family's classifier has more weights than an encoder and
    linear layers (a norm before the classes, as in PoolFormer and CvT), or the family has no encoder class (HGNetV2),
    the encoder's output is not what the classifier was trained on: there the classifier itself is taken.

    Args:
        config: of the model, or of the image tower of a model of images and texts.
        tokens: whether the encoder's tokens are asked for, which a classifier does not give.

    Attributes:
        whole: whether the model is the classifier.
        heads: names of the layers of the classifier that make the classes.

    Raises:
        ValueError: transformers has no model for it, or one that does not read images.
    """

    def __init__(self, config: Any, tokens: bool = False) -> None:
        self.config = config
        self.heads: tuple[str, ...] = ()
        self.classifier = own_classifier(config)
        self.whole = self.classifier is not None and not tokens and self._needs_the_classifier()
        if not self.whole and own_encoder(config) is None:
            raise ValueError(
                f"a '{config.model_type}' model of transformers has no encoder of its own; leave pooling at auto, "
                "which takes what its classifier reads"
            )

    def built_for(self, config: Any) -> VisionFamily:
        """The same with the configuration of another input."""
        other = copy.copy(self)
        other.config = config
        return other

    def fresh(self) -> Any:
        """The model with fresh weights, drawn as transformers draws them."""
        if not self.whole:
            return loading.new_encoder(self.config)
        return self.without_heads(self._new_classifier(copy.deepcopy(self.config)))

    def open(self, folder: Path, name: str) -> Any:
        """The model with the weights of `folder`.

        Raises:
            ValueError: as `open_model`.
        """
        if not self.whole:
            return loading.open_encoder(folder, name, self.config)
        heads = re.compile("^(" + "|".join(map(re.escape, self.heads)) + r")\.")
        return self.without_heads(loading.open_model(self.classifier, folder, name, self.config, heads))

    def without_heads(self, model: Any) -> Any:
        """A classifier of this family whose logits are what its last layers read; in place."""
        for name in self.heads:
            model.set_submodule(name, nn.Identity())
        return model

    def with_linear(self, model: Any, linear: nn.Linear | None, class_names: list[str]) -> Any:
        """The family's classifier with the weights of `model`, on the CPU, or None where no linear head fits.

        Args:
            model: encoder, or classifier without heads.
            linear: the head; None to leave fresh ones, which is possible only where `model` is a classifier.
            class_names: in the order of the logits; written into its configuration.
        """
        if self.classifier is None:
            return None
        config = copy.deepcopy(model.config)
        config.num_labels = len(class_names)  # which PVT's does not read off the names
        config.id2label = dict(enumerate(class_names))
        config.label2id = {name: number for number, name in enumerate(class_names)}
        built = self._new_classifier(config)
        state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        if self.whole:
            built.load_state_dict(state, strict=False)
        else:
            encoder = getattr(built, built.base_model_prefix, None)
            if encoder is None or set(encoder.state_dict()) != set(state):
                return None
            encoder.load_state_dict(state)
        heads = [built.get_submodule(name) for name in self.heads]
        fits = linear is None or all(_copied(linear, head) for head in heads)
        return built.eval() if heads and fits else None

    def _new_classifier(self, config: Any) -> Any:
        assert self.classifier is not None, "only families with a classifier are asked for one"
        return new_model(self.classifier, config)

    def _needs_the_classifier(self) -> bool:
        """Also finds `heads`."""
        config = copy.deepcopy(self.config)
        config.num_labels = _CLASSES
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = self._new_classifier(config)
            alone = None if own_encoder(config) is None else loading.new_encoder(config)
        self.heads = tuple(name for name, layer in model.named_modules() if _CLASSES in _widths(layer))
        named = config.architectures or [self.classifier.__name__]
        if not self.heads or not any("Classification" in name for name in named):
            return False  # a folder of the encoder alone
        encoder = getattr(model, model.base_model_prefix, None)
        if encoder is None or alone is None or encoder.state_dict().keys() != alone.state_dict().keys():
            return True  # Data2Vec's encoder alone comes without the pooler that its classifier reads
        inside = tuple(f"{name}." for name in (model.base_model_prefix, *self.heads))
        outside = [name for name, _ in model.named_parameters() if not name.startswith(inside)]
        return bool(outside) or any(name.startswith(f"{model.base_model_prefix}.") for name in self.heads)


def own_classifier(config: Any) -> Any:
    """The class of transformers that classifies images by such a model, or None."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING as CLASSIFIERS

    return _of(CLASSIFIERS, config)


def own_encoder(config: Any) -> Any:
    """The class of transformers for such a model without a head, or None."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    kind = _of(MODEL_MAPPING, config)  # HGNetV2's is one that gives maps of features to a detector
    return None if kind is None or kind.__name__.endswith("Backbone") else kind


def _of(mapping: Any, config: Any) -> Any:
    kinds = mapping.get(type(config), None)
    if not isinstance(kinds, (tuple, list)):
        return kinds
    named = [kind for kind in kinds if kind.__name__ in (getattr(config, "architectures", None) or ())]
    return (named or kinds)[0]


def _widths(layer: nn.Module) -> tuple[Any, ...]:
    return getattr(layer, "out_features", None), getattr(layer, "out_channels", None)


@torch.no_grad()
def _copied(linear: nn.Linear, head: nn.Module) -> bool:
    """Copy a linear layer into one that reads the same features first, such as DINOv2's; whether that was possible."""
    if not isinstance(head, nn.Linear) or (head.bias is None) != (linear.bias is None):
        return False
    width = linear.in_features
    if head.in_features not in (width, 2 * width) or head.out_features != linear.out_features:
        return False
    head.weight.zero_()  # DINOv2's head also reads the mean of the patches: weight 0 there
    head.weight[:, :width] = linear.weight.detach().cpu()
    if linear.bias is not None:
        head.bias.copy_(linear.bias.detach().cpu())
    return True
