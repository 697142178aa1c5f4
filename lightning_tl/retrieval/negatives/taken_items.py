"""`TakenItems`: which items each user took, for telling true negatives from false ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.contracts.interactions import InteractionLog


class TakenItems(nn.Module):
    """The items that each user took in the training window, looked up for a whole batch at once.

    A candidate that the row's user took at another time is no negative. Its tensors follow the module to its device and
    are in no checkpoint.

    Args:
        starts: [users + 1], where each user's items begin.
        items: [sum of items], each user's different items.
    """

    starts: Tensor
    items: Tensor

    def __init__(self, starts: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        super().__init__()
        self.register_buffer("starts", torch.from_numpy(np.asarray(starts, np.int64)), persistent=False)
        self.register_buffer("items", torch.from_numpy(np.asarray(items, np.int64)), persistent=False)

    @classmethod
    def of(cls, log: InteractionLog) -> TakenItems:
        """From a log of the training window."""
        count = max(1, len(log.item_ids))
        pairs = np.unique(log.users.astype(np.int64) * count + log.items)
        starts = np.searchsorted(pairs, np.arange(len(log.user_ids) + 1) * count)
        return cls(starts, pairs % count)

    def among(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Whether each user took each candidate: [users, candidates] bool.

        Args:
            users: [users] numbers, -1 for users who took nothing.
            candidates: [candidates] numbers of items, repeated ones too.
        """
        users, asking = torch.unique(users, return_inverse=True)  # a user's many items are looked up once
        different, place = torch.unique(candidates, return_inverse=True)
        known = users.clamp(min=0)
        first = self.starts[known]
        lengths = torch.where(users < 0, 0, self.starts[known + 1] - first)
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), lengths)
        ends = lengths.cumsum(0)
        within = torch.arange(len(rows), device=users.device) - (ends - lengths)[rows]
        taken = self.items[first[rows] + within]
        column = torch.searchsorted(different, taken).clamp(max=len(different) - 1)
        hit = different[column] == taken
        table = torch.zeros(len(users), len(different), dtype=torch.bool, device=users.device)
        table[rows[hit], column[hit]] = True
        return table.index_select(1, place).index_select(0, asking)
