"""What a module needs for labels of pixels: a backbone that gives maps, and a head that reads them."""

from __future__ import annotations

from torch import nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.dense import PixelDecoder, PyramidDecoder
from lightning_tl.backbones.dense.give_maps import give_maps
from lightning_tl.tasks import Task


def prepare_maps(task: Task, backbone: Backbone, decoder: PixelDecoder | None, head_hidden: int | None) -> None:
    """Let the backbone give feature maps where the task needs them.

    Args:
        task: what is learned.
        backbone: before it is adapted.
        decoder: as of `TransferModule`, and so is the next.
        head_hidden: width of a hidden layer in a head over one vector.

    Raises:
        ValueError: an option of another head than the task has, or a backbone without maps.
    """
    if decoder is not None and not task.dense:
        raise ValueError(f"decoder is for labels of pixels, but the task is {task.name}: leave it out")
    if not task.dense:
        return
    if head_hidden is not None:
        raise ValueError(
            f"head_hidden is of a head over one vector, but the task is {task.name}: leave it out, or set decoder"
        )
    give_maps(backbone)


def pixel_head(backbone: Backbone, decoder: PixelDecoder | None, classes: int, dropout: float) -> nn.Module:
    """A head over the backbone's feature maps; a `PyramidDecoder` makes it where none is given."""
    plan = decoder or PyramidDecoder()
    return plan.head(backbone.map_dims, backbone.map_strides, classes, dropout)
