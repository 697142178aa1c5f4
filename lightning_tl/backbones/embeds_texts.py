"""What zero-shot classification by similarity asks of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class EmbedsTexts(Protocol):
    """A backbone that puts texts into the space of its own features, so that cosine similarities mean something."""

    @property
    def temperature(self) -> float | None:
        """Over which the softmax of similarities gives probabilities; None where the weights do not say."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to features [texts, feature_dim], without gradients.

        Raises:
            ValueError: these weights cannot.
        """
        ...
