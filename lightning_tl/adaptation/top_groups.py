"""Train only the end of the backbone."""

from lightning_tl.adaptation.base import Adaptation, check_trains
from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.layer_groups import set_requires_grad


class TopGroups(Adaptation):
    """Train the last `n` layer groups of the backbone.

    Args:
        n: how many groups, counted from the output; 1 up to the number the backbone has.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"TopGroups needs n of at least 1, got {n}; use Frozen to train the head alone")
        self.n = n

    def apply(self, backbone: Backbone) -> None:
        """See `Adaptation`."""
        check_trains(backbone, "TopGroups")
        groups = backbone.layer_groups()
        if self.n > len(groups):
            names = ", ".join(group.name for group in groups)
            raise ValueError(f"TopGroups got n={self.n}, but the backbone has {len(groups)} layer groups: {names}")
        set_requires_grad(backbone, groups, {group.name for group in groups[-self.n :]})
