"""One number for every bit of some weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors, whatever their order and device: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def parameter_sums(module: nn.Module) -> Tensor:
    """Sums and norms of all parameters, which no training step leaves as they are: [2 × parameters] float64.

    For whether a module changed. Version counters of parameters would not do: fused optimizers write without counting.
    """
    values = [parameter.detach() for parameter in module.parameters()]
    sums = [value.sum(dtype=torch.float64) for value in values]
    return torch.stack([*sums, *(torch.linalg.vector_norm(value, dtype=torch.float64) for value in values)])
