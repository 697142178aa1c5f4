"""`BatchLoss`: what the queries of all processes pay for the items and users of all processes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.contracts.interactions import InteractionLog
from lightning_tl.losses import Candidates, InfoNCE
from lightning_tl.retrieval.negatives.taken_items import TakenItems
from lightning_tl.training.gather_rows import RowCounts


class BatchLoss(nn.Module):
    """Queries find their items among candidates, and items their users among the batch's users.

    Candidates of a query are the items of the batch, items drawn with equal chances, and items that were given. Those
    that equal its own or that its user took at any time of the training window are left out. How often a candidate is
    expected counts for the mixture of the batch's items, drawn as often as they are asked for, and the uniform ones of
    the items with events in training (Yang et al. 2020, "Mixed negative sampling", equation 6); for users, as often as
    they ask.

    Args:
        loss: of a row.
        item_to_user: share of the loss of items that must find their users.
        log_q: correct for how often candidates are drawn.
        mask_taken: leave out what the user took too.
        log: events of the training window, of which counts and taken items are made.
        chances: [events of the log] with which chance each is asked for in an epoch; None where all are alike.
    """

    item_share: Tensor
    user_share: Tensor

    def __init__(
        self,
        loss: InfoNCE,
        item_to_user: float,
        log_q: bool,
        mask_taken: bool,
        log: InteractionLog,
        chances: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.item_to_user, self.log_q, self.mask_taken = loss, item_to_user, log_q, mask_taken
        self.taken = TakenItems.of(log)
        self._has_begun = False  # a later batch that has no negatives, by chance, teaches nothing and does no harm
        for name, numbers, ids in (("item_share", log.items, log.item_ids), ("user_share", log.users, log.user_ids)):
            counts = np.bincount(numbers, chances, minlength=len(ids))
            share = torch.from_numpy(counts / max(1.0, counts.sum())).float()
            self.register_buffer(name, share, persistent=False)
        self._item_count = max(1, int((self.item_share > 0).sum()))  # of which uniform negatives are drawn

    def forward(
        self,
        users: tuple[Tensor, Tensor],
        items: tuple[Tensor, Tensor],
        uniform: tuple[Tensor, Tensor],
        given: tuple[Tensor, Tensor],
        weight: Tensor | None,
        rank: int = 0,
        ranks: int = 1,
        with_bound: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The loss of this process, whose mean over processes is the weighted mean over all queries; and the bound.

        Args:
            users: numbers [queries] and vectors [queries, dim], unit norm.
            items: the same of the items that were taken.
            uniform: the same of items drawn with equal chances.
            given: the same of items that are negatives for a reason.
            weight: [queries], above 0; None where all count the same.
            rank: number of this process.
            ranks: number of processes.
            with_bound: compute the bound on mutual information as well, over the batch's own items.
        """
        device = users[1].device
        count, drawn, extra = (
            RowCounts.gathered(len(pair[0]), device, ranks, rank) for pair in (users, uniform, given)
        )
        sides = ((count, items), (drawn, uniform), (extra, given))
        item_ids = torch.cat([counts.gather(numbers) for counts, (numbers, _) in sides])
        item_vectors = torch.cat([counts.gather(vectors) for counts, (_, vectors) in sides])
        user_ids = count.gather(users[0])
        own = count.before + torch.arange(len(users[0]), device=device)

        def no_negatives(rows: slice) -> Tensor:
            same = items[0][rows, None] == item_ids
            return same | self.taken.among(users[0][rows], item_ids) if self.mask_taken else same

        def no_other_users(rows: slice) -> Tensor:
            same = (users[0][rows, None] == user_ids) | (items[0][rows, None] == item_ids[: count.total])
            return same | self.taken.among(user_ids, items[0][rows]).T if self.mask_taken else same

        item_counts = user_counts = None
        if self.log_q:
            sampled = item_ids[: count.total + drawn.total]
            expected = count.total * self.item_share[sampled] + drawn.total / self._item_count
            item_counts = torch.cat([expected.log(), expected.new_zeros(extra.total)])
            user_counts = (count.total * self.user_share[user_ids]).log()
        weight = torch.ones(len(own), device=device) if weight is None else weight
        scale = ranks / count.gather(weight).sum()
        losses = self.loss(users[1], Candidates(item_vectors, own, item_counts, no_negatives), not self._has_begun)
        self._has_begun = True
        total = (1 - self.item_to_user) * (losses * weight).sum() * scale
        if self.item_to_user:
            candidates = Candidates(count.gather(users[1]), own, user_counts, no_other_users)
            total = total + self.item_to_user * (self.loss(items[1], candidates, False) * weight).sum() * scale
        if not with_bound:
            return total, None
        batch = Candidates(item_vectors[: count.total], own, None, lambda rows: no_negatives(rows)[:, : count.total])
        return total, self.loss.information_bound(users[1], batch)
