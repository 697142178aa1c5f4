"""`NearestNegatives`: items that the model itself takes for near, as negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_tl.retrieval.negatives.taken_items import TakenItems
from lightning_tl.training.gather_rows import RowCounts

_SCORES_AT_ONCE = 1 << 24


class NearestNegatives:
    """The items nearest to a query that its user never took (Xiong et al. 2021, ANCE, arXiv 2007.00808).

    They are looked for over the whole catalogue, with the query's vector of the step and the items' vectors of the last
    refresh. Like other hard negatives, those of one query are candidates of the whole batch, each once, over all
    processes.

    Args:
        count: items for each query.
        every: optimizer steps after which the items' vectors are made anew, as also when an epoch begins. While an
            encoder of items trains, that encodes the catalogue.
        skip: how many of the nearest are left out: what nobody has shown to the user yet may be liked.
        margin: leave out items whose cosine with the query is above that of its own item less this, as they may be
            liked, too; None for no such bound.
    """

    def __init__(self, count: int = 1, every: int = 100, skip: int = 10, margin: float | None = None) -> None:
        for name, value, least in (("count", count, 1), ("every", every, 1), ("skip", skip, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if margin is not None and not 0 <= margin <= 2:
            raise ValueError(f"margin must be in [0, 2], as cosines differ by no more, got {margin}")
        self.count, self.every, self.skip, self.margin = count, every, skip, margin
        self._vectors = torch.zeros(0)
        self._trained: Tensor | None = None
        self._made_at = -1

    def is_due(self, step: int, first_of_epoch: bool) -> bool:
        """Whether the items' vectors are to be made anew before this optimizer step."""
        if len(self._vectors) == 0:
            return True
        return step != self._made_at and (first_of_epoch or step % self.every == 0)

    def refresh(self, vectors: Tensor, step: int, trained: Tensor | None = None) -> None:
        """Go on with these vectors.

        Args:
            vectors: [items, dim], unit norm.
            step: the optimizer step that comes next.
            trained: [items] bool, which may be negatives, those of the training window; None for all.

        Raises:
            ValueError: `skip` and `count` leave no item.
        """
        items = len(vectors) if trained is None else int(trained.sum())
        if self.skip + self.count >= items:
            raise ValueError(
                f"NearestNegatives leaves out the nearest {self.skip} items and takes {self.count}: too many of "
                f"{items:,} items; lower skip"
            )
        self._vectors, self._trained, self._made_at = vectors.detach(), trained, step

    @torch.no_grad()
    def draw(
        self, queries: Tensor, targets: Tensor, users: Tensor, taken: TakenItems, rank: int = 0, ranks: int = 1
    ) -> Tensor:
        """This process's share of the items that all find, all different.

        Args:
            queries: [queries, dim], unit norm.
            targets: [queries] the items that they ask for.
            users: [queries].
            taken: of the training window; what the query's user took is no negative.
            rank: number of this process.
            ranks: number of processes, among which the items are shared out.
        """
        items = len(self._vectors)
        rows = max(1, _SCORES_AT_ONCE // max(1, items))
        parts = [slice(start, start + rows) for start in range(0, len(queries), rows)]
        found: Tensor = torch.unique(torch.cat([self._nearest(queries[p], targets[p], users[p], taken) for p in parts]))
        if ranks > 1:
            found = torch.unique(RowCounts.gathered(len(found), found.device, ranks, rank).gather(found))[rank::ranks]
        return found

    def _nearest(self, queries: Tensor, targets: Tensor, users: Tensor, taken: TakenItems) -> Tensor:
        items = len(self._vectors)
        with torch.autocast(queries.device.type, enabled=False):  # half precision would round cosines to 1/256
            scores = queries.float() @ self._vectors.float().T
        own = scores.gather(1, targets[:, None])
        left_out = taken.among(users, torch.arange(items, device=scores.device))
        left_out.scatter_(1, targets[:, None], True)
        if self._trained is not None:
            left_out |= ~self._trained
        if self.margin is not None:
            left_out |= scores > own - self.margin
        scores = scores.masked_fill(left_out, -torch.inf)
        best, found = scores.topk(min(self.skip + self.count, items), dim=1)
        mined: Tensor = found[:, self.skip :][best[:, self.skip :] > -torch.inf]
        return mined
