"""The baseline: the same architecture without its pretrained weights."""

from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones.base import Backbone


class Reinitialised(Adaptation):
    """Draw new weights and train every parameter."""

    rate = 1.0

    def apply(self, backbone: Backbone) -> None:
        """See `Adaptation`."""
        check_trains(backbone, "Reinitialised")
        backbone.reinitialise()
        backbone.requires_grad_(True)
