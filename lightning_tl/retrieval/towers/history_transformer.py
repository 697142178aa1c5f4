"""`HistoryTransformer`: a user tower that reads the items of a history one after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.towers.profile_fields import ProfileFields
from lightning_tl.retrieval.towers.user_tower import UserTower


class HistoryTransformer(UserTower):
    """A small causal transformer over the vectors of the last items (Kang & McAuley 2018, SASRec, arXiv 1808.09781).

    Before the first item stands a learned start, to which what is known of the user is added, so that a user without
    a history has a vector too. The state behind each item has read nothing after it: one pass over a row serves all
    its queries.

    Args:
        layers: blocks.
        heads: attention heads, a divisor of the vectors' length.
        feedforward: width of a block's hidden layer, in multiples of the vectors' length.
        dropout: in [0, 1).
        profile: read the users' profile fields.
        chunk: rows of histories read at once; of larger batches each chunk is read again in the backward pass, with the
            same dropout, so that their memory is that of a chunk (Gao et al. 2021, arXiv 2101.06983).
    """

    def __init__(
        self,
        layers: int = 2,
        heads: int = 2,
        feedforward: int = 2,
        dropout: float = 0.2,
        profile: bool = True,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        for name, value in (("layers", layers), ("heads", heads), ("feedforward", feedforward), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.layers, self.heads, self.feedforward, self.dropout = layers, heads, feedforward, dropout
        self.profile, self.chunk = profile, chunk

    def build(self, dim: int, data: RetrievalData) -> None:
        """See `UserTower`.

        Raises:
            ValueError: `heads` does not divide `dim`.
        """
        if dim % self.heads:
            raise ValueError(f"heads must divide the vectors' length {dim}, got {self.heads}")
        self.start = nn.Parameter(torch.zeros(dim))
        self.position_embeddings = nn.Parameter(torch.randn(data.history_length + 1, dim) * 0.02)
        self.fields = ProfileFields(data.profile_sizes if self.profile else (), dim)
        block = nn.TransformerEncoderLayer(
            dim,
            self.heads,
            self.feedforward * dim,
            self.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(block, self.layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.projection = nn.Linear(dim, dim)
        self.drop = nn.Dropout(self.dropout)

    def forward(self, history: Tensor, vectors: Tensor, profile: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """See `UserTower`."""
        if len(vectors) <= self.chunk:
            return self._read(vectors, profile, row, position)
        pieces, places = [], []
        for first in range(0, len(vectors), self.chunk):
            rows = slice(first, first + self.chunk)
            mine = ((row >= first) & (row < first + self.chunk)).nonzero()[:, 0]
            read = vectors[rows], profile[rows], row[mine] - first, position[mine]
            if len(mine):
                again = torch.is_grad_enabled()
                pieces.append(checkpoint(self._read, *read, use_reentrant=False) if again else self._read(*read))
                places.append(mine)
        return torch.cat(pieces)[torch.cat(places).argsort()]

    def _read(self, vectors: Tensor, profile: Tensor, row: Tensor, position: Tensor) -> Tensor:
        states = self.states(vectors[:, : int(position.max())], profile)
        found: Tensor = self.projection(states[row, position])
        return found

    def states(self, vectors: Tensor, profile: Tensor) -> Tensor:
        """What is known before the first item and after each: [rows, length + 1, dim], before the projection.

        Args:
            vectors: [rows, length, dim]; what lies behind the end of a history changes nothing before it.
            profile: [rows, fields] codes.
        """
        start = (self.start + self.fields(profile).to(self.start.dtype))[:, None]
        length = vectors.shape[1] + 1
        hidden = torch.cat([start, vectors], dim=1) + self.position_embeddings[:length]
        causal = nn.Transformer.generate_square_subsequent_mask(length, device=hidden.device, dtype=hidden.dtype)
        states: Tensor = self.blocks(self.drop(hidden), mask=causal, is_causal=True)
        return states
