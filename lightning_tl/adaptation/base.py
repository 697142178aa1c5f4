"""What an adaptation of a pretrained backbone is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.layer_groups import LayerGroup


def check_trains(backbone: Backbone, what: str) -> None:
    """Refuse to train a model some of whose layers no gradient reaches: they would stay as they are, unseen.

    Args:
        backbone: run once on its own `example_inputs`.
        what: is to train it, for the message.

    Raises:
        ValueError: naming a layer.
    """
    model = getattr(backbone, "model", backbone)
    if names := getattr(model, "without_gradient", ()):
        raise ValueError(
            f"{what} cannot train {type(model).__name__}: it computes {len(names)} layers, such as {names[0]}, "
            "outside the graph of gradients, so they would not learn; use Frozen, or another family"
        )


class Adaptation(ABC):
    """Decides which parameters of a backbone are trained, and may change or add some.

    `apply` is called once, after the backbone has its weights and before the optimizer and DDP see it.

    Attributes:
        rate: learning rate of what is trained of the backbone over the head's, where no other is given.
        arguments: by which its class builds the same adaptation again, as JSON values; of those that add parameters.
    """

    rate = 0.1
    arguments: dict[str, Any]

    @abstractmethod
    def apply(self, backbone: Backbone) -> None:
        """Change `backbone` in place; afterwards `requires_grad` says what may be trained."""

    def layer_groups(self, backbone: Backbone) -> list[LayerGroup]:
        """The groups in which the adapted backbone is trained, ordered from input to output."""
        return backbone.layer_groups()

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write the adapted backbone and the head so that they are read back with identical logits.

        Args:
            folder: to write into; it is made where it is not there.
            backbone: as adapted and trained.
            head: maps [batch, feature_dim] to [batch, num_classes].
            class_names: in the order of the logits.
            trained: names of the backbone's parameters that may have been trained.

        Returns:
            one line of Python that loads the folder.
        """
        return backbone.export(folder, head, class_names)
