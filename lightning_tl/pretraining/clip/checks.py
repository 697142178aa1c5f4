"""What `Clip` refuses, and says, before it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lightning_tl.backbones import Backbone, HuggingFaceText
from lightning_tl.backbones.hugging_face.dual_encoder import DualEncoder
from lightning_tl.compat.for_torch import is_batch_norm
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.data import SeededBatches
from lightning_tl.training.training_groups import Tower


def check_towers(backbone: Backbone, text_backbone: Backbone) -> None:
    """Refuse a backbone that reads something else than its place wants.

    Raises:
        ValueError: naming the place.
    """
    if not isinstance(backbone.input_spec, ImageSpec):
        raise ValueError(
            f"backbone must read images, such as lightning_tl.backbones.HuggingFaceVision; {type(backbone).__name__} "
            "reads texts: it may be the text_backbone"
        )
    if not isinstance(text_backbone, HuggingFaceText):
        raise ValueError(
            "text_backbone must read texts, such as lightning_tl.backbones.HuggingFaceText; "
            f"{type(text_backbone).__name__} does not"
        )


def check_numbers(projection: int, chunk: int | None, rates: Mapping[str, float | None]) -> None:
    """Refuse numbers that could not train.

    Args:
        projection: length of the vectors.
        chunk: images, or texts, encoded at once; None for whole batches.
        rates: of the towers, by the option's name; None for the usual one.

    Raises:
        ValueError: naming the option.
    """
    for name, value in (("projection", projection), ("chunk", 1 if chunk is None else chunk)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, rate in rates.items():
        if rate is not None and not 0 < rate < math.inf:
            tower = name.partition("_")[0]
            raise ValueError(
                f"{name} must be above 0, got {rate}; set {tower}_adaptation to lightning_tl.adaptation.Frozen to keep "
                "this tower as it is"
            )


def check_adapted(tower: Tower, chunk: int | None) -> None:
    """Refuse what an adapted tower cannot do.

    Args:
        tower: whose adaptation was applied.
        chunk: images, or texts, encoded at once; None for whole batches.

    Raises:
        ValueError: parameters were added, or batch statistics would be taken of chunks, twice.
    """
    if tower.backbone.base is not None:
        raise ValueError(
            f"Clip writes whole backbones, and {type(tower.adaptation).__name__} adds parameters beside them: take "
            f"Full, TopGroups or Frozen as {tower.name}_adaptation"
        )
    trains = any(parameter.requires_grad for parameter in tower.backbone.parameters())
    if chunk is not None and trains and any(is_batch_norm(module) for module in tower.backbone.modules()):
        raise ValueError(
            f"chunk is {chunk}, but {type(tower.backbone).__name__} normalises by the batch that it sees: leave chunk "
            f"out, or set {tower.name}_adaptation to Frozen"
        )


def check_batch_size(data: Any, processes: int) -> None:
    """Refuse batches of one pair.

    Args:
        data: the data module.
        processes: that train together.

    Raises:
        ValueError: there would be nothing to be told from.
    """
    if isinstance(data, SeededBatches) and data.batch_size * processes < 2:
        raise ValueError(
            f"batch_size is {data.batch_size}: a pair is told from the other pairs of its batch, and there are none; "
            "take 2 or more, as many as memory holds (chunk makes them small)"
        )


def check_batch(batch: Any) -> None:
    """Refuse batches without captions.

    Raises:
        ValueError: naming a data module that has them.
    """
    if not {"captions", "known", "caption"} <= batch.keys():
        raise ValueError(
            "Clip needs batches of images with captions; set data to datamodules.CaptionedImagesDataModule"
        )


def check_same(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings.

    Args:
        before: as the checkpoint has them.
        now: as the run has them.

    Raises:
        ValueError: naming the first that differs.
    """
    for name, value in before.items():
        if value != now[name]:
            meaning = " (start, learned, lowest, highest)" if name == "temperature" else ""
            raise ValueError(
                f"the checkpoint was trained with {name} {value}{meaning}, and this run has {now[name]}: resume with "
                "the same"
            )


@rank_zero_only
def tell_of_folder(towers: DualEncoder) -> None:
    """Say before training what will not open the folder that is left."""
    if not (why := towers.why_not()):
        return
    nor = towers.why_no_pair()
    opens = f"nor can ImageTextPair open it: {nor}" if nor else "lightning_tl.backbones.ImageTextPair opens it"
    rank_zero_info(
        "The folder will hold both backbones and their projections, and no model that transformers opens as one: "
        f"{why}; {opens}"
    )
