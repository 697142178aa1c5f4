"""Whether features still tell samples apart: what self-supervised objectives lose when they collapse."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_EPSILON = 1e-7  # of RankMe's equation 1
SPREAD, RANK = 0.05, 1.5  # below these, features say nothing any more


@dataclass(frozen=True)
class Collapse:
    """Three measures of one set of features.

    Args:
        effective_rank: the exponential of the entropy of the singular values' shares, from 1 to dim: RankMe (Garrido
            et al. 2023, arXiv 2210.02885, equation 1).
        spread: the standard deviation of each dimension of unit vectors, averaged over dimensions, times the root of
            dim: 1 where they point everywhere alike, 0 where all are one (Chen and He 2021, arXiv 2011.10566, 4.1).
        mean_cosine: between different samples, from -1 to 1.
    """

    effective_rank: float
    spread: float
    mean_cosine: float

    @classmethod
    def of(cls, features: Tensor) -> Collapse:
        """Measure features [n, dim] of two samples or more."""
        values = features.double()
        singular = torch.linalg.svdvals(values)
        shares = singular / singular.sum().clamp(min=_EPSILON) + _EPSILON
        rank = float((-(shares * shares.log()).sum()).exp())
        unit = F.normalize(values, dim=1)
        count, dim = unit.shape
        spread = float(unit.std(0, correction=0).mean()) * dim**0.5
        pairs = float(unit.sum(0).square().sum() - unit.square().sum())  # twice each pair of different samples
        return cls(rank, spread, pairs / (count * (count - 1)))

    @property
    def told(self) -> str | None:
        """What to tell where they say collapse; None where they do not."""
        if self.spread < SPREAD:
            return f"unit features have a spread of {self.spread:.3f} (1 is even, below {SPREAD:g} all are one)"
        if self.effective_rank < RANK:
            return f"features have an effective rank of {self.effective_rank:.2f}: they lie along one direction"
        return None

    def named(self) -> dict[str, float]:
        """The measures by name."""
        return asdict(self)
