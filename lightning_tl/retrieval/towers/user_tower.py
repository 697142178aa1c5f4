"""What every user tower is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lightning_tl.adaptation import Adaptation, Frozen
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.retrieval.retrieval_data import RetrievalData


class UserTower(nn.Module, ABC):
    """What a user did before, and who they are, to one vector.

    Args:
        encoder: a pretrained one, if the tower has one.
        adaptation: of the encoder; default frozen.
        encoder_lr: rate of the encoder's last layer group; None for the head's times the adaptation's `rate`.
    """

    encoder: HuggingFaceText | None

    def __init__(
        self,
        encoder: HuggingFaceText | None = None,
        adaptation: Adaptation | None = None,
        encoder_lr: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.adaptation, self.encoder_lr = encoder, adaptation or Frozen(), encoder_lr

    @property
    def reads_items(self) -> bool:
        """Whether it reads the vectors of a history's items; where it does not, training need not make them."""
        return True

    @abstractmethod
    def build(self, dim: int, data: RetrievalData) -> None:
        """Make the parameters, once the data is known.

        Args:
            dim: length of the vectors.
            data: says how many users there are, and what is known of them.
        """

    @abstractmethod
    def forward(self, history: Tensor, vectors: Tensor, profile: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """Vectors of queries, before they are scaled to length 1: [queries, dim].

        Args:
            history: [rows, length] int64 numbers of items, oldest first; anything after the end of shorter ones.
            vectors: [rows, length, dim], those of the item tower.
            profile: [rows, fields] int64 codes.
            row: [queries] int64, the row of each query.
            position: [queries] int64, how many of its row's items a query may read.
        """
