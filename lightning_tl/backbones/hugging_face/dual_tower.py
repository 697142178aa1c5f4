"""`DualTower`: the image tower of a dual encoder, for which transformers has no class of its own."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn


class DualTower(nn.Module):
    """An image encoder whose pooled features are projected.

    Args:
        vision_model: of transformers, with a pooler.
        visual_projection: into the space of the texts.
        config: the encoder's, with `projection_dim`.
    """

    def __init__(self, vision_model: Any, visual_projection: nn.Module, config: Any) -> None:
        super().__init__()
        self.vision_model, self.visual_projection, self.config = vision_model, visual_projection, config

    @classmethod
    def fresh(cls, config: Any) -> DualTower:
        """With fresh weights, drawn as transformers draws them."""
        import transformers

        auto: Any = transformers.AutoModel
        model = auto.from_config(copy.deepcopy(config))
        return cls(model, nn.Linear(config.hidden_size, config.projection_dim, bias=False), config)

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> SimpleNamespace:
        """Images [batch, channels, height, width], normalised, to `image_embeds` [batch, projection_dim].

        Args:
            pixel_values: the images.
            interpolate_pos_encoding: whether they have another size than the encoder's own, which not every one allows.
        """
        other = {"interpolate_pos_encoding": True} if interpolate_pos_encoding else {}
        pooled = self.vision_model(pixel_values=pixel_values, **other).pooler_output.flatten(1)
        return SimpleNamespace(image_embeds=self.visual_projection(pooled))
