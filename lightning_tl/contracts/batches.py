"""What travels between data modules, backbones and strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from lightning_tl.compat.for_torch import leaves

if TYPE_CHECKING:
    from lightning_tl.contracts.interactions import Queries

IGNORED = -100  # class number of a pixel of which nothing is known: what torch's cross-entropy leaves out
UNMASKED = -100  # label of a token that is not to be restored: what torch's cross-entropy leaves out


@dataclass(frozen=True)
class ImageSpec:
    """What a vision backbone expects of an image.

    Args:
        image_size: height and width in pixels.
        channels: number of bands.
        mean: per band, of values scaled to 0…1.
        std: per band, of values scaled to 0…1.
        bands: what each channel is, in order: the common name of a band ("red", "nir", "swir16") or another name; empty
            for grey or RGB, and where nobody says.
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mean", "std", "bands"):
            values = getattr(self, name)
            if len(values) != self.channels and (values or name != "bands"):
                raise ValueError(f"{name} must have one value per channel ({self.channels}), got {len(values)}")
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands must have different names, got {', '.join(self.bands)}")

    def __repr__(self) -> str:  # enters fingerprints, which images without named bands keep
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "bands" or self.bands}
        return f"ImageSpec({', '.join(f'{name}={value!r}' for name, value in told.items())})"


@dataclass(frozen=True)
class TextSpec:
    """What a text backbone expects of a text.

    Args:
        tokenizer: folder of the tokenizer that the weights were trained with, for `transformers.AutoTokenizer`.
        max_length: most tokens of a sequence, special tokens included; what is longer is cut off.
        vocab_size: token numbers are below this.
        segments: whether the model tells the second text of a pair from the first by `token_type_ids`.
        prompt: what the weights were trained to find before every text (the first one of a pair).
        lower_case: texts are lower-cased first, whatever the tokenizer does.
    """

    tokenizer: str
    max_length: int
    vocab_size: int
    segments: bool = False
    prompt: str = ""
    lower_case: bool = False


def moved(inputs: Any, device: torch.device, non_blocking: bool = False) -> Any:
    """A batch's `inputs`, a tensor or a `TextInputs`, on another device."""
    if isinstance(inputs, dict):
        return {name: value.to(device, non_blocking=non_blocking) for name, value in inputs.items()}
    return inputs.to(device, non_blocking=non_blocking)


class ClassificationBatch(TypedDict):
    """A batch of a classification task; strategies do not look inside `inputs`, the backbone does."""

    inputs: NotRequired[Any]  # images: [batch, channels, height, width], normalised; texts: a `TextInputs`
    features: NotRequired[Tensor]  # [batch, feature_dim], instead of inputs where a backbone's output was kept
    # [batch] class numbers, [batch, num_classes] of 0 and 1 for several labels, [batch, height, width] class numbers
    # for labels of pixels, `IGNORED` where nothing is known
    target: Tensor
    index: NotRequired[Tensor]  # [batch], stable number of each sample in its data set


def sample_numbers(batch: Any) -> list[int]:
    """The `index` of a batch's samples; empty where the batch has none."""
    index = batch.get("index") if isinstance(batch, Mapping) else None
    return [] if index is None else [int(number) for number in index]


def batch_size(batch: Any) -> int:
    """How many samples a batch has: the length of `index`, else of the first tensor in it."""
    if isinstance(batch, Mapping) and "index" in batch:
        return len(batch["index"])
    tensors = [leaf for leaf in leaves(batch) if isinstance(leaf, Tensor) and leaf.ndim > 0]
    return len(tensors[0]) if tensors else 1


