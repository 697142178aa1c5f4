"""Train the whole backbone from its pretrained weights."""

from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones.base import Backbone


class Full(Adaptation):
    """Train every parameter of the backbone."""

    def apply(self, backbone: Backbone) -> None:
        """See `Adaptation`."""
        check_trains(backbone, "Full")
        backbone.requires_grad_(True)
