"""What an adaptation of a pretrained backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning_tl.backbones.base import Backbone


class Adaptation(ABC):
    """Decides which parameters of a backbone are trained, and may change or add some.

    `apply` is called once, after the backbone has its weights and before the optimizer and DDP see it.
    """

    @abstractmethod
    def apply(self, backbone: Backbone) -> None:
        """Change `backbone` in place; afterwards `requires_grad` says what may be trained."""