def classification_batch(batch: Any, labelled: bool = True) -> ClassificationBatch:
    """A batch as strategies read it; loaders may also give `(inputs, target)`, with or without the samples' numbers.

    Args:
        batch: a dictionary, or a tuple in the order inputs, target, index.
        labelled: whether it must have a target; else inputs may also come alone.

    Raises:
        ValueError: with the keys that are missing and those that are there.
    """
    if isinstance(batch, Mapping):
        found: dict[str, Any] = batch  # type: ignore[assignment]
    elif isinstance(batch, tuple | list) and 1 <= len(batch) <= 3:
        found = dict(zip(("inputs", "target", "index"), batch, strict=False))
    else:
        found = {"inputs": batch} if isinstance(batch, Tensor) else {}
    missing = [] if "inputs" in found or "features" in found else ["inputs"]
    missing += ["target"] if labelled and "target" not in found else []
    if missing:
        shape = f"a dictionary with {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else _kind(batch)
        raise ValueError(
            f"a batch has no {' and no '.join(missing)}: it must be a dictionary with inputs, target and, "
            f"where samples have numbers, index, or a tuple (inputs, target) or (inputs, target, index); got {shape}"
        )
    return found  # type: ignore[return-value]


def _kind(batch: Any) -> str:
    return f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list) else type(batch).__name__


class TextInputs(TypedDict):
    """Tokenised texts, padded to the longest of the batch."""

    input_ids: Tensor  # [batch, tokens], int64
    attention_mask: Tensor  # [batch, tokens], 1 for tokens, 0 for padding
    token_type_ids: NotRequired[Tensor]  # [batch, tokens], 0 for a first text, 1 for a second; where a model reads them


class MaskedTextBatch(TypedDict):
    """A batch for masked language modelling."""

    inputs: TextInputs  # some tokens masked
    labels: Tensor  # [batch, tokens], the true token where one was chosen, -100 elsewhere
    index: Tensor  # [batch]


class ImageBatch(TypedDict):
    """A batch of images without labels."""

    inputs: Tensor  # [batch, channels, height, width], or [batch, views, channels, height, width]
    local: NotRequired[Tensor]  # [batch, crops, channels, h, w], crops of a smaller size, normalised alike
    index: Tensor  # [batch]


class CaptionedBatch(TypedDict):
    """Images with captions: one of each in training, all of each where a whole split is searched."""

    inputs: Tensor  # [images, channels, height, width], normalised
    captions: TextInputs  # [texts, tokens]
    image: Tensor  # [texts] int64, the row of `inputs` that each text belongs to
    caption: Tensor  # [texts] int64, number of each text; equal texts share one
    known: Tensor  # [images, most] int64, numbers of all captions of an image, -1 after the last; `most` is always one
    index: Tensor  # [images]


@dataclass(frozen=True)
class StepOutput:
    """What `TransferModule.step` returns; the base class logs it.

    Args:
        loss: scalar.
        predictions: [batch, num_classes], logits.
        target: as in the batch.
    """

    loss: Tensor
    predictions: Tensor
    target: Tensor


class RetrievalBatch(TypedDict):
    """Histories, and what was taken after them: a row may serve several queries, each after some of its events."""

    history: Tensor  # [rows, length] int64 items, oldest first, NO_ITEM after the end of shorter ones
    user: Tensor  # [rows] int64
    row: Tensor  # [queries] int64, the row of each query
    position: Tensor  # [queries] int64, how many of its row's items lie strictly before the query
    target: Tensor  # [queries] int64, the item that was taken
    weight: NotRequired[Tensor]  # [queries], above 0
    uniform: NotRequired[Tensor]  # [candidates] int64, different items drawn with equal chances
    hard: NotRequired[Tensor]  # [given] int64, items that queries of the batch saw and did not take
    index: Tensor  # [queries] int64, number of each event in the log


def query_batch(asked: Queries, length: int) -> RetrievalBatch:
    """Queries with a row of their own each.

    Args:
        asked: users, times, histories and the items that they ask for.
        length: the most items of a history.
    """
    columns = {
        "history": asked.history(length),
        "user": asked.users,
        "row": np.arange(len(asked)),
        "position": np.minimum(asked.lengths, length),
        "target": asked.targets,
        "index": asked.events,
    }
    found = {name: torch.from_numpy(np.ascontiguousarray(values, np.int64)) for name, values in columns.items()}
    return found  # type: ignore[return-value]
