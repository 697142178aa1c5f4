"""Train the whole backbone from its pretrained weights."""

from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.base import Backbone


class Full(Adaptation):
    """Train every parameter of the backbone."""

    def apply(self, backbone: Backbone) -> None:
        backbone.requires_grad_(True)
