"""Masked pixels: pretraining that every backbone with feature maps can do."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.graph_leaves import reached_leaves
from lightning_tl.contracts.batches import ImageBatch, ImageSpec
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.views_read import ViewsRead

_FEWEST = 2  # squares in an image, of which one is hidden and one is not


class MaskedPixels(Pretraining):
    """Restore hidden squares of unlabelled images from the coarsest feature map (SimMIM, Xie et al. 2022, 2111.09886).

    It works for every backbone that has feature maps, ResNet, ConvNeXt and Swin too, which a `MaskedAutoencoder` cannot
    run on some patches alone. The whole image is computed, so a step costs more than one of that.

    Deviation from the paper: hidden squares take a learned value of each band in the image itself, not behind a layer
    of patches, which convolutions do not have.

    Args:
        backbone: what is trained.
        mask_size: side of a hidden square in pixels; default that of a place of the coarsest map.
        mask_ratio: share of hidden squares, in (0, 1).
        **options: of `Pretraining`.
    """

    reads: ClassVar[ViewsRead | None] = ViewsRead()

    def __init__(
        self, backbone: Backbone, mask_size: int | None = None, mask_ratio: float = 0.6, **options: Any
    ) -> None:
        super().__init__(backbone, **options)
        if mask_size is not None and mask_size < 1:
            raise ValueError(f"mask_size must be at least 1 pixel, got {mask_size}")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be in (0, 1), got {mask_ratio}")
        self.mask_size, self.mask_ratio = mask_size, mask_ratio
        self.head: nn.Module | None = None
        self.side = self._square = 0  # squares along a side of the image, and pixels along one of a square

    def configure_model(self) -> None:
        """Build the head, which restores as many bands as the data module's images have.

        Raises:
            ValueError: the backbone has no feature maps, or images are no two squares or more.
        """
        if self.head is not None:
            return
        spec = self.backbone.input_spec
        assert isinstance(spec, ImageSpec)
        size, channels = spec.image_size, spec.channels
        device = next(self.backbone.parameters()).device
        modes = [(module, module.training) for module in self.backbone.modules()]
        self.backbone.eval()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            found = self.backbone.feature_maps(torch.zeros(2, channels, size, size, device=device))[-1]
            reached = reached_leaves(found.sum())
        for module, training in modes:
            module.training = training
        stride = size // found.shape[2]
        if stride * found.shape[2] != size:
            raise ValueError(f"images of {size} pixels are no whole number of the map's {found.shape[2]} places")
        mask = self.mask_size or stride
        if size % mask or (size // mask) ** 2 < _FEWEST:
            raise ValueError(
                f"images of {size} pixels are no two or more squares of {mask}: set mask_size, or take larger images "
                "(image_size of the backbone and the data)"
            )
        self.side, self._square = size // mask, mask
        if not 0 < self.hidden_count < self.side**2:
            raise ValueError(f"mask_ratio {self.mask_ratio:g} hides all or none of the {self.side**2} squares")
        self.hidden_value = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.head = nn.Sequential(nn.Conv2d(found.shape[1], channels * stride**2, 1), nn.PixelShuffle(stride))
        for parameter in self.backbone.parameters():  # of a pooling layer: without a gradient, DDP stops on them
            if id(parameter) not in reached:
                parameter.requires_grad_(False)

    @property
    def objective(self) -> str:
        """See `Pretraining`."""
        return f"masked pixels, {self.mask_ratio:.0%} masked"

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`."""
        return {"mask_size": self._square, "mask_ratio": self.mask_ratio}

    @property
    def hidden_count(self) -> int:
        """How many squares of an image are hidden."""
        return round(self.side**2 * self.mask_ratio)

    def restored(self, images: Tensor, hidden: Tensor) -> Tensor:
        """The loss: the mean absolute error over hidden pixels (their equation 2).

        Args:
            images: [batch, channels, height, width], normalised.
            hidden: [batch, n] numbers of the hidden squares, row by row from 0.
        """
        assert self.head is not None, "made in configure_model"
        squares = torch.zeros(len(images), self.side**2, device=images.device).scatter(1, hidden, 1.0)
        grid = squares.view(-1, 1, self.side, self.side)
        pixels = images.shape[-1] // self.side
        mask = grid.repeat_interleave(pixels, 2).repeat_interleave(pixels, 3)  # [batch, 1, height, width]
        shown = images * (1 - mask) + self.hidden_value * mask
        found = self.head(self.backbone.feature_maps(shown)[-1])
        loss: Tensor = ((found.float() - images.float()).abs() * mask).sum() / (mask.sum() * images.shape[1])
        return loss

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of images [batch, channels, height, width], logged."""
        images = batch["inputs"]
        if images.ndim != 4:
            raise ValueError(
                f"inputs must be [batch, channels, height, width], got {tuple(images.shape)}; set views: 1"
            )
        loss = self.restored(images, self.hidden_squares(batch))
        self.log_training(loss, batch)
        return loss

    def hidden_squares(self, batch: ImageBatch) -> Tensor:
        """Numbers of the squares to hide in each image, drawn: [batch, hidden_count]."""
        images = batch["inputs"]
        order = torch.rand(len(images), self.side**2, device=images.device).argsort(1)
        return order[:, : self.hidden_count]
