"""Keep the backbone as it is."""

from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.base import Backbone


class Frozen(Adaptation):
    """Train nothing of the backbone."""

    def apply(self, backbone: Backbone) -> None:
        """See `Adaptation`."""
        backbone.requires_grad_(False)
