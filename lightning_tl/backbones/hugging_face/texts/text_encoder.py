"""Open the part of a Hugging Face model that reads text, whatever family it is of."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.graph_leaves import reached_leaves
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.contracts.batches import TextInputs

# An expert that no token of one text was sent to is read by other texts.
_SOMETIMES_READ = re.compile(r"expert")


def open_text_encoder(folder: Path, name: str, config: Any, heads: re.Pattern[str]) -> Any:
    """The encoder with the weights of `folder`: of T5, BART and their kin without the decoder.

    Args:
        folder: with `config.json` and weights.
        name: what the user called it, for messages.
        config: the folder's, of transformers.
        heads: keys of a file without the base model's prefix that the encoder does without.

    Raises:
        ValueError: as `loading.open_model`.
    """
    config = copy.deepcopy(config)
    _check_takes_tokens(name, config)
    if not _has_decoder(config):
        return _with_constants(loading.open_encoder(folder, name, config, heads, spare=unread_parameters), name)
    kind = _encoder_alone(config)
    if kind is not None:
        model = loading.open_model(kind, folder, name, config, heads, spare=unread_parameters)
        return _with_constants(model, name)
    inside = type(_new(config))
    if (config.architectures or [""])[0] == inside.__name__:  # saved by itself, as an export does
        return _with_constants(loading.open_model(inside, folder, name, config, heads, spare=unread_parameters), name)
    return _with_constants(loading.open_model(_auto("AutoModel"), folder, name, config, heads).get_encoder(), name)


def new_text_encoder(config: Any) -> Any:
    """An encoder with fresh weights, drawn as transformers draws them."""
    config = copy.deepcopy(config)
    return _with_constants(_new(config) if _has_decoder(config) else loading.new_encoder(config), config.model_type)


def unread_parameters(model: Any) -> set[str]:
    """Names of the parameters that the hidden states of a text do not depend on: the pooler of a pretraining task, ….

    Found by following the graph of one short text's hidden states; no gradient is computed.
    """
    weight = next(model.parameters())
    if weight.is_meta:
        return set()
    ids = torch.arange(1, 9, device=weight.device)[None] % model.get_input_embeddings().weight.shape[0]
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            hidden: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    finally:
        model.train(was_training)
    read = reached_leaves(hidden)
    return {name for name, parameter in model.named_parameters() if id(parameter) not in read}


def hides_padding(model: Any, inputs: TextInputs) -> bool:
    """Whether a text's hidden states are the same alone and beside longer texts, as the attention mask promises.

    Args:
        model: an encoder of transformers.
        inputs: texts of different lengths, padded on the right, on the model's device.
    """
    scale = 1e-4 if inputs["input_ids"].device.type == "cpu" else 1e-2
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            together = model(**inputs).last_hidden_state
            for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
                one = {name: value[row : row + 1, :length] for name, value in _tensors(inputs)}
                alone = model(**one).last_hidden_state[0]
                if alone.shape[0] != length or together.shape[1] < length:
                    return False
                apart = (alone - together[row, :length]).abs().max()
                if not bool(apart <= scale * alone.abs().max().clamp(min=1)):  # also for what is no number
                    return False
    finally:
        model.train(was_training)
    return True


def check_reads(model: Any, name: str) -> None:
    """Run a model on one short text, twice, and see that words change what the model makes of other words.

    Raises:
        ValueError: it needs more than a text, or computes its attention by a kernel that is not here: transformers
            then goes on with zeros.
    """
    weight = next(model.parameters())
    if weight.is_meta:
        return
    ids = torch.arange(1, 9, device=weight.device)[None] % model.get_input_embeddings().weight.shape[0]
    other = torch.cat([ids[:, 2:3], ids[:, 1:]], 1)
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            made = [
                model(input_ids=each, attention_mask=torch.ones_like(ids)).last_hidden_state for each in (ids, other)
            ]
    except (AttributeError, ImportError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name}, a {type(model).__name__}, cannot read and train on a text by itself: {reason}"
        ) from None
    finally:
        model.train(was_training)
    if torch.equal(made[0][:, 1:], made[1][:, 1:]):
        raise ValueError(
            f"{name}, a {type(model).__name__}, makes the same of a word whatever stands beside it: its attention "
            "needs a kernel that is not installed, or its weights are zero"
        )


def _with_constants(model: Any, name: str) -> Any:
    """Keep what no text reads as buffers: as parameters without gradients they would stop DDP and skew counts."""
    check_reads(model, name)
    unread = sorted(name for name in unread_parameters(model) if not _SOMETIMES_READ.search(name))
    model.without_gradient = _read_all_the_same(model, unread)
    for name in unread:
        parent, _, own = name.rpartition(".")
        module = model.get_submodule(parent)
        value = getattr(module, own)
        if isinstance(value, nn.Parameter):
            delattr(module, own)
            module.register_buffer(own, value.detach())
    return model


@torch.no_grad()
def _read_all_the_same(model: Any, unread: Iterable[str]) -> tuple[str, ...]:
    """Names of the linear layers' matrices that the hidden states depend on although no gradient leads there.

    Reformer computes its layers outside the graph of gradients.

    Args:
        model: an encoder of transformers.
        unread: parameters that no gradient of the hidden states leads to.
    """
    matrices = {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in unread
    }
    if not matrices or next(model.parameters()).is_meta:
        return ()
    before = _hidden(model)
    kept = [matrix.clone() for matrix in matrices.values()]
    for matrix in matrices.values():
        matrix.mul_(-1).add_(0.1)
    after = _hidden(model)
    for matrix, value in zip(matrices.values(), kept, strict=True):
        matrix.copy_(value)
    return () if torch.equal(before, after) else tuple(matrices)


def _hidden(model: Any) -> Tensor:
    """Hidden states of a short text, [1, tokens, dim], the same at every call."""
    weight = next(model.parameters())
    ids = torch.arange(1, 9, device=weight.device)[None] % model.get_input_embeddings().weight.shape[0]
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            hidden: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    finally:
        model.train(was_training)
    return hidden


def _tensors(inputs: TextInputs) -> list[tuple[str, Tensor]]:
    return list(inputs.items())  # type: ignore[arg-type]


def _check_takes_tokens(name: str, config: Any) -> None:
    """Refuse a family whose encoder reads vectors that a part outside of it makes (Perceiver)."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    found: Any = MODEL_MAPPING.get(type(config), None)
    kind = found[0] if isinstance(found, tuple) else found
    if kind is not None and "input_ids" not in inspect.signature(kind.forward).parameters:
        raise ValueError(
            f"{name} is a '{config.model_type}' model, whose encoder {kind.__name__} reads no tokens of a text by "
            "itself; take a model of another family"
        )


def _has_decoder(config: Any) -> bool:
    return bool(config.is_encoder_decoder or getattr(type(config)(), "is_encoder_decoder", False))


def _encoder_alone(config: Any) -> Any:
    """The class that opens the family's encoder by itself, as of T5; None where there is none, as of BART."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING as FAMILIES

    if type(config) not in FAMILIES:
        return None
    config.is_encoder_decoder = False
    return _auto("AutoModelForTextEncoding")


def _new(config: Any) -> Any:
    kind = _encoder_alone(config)
    return _auto("AutoModel").from_config(config).get_encoder() if kind is None else kind.from_config(config)


def _auto(name: str) -> Any:  # Any: transformers does not annotate it
    import transformers

    return getattr(transformers, name)
