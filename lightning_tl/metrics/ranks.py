"""Metrics of ranked retrieval, for queries with one target each."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

_WHOLE = 2**32  # what a gain of 1 counts: sums of whole numbers are exact, in whatever order


class MeanGain(Metric):
    """Mean over all queries of a gain that depends on the rank; base of the metrics below.

    Gains are added as whole multiples of 2^-32, so that the result is the same to the last bit for every cut into
    batches and processes; each query's is off by up to 2^-33. Without queries the result is not a number.

    Args:
        name: of the sum. Different for each gain: a `MetricCollection` takes metrics for one whose states have the
            same names and, after the first batch, the same values, as those of two metrics without a hit.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    queries: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self._sum = name
        self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("queries", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def gains(self, ranks: Tensor) -> Tensor:
        """[queries] float32 in [0, 1].

        Args:
            ranks: [queries] int64, from 1.
        """

    def update(self, ranks: Tensor) -> None:
        """Take more queries.

        Args:
            ranks: [queries], whole numbers from 1.
        """
        checked = _checked(ranks)
        added = (self.gains(checked) * _WHOLE).round().long().sum()
        setattr(self, self._sum, getattr(self, self._sum) + added)
        self.queries = self.queries + len(checked)

    def compute(self) -> Tensor:
        """Scalar, float32."""
        total: Tensor = getattr(self, self._sum)
        return total / (self.queries * _WHOLE)


class HitRate(MeanGain):
    """Share of the queries whose target is among the first k: HR@k; with one target per query also Recall@k.

    Args:
        k: at least 1.
    """

    def __init__(self, k: int = 10) -> None:
        super().__init__(f"hits_at_{_from_one(k)}")
        self.k = k

    def gains(self, ranks: Tensor) -> Tensor:
        """1 for ranks [queries] up to k, else 0: [queries]."""
        return (ranks <= self.k).float()


class MeanReciprocalRank(MeanGain):
    """Mean of 1/rank over all ranks, with no cut-off."""

    def __init__(self) -> None:
        super().__init__("reciprocal_ranks")

    def gains(self, ranks: Tensor) -> Tensor:
        """1 over each of the ranks [queries], from 1: [queries]."""
        return 1.0 / ranks


class NDCG(MeanGain):
    """Normalised discounted cumulative gain of the first k (Järvelin & Kekäläinen 2002, with base 2).

    With one target the best gain is 1, and a query's is 1 / log2(rank + 1) up to rank k and 0 after it.

    Args:
        k: at least 1.
    """

    def __init__(self, k: int = 10) -> None:
        super().__init__(f"discounted_gains_at_{_from_one(k)}")
        self.k = k

    def gains(self, ranks: Tensor) -> Tensor:
        """1 over the logarithm of 1 + rank, for ranks [queries] up to k, else 0: [queries]."""
        return torch.where(ranks <= self.k, 1.0 / torch.log2(ranks + 1.0), 0.0)


class MedianRank(Metric):
    """The rank that half of the queries reach, exactly; the mean of the two middle ones where their number is even.

    Keeps all ranks: 8 bytes per query.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    ranks: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("ranks", [], dist_reduce_fx="cat")

    def update(self, ranks: Tensor) -> None:
        """Take more queries.

        Args:
            ranks: [queries], whole numbers from 1.
        """
        self.ranks.append(_checked(ranks))

    def sync(self, *arguments: Any, **options: Any) -> None:
        """Gather the ranks of all processes.

        One without queries says so with int64 as well: torchmetrics would send an empty float32, which brings gloo
        down.
        """
        if len(self.ranks) == 0:
            self.ranks = [torch.zeros(0, dtype=torch.int64, device=self.device)]
        super().sync(*arguments, **options)

    def compute(self) -> Tensor:
        """Scalar, float32; not a number without queries."""
        found: Any = self.ranks
        every = dim_zero_cat(found) if len(found) else torch.zeros(0, dtype=torch.int64, device=self.device)
        if len(every) == 0:
            return torch.tensor(float("nan"), device=self.device)
        in_order = every.long().sort().values
        middle = in_order[(len(in_order) - 1) // 2] + in_order[len(in_order) // 2]
        return middle / 2


def _checked(ranks: Tensor) -> Tensor:
    """The ranks as int64.

    Raises:
        ValueError: no row of whole numbers, or one below 1.
    """
    if ranks.ndim != 1 or ranks.is_floating_point() or ranks.dtype == torch.bool:
        raise ValueError(f"ranks must be one row of whole numbers, got {ranks.dtype} of shape {tuple(ranks.shape)}")
    if bool((ranks < 1).any()):
        raise ValueError(f"ranks must be 1 or more, the first place being 1, got {int(ranks.min())}")
    return ranks.long()


def _from_one(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return k


def retrieval_metrics(prefix: str) -> MetricCollection:
    """The hit rates at 10 and 100, the reciprocal rank and NDCG at 10.

    Args:
        prefix: of their names, such as `val_`.
    """
    found: dict[str, Metric | MetricCollection] = {f"hr_{k}": HitRate(k) for k in (10, 100)}
    return MetricCollection({**found, "mrr": MeanReciprocalRank(), "ndcg_10": NDCG(10)}, prefix=prefix)
