"""The normalised temperature-scaled cross-entropy of SimCLR."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NTXent(nn.Module):
    """Each view must find the other view of its image among all views (Chen et al. 2020, arXiv 2002.05709, equation 1).

    Args:
        temperature: divides the cosine similarities; above 0.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor, others: Tensor | None = None, offset: int = 0) -> Tensor:
        """Mean over both views of every image.

        Args:
            first: [batch, dim], any norm.
            second: [batch, dim], the other view of the same images in the same order.
            others: [2, total, dim], both views of the images of all processes, gathered with their gradients; row
                `offset + i` is image i of this process. Default: this process alone.
            offset: see `others`.
        """
        if first.shape != second.shape or first.ndim != 2:
            raise ValueError(f"both views must be [batch, dim], got {tuple(first.shape)} and {tuple(second.shape)}")
        everyone = torch.stack([first, second]) if others is None else others
        total = everyone.shape[1]
        if everyone.shape != (2, total, first.shape[1]) or not 0 <= offset <= total - len(first):
            raise ValueError(
                f"others must be [2, total, {first.shape[1]}] with total of at least offset ({offset}) + batch "
                f"({len(first)}), got {tuple(everyone.shape)}"
            )
        if total < 2:
            raise ValueError("a single image has no others to be told from: use a batch of at least 2")
        with torch.autocast(first.device.type, enabled=False):  # half precision would round similarities to 1/256
            columns = F.normalize(everyone.float(), dim=-1)
            rows = F.normalize(torch.cat([first, second]).float(), dim=-1)  # [2 * batch, dim]
            logits = rows @ columns.flatten(0, 1).T / self.temperature  # [2 * batch, 2 * total]
        mine = offset + torch.arange(len(first), device=first.device)
        itself = torch.cat([mine, total + mine])
        logits = logits.scatter(1, itself[:, None], float("-inf"))
        return F.cross_entropy(logits, torch.cat([total + mine, mine]))
