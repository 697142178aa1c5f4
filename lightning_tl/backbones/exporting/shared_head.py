"""A base that adapters with different numbers of classes share, also in one batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.exporting.exported import ExportedClassifier
from lightning_tl.compat.for_torch import has_forward_pre_hooks


class SharedHead(nn.Linear):
    """A linear layer that takes the shape of the weights that are loaded into it.

    PEFT copies one head for every adapter and loads the adapter's own into the copy.

    Args:
        head: whose weights it begins with.

    Attributes:
        width: logits are filled up to so many classes with -inf, probability 0; None for no more than there are.
    """

    width: int | None = None

    def __init__(self, head: nn.Linear) -> None:
        super().__init__(head.in_features, head.out_features, head.bias is not None)
        self.load_state_dict(head.state_dict())
        self.register_load_state_dict_pre_hook(_take_shape)  # type: ignore[no-untyped-call]

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, in_features] to logits [batch, classes]."""
        logits = super().forward(features)
        return logits if self.width is None else F.pad(logits, (0, self.width - logits.shape[1]), value=float("-inf"))


def _take_shape(head: SharedHead, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
    """Before weights are loaded: make room for as many classes as they have."""
    weight = state.get(f"{prefix}weight")
    if isinstance(weight, Tensor) and weight.dim() == 2 and weight.shape[1] == head.in_features:
        head.out_features = len(weight)
        for name, own in list(head.named_parameters()):
            fresh = own.new_empty((len(weight), *own.shape[1:]))
            setattr(head, name, nn.Parameter(fresh, requires_grad=own.requires_grad))


class SharedBase(ExportedClassifier):
    """A backbone and a head that PEFT puts adapters into, each with a head of its own.

    A batch whose rows go through different adapters has as many logits as the adapter with the most classes; those
    that a row's adapter has not are -inf.
    """

    def forward(self, inputs: Any) -> Tensor:
        """As `ExportedClassifier`."""
        features = self.backbone.read(inputs)
        copies = [part for part in self.head.modules() if isinstance(part, SharedHead)]
        mixed = has_forward_pre_hooks(self.head)  # by which PEFT tells the head which row is whose
        for copy in copies:
            copy.width = max(part.out_features for part in copies) if mixed else None
        logits: Tensor = self.head(features)
        return logits


def shared(classifier: ExportedClassifier) -> SharedBase:
    """The same classifier for several adapters: the layer that gives the logits takes any number of classes."""
    head = classifier.head
    if type(head) is nn.Linear:
        head = SharedHead(head)
    elif isinstance(head, nn.Sequential):
        head = nn.Sequential(*[SharedHead(layer) if type(layer) is nn.Linear else layer for layer in head])
    return SharedBase(classifier.backbone, head, classifier.class_names)
