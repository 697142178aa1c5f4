"""Masked-autoencoder pretraining of vision transformers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.visible_tokens import VisibleTokens
from lightning_tl.contracts.batches import ImageBatch, ImageSpec
from lightning_tl.pretraining.patch_decoder import PatchDecoder, patches_of
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.views_read import ViewsRead

_WIDTH_OF_PLACES = 4  # sine and cosine of rows and columns


class MaskedAutoencoder(Pretraining):
    """Reconstruct the masked patches of unlabelled images (He et al. 2022, arXiv 2111.06377).

    The backbone sees the visible patches alone, so that a step costs little; class and register tokens are kept. It may
    be any vision transformer of transformers or timm whose tokens know their places by what was added to them (ViT,
    DeiT, DINOv2, CLIP), of any size and bands, from pretrained weights or none.

    Deviations from the paper: the target is by default the pixels, not normalised per patch (colour is what tells land
    covers apart), and the default mask hides 60% since small images have few patches.

    Args:
        backbone: what is trained.
        decoder_hidden_size: width of the decoder, divisible by 4 and by `decoder_heads`.
        decoder_layers: blocks of the decoder.
        decoder_heads: attention heads of the decoder.
        mask_ratio: share of hidden patches, in (0, 1).
        normalise_patches: whether each patch is to be restored without its own mean and deviation (section 3).
        **options: of `Pretraining`.
    """

    betas = (0.9, 0.95)
    reads: ClassVar[ViewsRead | None] = ViewsRead()

    def __init__(
        self,
        backbone: Backbone,
        decoder_hidden_size: int = 96,
        decoder_layers: int = 2,
        decoder_heads: int = 3,
        mask_ratio: float = 0.6,
        normalise_patches: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(backbone, **options)
        for name, value in (("decoder_layers", decoder_layers), ("decoder_heads", decoder_heads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for divisor, what in ((decoder_heads, f"decoder_heads ({decoder_heads})"), (_WIDTH_OF_PLACES, "4")):
            if decoder_hidden_size < 1 or decoder_hidden_size % divisor:
                raise ValueError(f"decoder_hidden_size must be divisible by {what}, got {decoder_hidden_size}")
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must be in (0, 1), got {mask_ratio}")
        self.mask_ratio, self.normalise_patches = mask_ratio, normalise_patches
        self._decoder = decoder_hidden_size, decoder_layers, decoder_heads
        self.visible = VisibleTokens(backbone)  # a backbone that cannot is refused before data are read
        self.decoder: PatchDecoder | None = None

    def configure_model(self) -> None:
        """Build the decoder, which restores as many bands as the data module's images have."""
        if self.decoder is not None:
            return
        self.visible = visible = VisibleTokens(self.backbone)
        if not 0 < self.kept_count < visible.side**2:
            raise ValueError(
                f"mask_ratio {self.mask_ratio:g} hides all or none of the {visible.side**2} patches of an image: "
                "take another, or larger images"
            )
        spec = self.backbone.input_spec
        assert isinstance(spec, ImageSpec)
        pixels = spec.channels * visible.patch**2
        self.decoder = PatchDecoder(visible.dim, visible.side, pixels, *self._decoder)
        for parameter in visible.unused:  # those of a pooling layer: without a gradient, DDP stops on them
            parameter.requires_grad_(False)

    @property
    def objective(self) -> str:
        """See `Pretraining`."""
        target = "normalised patches" if self.normalise_patches else "pixels"
        return f"masked autoencoder, {self.mask_ratio:.0%} masked, {target}"

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`."""
        names = "decoder_hidden_size", "decoder_layers", "decoder_heads"
        shared = {"mask_ratio": self.mask_ratio, "normalise_patches": self.normalise_patches}
        return shared | dict(zip(names, self._decoder, strict=True))

    @property
    def kept_count(self) -> int:
        """How many patches of an image are visible."""
        return int(self.visible.side**2 * (1 - self.mask_ratio))

    def restored(self, images: Tensor, kept: Tensor) -> Tensor:
        """The loss: the mean squared error over the hidden patches.

        Args:
            images: [batch, channels, height, width], normalised.
            kept: [batch, n] numbers of the visible patches.
        """
        assert self.decoder is not None, "made in configure_model"
        target = patches_of(images, self.visible.patch).float()
        if self.normalise_patches:
            spread, mean = torch.var_mean(target, dim=2, keepdim=True)
            target = (target - mean) / (spread + 1e-6).sqrt()
        found = self.decoder(self.visible(images, kept), kept)
        hidden = torch.ones(target.shape[:2], device=images.device).scatter(1, kept, 0.0)
        loss: Tensor = ((found.float() - target).square().mean(2) * hidden).sum() / hidden.sum()
        return loss

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of images [batch, channels, height, width], logged."""
        images = batch["inputs"]
        if images.ndim != 4:
            raise ValueError(
                f"inputs must be [batch, channels, height, width], got {tuple(images.shape)}; set views: 1"
            )
        order = torch.rand(len(images), self.visible.side**2, device=images.device).argsort(1)
        loss = self.restored(images, order[:, : self.kept_count])
        self.log_training(loss, batch)
        return loss
