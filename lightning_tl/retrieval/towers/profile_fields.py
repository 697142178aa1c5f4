"""`ProfileFields`: who a user is, as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ProfileFields(nn.ModuleList):
    """The sum of an embedding of each profile field; zero without fields.

    Args:
        sizes: how many codes each field has.
        dim: length of the vector.
    """

    def __init__(self, sizes: Sequence[int], dim: int) -> None:
        super().__init__(nn.Embedding(count, dim) for count in sizes)
        self.dim = dim
        for field in self:
            nn.init.normal_(field.weight, std=0.02)  # type: ignore[arg-type]

    def resize(self, sizes: Sequence[int]) -> None:
        """Make room for the weights of a checkpoint whose first fields had these sizes; without fields nothing."""
        del self[len(sizes) :]
        for field, count in zip(self, sizes, strict=False):
            resize(field, count)  # type: ignore[arg-type]

    def forward(self, profile: Tensor) -> Tensor:
        """[rows, fields] int64 codes to [rows, dim]."""
        found = torch.zeros(profile.shape[0], self.dim, device=profile.device)
        for number, field in enumerate(self):
            found = found + field(profile[:, number])
        return found


def resize(embedding: nn.Embedding, rows: int) -> None:
    """Give an embedding another number of rows, in place, for the weights that are loaded into it next."""
    if embedding.num_embeddings != rows:
        embedding.weight.data = embedding.weight.new_zeros(rows, embedding.embedding_dim)
        embedding.num_embeddings = rows
