"""Classes by a vote of the nearest neighbours in a space of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS = 1024  # queries at a time


def vote_of_neighbours(
    train: tuple[Tensor, Tensor], queries: Tensor, num_classes: int, neighbours: int = 20, temperature: float = 0.07
) -> Tensor:
    """The class of each query by the weighted vote of its nearest neighbours (Wu et al. 2018, arXiv 1805.01978, 3.4).

    Neighbours are nearest by cosine; each adds exp(cosine / temperature) to the score of its class.

    Args:
        train: features [n, dim] of any norm, and classes [n] int64.
        queries: features [m, dim].
        num_classes: how many there are.
        neighbours: how many vote, at most n.
        temperature: the lower, the more the nearest counts.

    Returns:
        classes [m]; of equal scores the lowest class.

    Raises:
        ValueError: `neighbours` is not in 1…n, or `temperature` is not above 0.
    """
    if not 1 <= neighbours <= len(train[0]):
        raise ValueError(f"neighbours must be from 1 to the {len(train[0])} training samples, got {neighbours}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    kept, found = F.normalize(train[0].float(), dim=1), []
    for rows in queries.float().split(_ROWS):
        cosines, places = (F.normalize(rows, dim=1) @ kept.T).topk(neighbours, dim=1)
        weights = ((cosines - 1) / temperature).exp()  # at most 1: the shift changes no comparison
        votes = torch.zeros(len(rows), num_classes, device=rows.device)
        found.append(votes.scatter_add_(1, train[1][places], weights).argmax(1))
    return torch.cat(found)
