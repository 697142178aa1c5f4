"""From token vectors to one vector of a text."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_tl.backbones.hugging_face.texts.sentence_folder import Pooling


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """Token vectors [batch, tokens, dim] to [batch, dim]; padding on either side is left out.

    Args:
        hidden: [batch, tokens, dim].
        mask: [batch, tokens], 1 for tokens, 0 for padding.
        how: of which tokens the vector is made.
    """
    if how == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    places = torch.arange(mask.shape[1], device=mask.device)
    place = mask.argmax(1) if how == "cls" else (mask * places).argmax(1)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), place]
