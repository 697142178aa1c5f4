"""`ItemTower`: an item's text, picture and number to one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_tl.adaptation import Adaptation, Frozen
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.retrieval.item_texts import ItemTexts, encode_all

_UNKNOWN = 0  # row of items without an event in the training window


class ItemTower(nn.Module):
    """A pretrained encoder of the item's text, projected, plus an embedding of its number.

    Features are centred and scaled by their mean and spread over the catalogue before any training: those of a sentence
    encoder all point into one cone. The features of a frozen encoder are computed once. While an encoder trains, the
    items that a batch asks for are encoded anew, and those in histories keep the features of the last time that the
    whole catalogue was encoded.
    The number's embedding is added to the projection, so that an item that training never saw still has a vector: it
    takes the row for unknown items, which is trained by hiding numbers at random.

    Args:
        encoder: reads title, description and tags; None for items that are known by their numbers alone.
        adaptation: of the encoder; default frozen.
        encoder_lr: rate of its last layer group; default the head's times the adaptation's `rate`.
        ids: whether items have an embedding of their own.
        dim: length of the vectors.
        hidden: width of the projection (Linear, GELU, Dropout, Linear).
        dropout: in the projection, in [0, 1).
        id_dropout: share of the numbers that are hidden in training, in [0, 1).
        chunk: texts encoded at once while an encoder trains; larger batches are encoded again in the backward pass,
            chunk by chunk, with the same dropout, so that their memory is that of a chunk (Gao et al. 2021, arXiv
            2101.06983).
    """

    content: Tensor
    rows: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        encoder: HuggingFaceText | None = None,
        adaptation: Adaptation | None = None,
        encoder_lr: float | None = None,
        ids: bool = True,
        dim: int = 128,
        hidden: int = 256,
        dropout: float = 0.1,
        id_dropout: float = 0.05,
        chunk: int = 256,
    ) -> None:
        super().__init__()
        if encoder is None and not ids:
            raise ValueError("an ItemTower without encoder and without ids knows nothing of items: set one of them")
        for name, value in (("dim", dim), ("hidden", hidden), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, share in (("dropout", dropout), ("id_dropout", id_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}")
        self.encoder, self.adaptation, self.encoder_lr = encoder, adaptation or Frozen(), encoder_lr
        self.ids, self.dim, self.hidden, self.dropout, self.id_dropout = ids, dim, hidden, dropout, id_dropout
        self.chunk = chunk
        self.texts: ItemTexts | None = None

    def build(self, texts: Sequence[str], counts: NDArray[np.int64]) -> None:
        """Adapt the encoder and make the rest, once the catalogue is known.

        Args:
            texts: [items].
            counts: [items] events in the training window; items with none take the row for unknown ones.
        """
        known = counts > 0
        rows = np.where(known, np.cumsum(known), _UNKNOWN)
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        if self.ids:
            self.embedding = nn.Embedding(int(known.sum()) + 1, self.dim)
            nn.init.normal_(self.embedding.weight, std=0.05)
            nn.init.zeros_(self.embedding.weight[_UNKNOWN].data)
        width = 0
        if self.encoder is not None:
            self.adaptation.apply(self.encoder)
            self.texts = ItemTexts(self.encoder, texts)
            width = self.encoder.feature_dim
            self.projection = nn.Sequential(
                nn.Linear(width, self.hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, self.dim)
            )
        self.register_buffer("content", torch.zeros(0, width), persistent=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.zeros(()))  # 0 until the catalogue was encoded for the first time

    @property
    def is_live(self) -> bool:
        """Whether the encoder trains now."""
        return self.encoder is not None and any(parameter.requires_grad for parameter in self.encoder.parameters())

    def encode(self, rank: int = 0, ranks: int = 1) -> Tensor:
        """The encoder's features of the whole catalogue, [items, width]; this rank's share, the rest 0."""
        assert self.texts is not None and self.encoder is not None, "an item tower is built before it encodes"
        return encode_all(self.encoder, self.texts, rank, ranks)

    def keep(self, content: Tensor) -> None:
        """Take the encoder's features of the catalogue as those to go on with.

        Args:
            content: [items, width].
        """
        self.content = content
        if len(content) and not bool(self.spread):
            self.mean = content.mean(0)
            self.spread = (content - self.mean).square().mean().sqrt().clamp(min=1e-6)

    def forward(self, items: Tensor, live: Tensor | None = None) -> Tensor:
        """Vectors of items, before they are scaled to length 1: [items, dim].

        Args:
            items: [items] int64 numbers, different ones.
            live: [items] bool, which of them are encoded anew; None takes the kept features of all.
        """
        vectors = torch.zeros(len(items), self.dim, device=items.device)
        if self.encoder is not None:
            features = (self._features(items, live) - self.mean) / self.spread.clamp(min=1e-6)
            vectors = vectors + self.projection(features)
        if self.ids:
            rows = self.rows[items]
            if self.training and self.id_dropout:
                rows = rows.masked_fill(torch.rand(len(rows), device=rows.device) < self.id_dropout, _UNKNOWN)
            vectors = vectors + self.embedding(rows)
        return vectors

    def _features(self, items: Tensor, live: Tensor | None) -> Tensor:
        if live is None or not bool(live.any()):
            return self.content[items]
        wanted = items[live]
        pieces = [self._encode_some(wanted[start : start + self.chunk]) for start in range(0, len(wanted), self.chunk)]
        found = torch.cat(pieces).float()
        return found if bool(live.all()) else self.content[items].masked_scatter(live[:, None], found)

    def _encode_some(self, items: Tensor) -> Tensor:
        assert self.texts is not None and self.encoder is not None
        inputs = self.texts.inputs(items.cpu().numpy(), items.device)
        again = torch.is_grad_enabled()
        features: Tensor = checkpoint(self.encoder, inputs, use_reentrant=False) if again else self.encoder(inputs)
        return features
