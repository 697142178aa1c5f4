"""SimCLR: each image's two views must find each other."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ImageBatch
from lightning_tl.losses import NTXent
from lightning_tl.pretraining.pretraining import Pretraining
from lightning_tl.pretraining.views_read import ViewsRead


class ContrastivePretraining(Pretraining):
    """Tell an image's second view from those of all other images (SimCLR, Chen et al. 2020, arXiv 2002.05709).

    The backbone's features learn directly, unlike in a masked autoencoder, and telling hundreds of tiles apart needs
    the small differences of colour that a reconstruction loss may leave out. The views come from the data module. Under
    DDP the other processes' images count as negatives too, gathered with their gradients, so the loss is that of one
    process with the whole batch.

    Args:
        backbone: what is trained: any that reads images.
        projection: width of the space in which views are compared; its head is thrown away afterwards.
        temperature: of the loss.
        **options: of `Pretraining`.
    """

    reads: ClassVar[ViewsRead | None] = ViewsRead(fewest=2, most=2, images=2)

    def __init__(self, backbone: Backbone, projection: int = 128, temperature: float = 0.2, **options: Any) -> None:
        super().__init__(backbone, **options)
        if projection < 1:
            raise ValueError(f"projection must be at least 1, got {projection}")
        width = backbone.feature_dim
        self.projector = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, projection))
        self.loss = NTXent(temperature)

    @property
    def objective(self) -> str:
        """See `Pretraining`."""
        return f"SimCLR, temperature {self.loss.temperature:g}"

    @property
    def resumed_settings(self) -> dict[str, Any]:
        """See `Pretraining`."""
        return {"projection": self.projector[-1].out_features, "temperature": self.loss.temperature}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """The loss of a batch of two views each, logged."""
        views = batch["inputs"]  # [batch, 2, channels, height, width]
        if views.ndim != 5 or views.shape[1] != 2:
            raise ValueError(
                f"inputs must be two views, [batch, 2, channels, height, width], got {tuple(views.shape)}; set views: 2"
            )
        first, second = self.projector(self.backbone(views.transpose(0, 1).flatten(0, 1))).chunk(2)
        if self.trainer.world_size > 1:
            gathered = self.all_gather(torch.stack([first, second]), sync_grads=True)  # [ranks, 2, batch, projection]
            assert isinstance(gathered, Tensor)
            everyone = gathered.transpose(0, 1).flatten(1, 2)
            loss = self.loss(first, second, everyone, offset=self.global_rank * len(first))
        else:
            loss = self.loss(first, second)
        assert isinstance(loss, Tensor)
        self.log_training(loss, batch)
        return loss
