"""Open a folder as a Hugging Face encoder without a head: never with silently random weights, never with its code."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_tl.backbones.hugging_face.stored_keys import check_no_code, missing_library_errors, prefix_in_file
from lightning_tl.backbones.opening.loading_report import check_keys, damaged_file_errors


def read_config(folder: Path, name: str) -> Any:
    """The configuration in a folder.

    Raises:
        ValueError: the folder is not one that transformers can read.
    """
    import transformers

    check_no_code(folder, name)
    if '"architecture"' in (folder / "config.json").read_text(encoding="utf-8"):
        raise ValueError(f"{name} is a timm folder, not a Hugging Face one; open it with TimmBackbone")
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the config.json of {name} cannot be read as a Hugging Face model: {reason}") from None


def new_encoder(config: Any) -> Any:
    """An encoder with fresh weights, drawn as transformers draws them."""
    model = _auto_model().from_config(copy.deepcopy(config), **_without_unused_pooler(config))
    return _with_constant_mask_token(model)


def open_encoder(
    folder: Path,
    name: str,
    config: Any,
    heads: re.Pattern[str] | None = None,
    spare: Callable[[Any], Collection[str]] | None = None,
) -> Any:
    """An encoder with the weights of `folder`.

    Args:
        folder: with `config.json` and weights.
        name: what the user called it, for messages.
        config: the folder's, of transformers; it is copied.
        heads: keys of the file that the encoder does without, besides those that lie outside of it.
        spare: names the parameters of a model that it does without.

    Raises:
        ValueError: as `open_model`.
    """
    options = _without_unused_pooler(config)
    return _with_constant_mask_token(open_model(_auto_model(), folder, name, config, heads, spare, **options))


def open_model(
    kind: Any,
    folder: Path,
    name: str,
    config: Any,
    heads: re.Pattern[str] | None = None,
    spare: Callable[[Any], Collection[str]] | None = None,
    **options: Any,
) -> Any:
    """A model with the weights of `folder`.

    Args:
        kind: class of transformers with `from_pretrained`.
        folder: with `config.json` and weights.
        name: what the user called it, for messages.
        config: the folder's, of transformers; it is copied.
        heads: keys of file or model that need not fit.
        spare: names the parameters of a model that it does without.
        **options: of `from_pretrained`.

    Raises:
        ValueError: weights and configuration differ (every key is named), the file is damaged, or a library that the
            weights need, such as that which quantised them, is not installed.
    """
    with quiet(), damaged_file_errors(folder), missing_library_errors(name, config):
        model, info = kind.from_pretrained(
            folder,
            config=copy.deepcopy(config),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, all at once
            dtype=torch.float32,
            trust_remote_code=False,
            **options,
        )
    if len(info["missing_keys"]) > 0.9 * len(list(model.parameters())):
        raise ValueError(
            f"the weights of {name} hold next to nothing of the {type(model).__name__} that its config.json "
            "describes; take a folder in which such a model, or one around it, was saved"
        )
    found = {
        what: [key for key in info[f"{what}_keys"] if not _is_of(key, heads)] for what in ("missing", "unexpected")
    }
    if found["missing"] and spare is not None:
        found["missing"] = sorted(set(found["missing"]) - set(spare(model)))
    prefix = prefix_in_file(folder, model.state_dict()) if found["unexpected"] else ""
    unexpected = [key for key in found["unexpected"] if key.startswith(prefix)]  # what lies beside the encoder: heads
    mismatched = [entry for entry in info["mismatched_keys"] if not _is_of(entry[0], heads)]
    check_keys(name, found["missing"], unexpected, mismatched)
    return model


def open_tokenizer(folder: Path, name: str, vocabulary: int) -> Any:
    """The tokenizer of a model.

    Args:
        folder: with the tokenizer's files.
        name: what the user called it, for messages.
        vocabulary: how many tokens the model knows.

    Raises:
        ValueError: the tokenizer has more.
    """
    from transformers import AutoTokenizer

    check_no_code(folder, name)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if len(tokenizer) > vocabulary:
        raise ValueError(
            f"the tokenizer of {name} has {len(tokenizer):,} tokens, but the model knows {vocabulary:,}: they belong "
            "to different models. Take tokenizer and weights from the same model"
        )
    return tokenizer


def _auto_model() -> Any:  # Any: transformers does not annotate it
    import transformers

    return transformers.AutoModel


def _without_unused_pooler(config: Any) -> dict[str, bool]:
    """ViT and its kin come with a tanh pooler that classification does not use: it stops DDP and skews counts.

    The poolers of BEiT, Hiera and Swin, without a dense layer, are what their classifiers read: they stay.
    """
    with torch.device("meta"):
        model = _auto_model().from_config(copy.deepcopy(config))
    pooler = getattr(model, "pooler", None)
    learned = pooler is not None and any(True for _ in pooler.parameters())  # Swin's is a plain mean
    named = "add_pooling_layer" in inspect.signature(type(model).__init__).parameters
    unused = hasattr(pooler, "dense") if model.main_input_name == "pixel_values" else learned
    return {"add_pooling_layer": False} if named and unused else {}


def _is_of(key: str, heads: re.Pattern[str] | None) -> bool:
    return heads is not None and heads.search(key) is not None


def _with_constant_mask_token(model: Any) -> Any:
    """DINOv2 and its kin read a mask token in pretraining alone: as a parameter without gradients it would stop DDP."""
    for module in model.modules():
        token = getattr(module, "mask_token", None)
        if isinstance(token, nn.Parameter):
            del module.mask_token
            module.register_buffer("mask_token", token.detach())
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own loading report and progress bar; `check_keys` says what matters."""
    import transformers

    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
