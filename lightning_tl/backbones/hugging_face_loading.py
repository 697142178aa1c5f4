"""Open a folder as a Hugging Face encoder without a head, and never with silently random weights."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lightning_tl.backbones.input_adaptation import adapt_state, check_image_size
from lightning_tl.backbones.loading_report import check_keys, damaged_file_errors
from lightning_tl.batches import ImageSpec


def read_config(folder: Path, name: str) -> Any:
    """The configuration in a folder.

    Raises:
        ValueError: the folder is not one that transformers can read.
    """
    import transformers

    if '"architecture"' in (folder / "config.json").read_text(encoding="utf-8"):
        raise ValueError(f"{name} is a timm folder, not a Hugging Face one; open it with TimmBackbone")
    try:
        return transformers.AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the config.json of {name} cannot be read as a Hugging Face model: {reason}") from None


def vision_config(folder: Path, name: str) -> Any:
    """The configuration of a vision encoder; a masked autoencoder's becomes that of the plain ViT inside it.

    Raises:
        ValueError: as `read_config`, or the model does not read images.
    """
    import transformers

    config = read_config(folder, name)
    if config.model_type == "vit_mae":
        shared = set(transformers.ViTConfig().to_dict()) - {"model_type", "architectures", "transformers_version"}
        config = transformers.ViTConfig(**{key: value for key, value in config.to_dict().items() if key in shared})
    if not hasattr(config, "num_channels"):
        raise ValueError(f"{name} is a '{config.model_type}' model, which does not read images")
    return config


def new_encoder(config: Any) -> Any:
    """An encoder with fresh weights, drawn as transformers draws them."""
    model = _auto_model().from_config(copy.deepcopy(config), **_without_unused_pooler(config))
    return _with_constant_mask_token(model)


def open_encoder(folder: Path, name: str, config: Any, heads: re.Pattern[str] | None = None) -> Any:
    """An encoder with the weights of `folder`.

    Args:
        heads: keys of the file, besides those of every classifier, that the encoder does without.

    Raises:
        ValueError: as `open_model`.
    """
    options = _without_unused_pooler(config)
    return _with_constant_mask_token(open_model(_auto_model(), folder, name, config, heads, **options))


def open_model(
    kind: Any, folder: Path, name: str, config: Any, heads: re.Pattern[str] | None = None, **options: Any
) -> Any:
    """A model with the weights of `folder`.

    Args:
        kind: class of transformers with `from_pretrained`.
        heads: as of `open_encoder`.
        **options: of `from_pretrained`.

    Raises:
        ValueError: weights and configuration differ (every key is named), or the file is damaged.
    """
    with quiet(), damaged_file_errors(folder):
        model, info = kind.from_pretrained(
            folder,
            config=copy.deepcopy(config),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, all at once
            dtype=torch.float32,
            **options,
        )
    unexpected = [key for key in info["unexpected_keys"] if heads is None or not heads.search(key)]
    check_keys(name, info["missing_keys"], unexpected, info["mismatched_keys"])
    return model


def open_tokenizer(folder: Path, name: str, vocabulary: int) -> Any:
    """The tokenizer of a model.

    Args:
        vocabulary: how many tokens the model knows.

    Raises:
        ValueError: the tokenizer has more.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if len(tokenizer) > vocabulary:
        raise ValueError(
            f"the tokenizer of {name} has {len(tokenizer):,} tokens, but the model knows {vocabulary:,}: they belong "
            "to different models. Take tokenizer and weights from the same model"
        )
    return tokenizer


def config_for(config: Any, image_size: int, channels: int) -> Any:
    """The configuration of the same encoder for another input."""
    adapted = copy.deepcopy(config)
    adapted.image_size, adapted.num_channels = image_size, channels
    patch = getattr(config, "patch_size", 1)
    check_image_size(image_size, patch if isinstance(patch, int) else patch[0])
    return adapted


def adapted_encoder(model: Any, config: Any, old: ImageSpec, new: ImageSpec) -> Any:
    """`model` rebuilt for `config`, an outcome of `config_for`; the same object where the input stays the same."""
    if (old.image_size, old.channels) == (new.image_size, new.channels):
        return model
    target = new_encoder(config)
    target.load_state_dict(adapt_state(model.state_dict(), target.state_dict(), old, new))
    return target


def _auto_model() -> Any:  # Any: transformers does not annotate it
    import transformers

    return transformers.AutoModel


def _without_unused_pooler(config: Any) -> dict[str, bool]:
    """ViT and its kin come with a tanh pooler that classification does not use: it stops DDP and skews counts."""
    with torch.device("meta"):
        pooler = getattr(_auto_model().from_config(copy.deepcopy(config)), "pooler", None)
    return {"add_pooling_layer": False} if hasattr(pooler, "dense") else {}


def _with_constant_mask_token(model: Any) -> Any:
    """DINOv2 and its kin read a mask token in pretraining alone: as a parameter without gradients it would stop DDP."""
    for module in model.modules():
        token = module._parameters.get("mask_token")
        if token is not None:
            del module._parameters["mask_token"]
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
