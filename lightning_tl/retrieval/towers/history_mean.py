"""`HistoryMean`: a user tower for which a history is the mean of its items."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.towers.profile_fields import ProfileFields
from lightning_tl.retrieval.towers.user_tower import UserTower


class HistoryMean(UserTower):
    """The mean of the last items' vectors, whatever their order, projected (Covington et al. 2016, section 3.2).

    What is known of the user is added to the mean, where the paper puts it beside it; a user without a history is a
    mean of 0. Running sums serve all queries of a row in one pass. The baseline that a user tower which reads the order
    has to beat, and the cheaper one.

    Args:
        hidden: width of the projection (Linear, GELU, Dropout, Linear).
        dropout: in the projection, in [0, 1).
        profile: read the users' profile fields.
    """

    def __init__(self, hidden: int = 256, dropout: float = 0.1, profile: bool = True) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {hidden}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.hidden, self.dropout, self.profile = hidden, dropout, profile

    def build(self, dim: int, data: RetrievalData) -> None:
        """See `UserTower`."""
        self.fields = ProfileFields(data.profile_sizes if self.profile else (), dim)
        self.projection = nn.Sequential(
            nn.Linear(dim, self.hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, dim)
        )

    def forward(self, history: Tensor, vectors: Tensor, profile: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """See `UserTower`."""
        sums = vectors.float().cumsum(1)  # [rows, length, dim]; a sum of many in bfloat16 would lose the last ones
        last = sums[row, (position - 1).clamp(min=0)]
        mean = torch.where(position[:, None] > 0, last / position.clamp(min=1)[:, None], 0.0).to(vectors.dtype)
        found: Tensor = self.projection(mean + self.fields(profile)[row].to(mean.dtype))
        return found
