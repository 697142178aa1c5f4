"""Gradient caching: large batches with the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lightning_tl.contracts.batches import TextInputs


def encode_pieces(encode: Callable[[Any], Tensor], pieces: Iterable[Any], again: bool) -> Tensor:
    """Features of a batch that comes in pieces, each of which the backward pass encodes again, with the same dropout.

    So the graph of one piece is in memory at a time, while a loss sees the features of all (Gao et al. 2021, arXiv
    2101.06983); the gradients are those of the whole batch at once.

    Args:
        encode: a piece to [samples, width].
        pieces: of the batch, in its order.
        again: False keeps all graphs, as where there is one piece.
    """
    again = again and torch.is_grad_enabled()
    return torch.cat([checkpoint(encode, piece, use_reentrant=False) if again else encode(piece) for piece in pieces])


def in_pieces(inputs: Tensor | TextInputs, size: int) -> list[Any]:
    """Inputs of a backbone, images or texts, in pieces of at most `size` samples."""
    if isinstance(inputs, Tensor):
        return list(torch.split(inputs, size))
    values: dict[str, Any] = {**inputs}
    parts = {name: torch.split(value, size) for name, value in values.items()}
    return [dict(zip(parts, piece, strict=True)) for piece in zip(*parts.values(), strict=True)]
