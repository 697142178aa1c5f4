"""The text classifier of transformers that gives the logits of a backbone and a linear head."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.hugging_face.hugging_face_loading import quiet
from lightning_tl.contracts.batches import moved

if TYPE_CHECKING:
    from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText

_SMALL = 2.0**-15  # tanh(x) = x (1 - x² / 3 + …): for values up to 30 as good as x in single precision


def text_classifier(backbone: HuggingFaceText, linear: nn.Linear, class_names: Sequence[str]) -> Any:
    """The family's own …ForSequenceClassification with these weights; None where none gives the same logits.

    Most families put a layer of their own, with tanh, ReLU or GELU behind it, before the classifier. It is made to do
    nothing: scaled down to where tanh is a straight line, and up again in the classifier; or shifted up to where ReLU
    and GELU are one, and down again in the classifier. Whatever was found is compared with the backbone's own logits.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as FAMILIES

    config = copy.deepcopy(backbone.model.config)
    if backbone.settings.normalize or backbone.settings.prompt or type(config) not in FAMILIES:
        return None
    config.id2label = dict(enumerate(class_names))
    config.label2id = {name: k for k, name in enumerate(class_names)}
    config.pad_token_id = backbone.pad_token_id
    families: Any = transformers.AutoModelForSequenceClassification
    try:
        with quiet(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = families.from_config(config).float().eval()
    except (ValueError, RuntimeError, ImportError):
        return None  # such as a classifier that needs settings of its own
    encoder = getattr(model, model.base_model_prefix, None)
    state = {key: value.detach().float().cpu() for key, value in backbone.model.state_dict().items()}
    if encoder is None or not state.keys() <= encoder.state_dict().keys():
        return None
    encoder.load_state_dict(state, strict=False)
    own = {name: layer for name, layer in model.named_modules() if _is_own(name, layer, model, state)}
    if not own or next(reversed(own.values())).out_features != linear.out_features or len(own) > 2:
        return None
    weight, bias = linear.weight.detach().float().cpu(), None if linear.bias is None else linear.bias.detach().cpu()
    for _ in _settings(list(own.values()), weight, bias, _bound(encoder)):
        if _agree(backbone, linear, model):
            return model
    return None


def _is_own(name: str, layer: nn.Module, model: Any, state: dict[str, Tensor]) -> bool:
    """Whether it is a linear layer of the classifier, and none of the encoder."""
    inside = name.removeprefix(f"{model.base_model_prefix}.")
    return isinstance(layer, nn.Linear) and (inside == name or f"{inside}.weight" not in state)


@torch.no_grad()
def _settings(layers: Sequence[Any], weight: Tensor, bias: Tensor | None, bound: float) -> Iterator[None]:
    """Put the head into the layers in one way after another."""
    *before, last = layers
    if last.in_features != weight.shape[1] or any(layer.out_features != layer.in_features for layer in before):
        return
    if last.bias is None and bias is not None and bool(bias.any()):
        return
    for scale, shift in ((1.0, 0.0),) if not before else ((_SMALL, 0.0), (1.0, bound)):
        for layer in before:
            layer.weight.copy_(scale * torch.eye(layer.in_features))
            if layer.bias is None and shift:
                return
            if layer.bias is not None:
                layer.bias.fill_(shift)
        last.weight.copy_(weight / scale)
        if last.bias is not None:
            last.bias.copy_((0 if bias is None else bias) - shift * weight.double().sum(1).float())
        yield


def _bound(encoder: nn.Module) -> float:
    """More than any value of a hidden state that a layer norm gives, by 8: from there on GELU is a straight line."""
    norms: list[Any] = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm)]
    if not norms or norms[-1].weight is None:
        return 64.0
    last = norms[-1]
    shift = 0.0 if last.bias is None else float(last.bias.detach().abs().max())
    return 8 + float(last.weight.detach().abs().max()) * math.sqrt(last.normalized_shape[-1]) + shift


@torch.no_grad()
def _agree(backbone: HuggingFaceText, linear: nn.Linear, classifier: Any) -> bool:
    """Whether the classifier, on the CPU, gives the backbone's logits, for texts alone and together."""
    inputs, padding = backbone.texts_of_many_lengths(), backbone.pad_token_id  # by which a decoder's finds the end
    ids = inputs["input_ids"]
    ids = ids.where(ids != padding, int(padding == 0))
    inputs["input_ids"] = ids.where(inputs["attention_mask"].bool(), padding)
    modes = [(module, module.training) for module in backbone.modules()]
    device = linear.weight.device
    backbone.eval()
    try:
        features = backbone(moved(inputs, device))
        wanted = nn.functional.linear(features, linear.weight, linear.bias).float().cpu()
    finally:
        for module, training in modes:
            module.training = training
    exact = device.type == "cpu" and linear.weight.dtype == torch.float32
    limit = (2e-6 if exact else 2e-2) * max(1.0, float(wanted.abs().max()))
    values: dict[str, Any] = {**inputs}
    lengths = inputs["attention_mask"].sum(1).tolist()
    for row, length in enumerate(lengths):
        one = {name: value[row : row + 1, :length] for name, value in values.items()}
        if not float((classifier(**one).logits[0] - wanted[row]).abs().max()) <= limit:
            return False
    together = classifier(**inputs).logits
    return bool(float((together - wanted).abs().max()) <= limit) or backbone.by_length
