"""The small transformer that restores hidden patches, and patches as rows of numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def position_embeddings(dim: int, side: int) -> Tensor:
    """Fixed sine and cosine embeddings of a square grid (Vaswani et al. 2017, section 3.5, over rows and columns).

    Args:
        dim: width, divisible by 4: half tells the row, half the column.
        side: patches along one side.

    Returns:
        [1, 1 + side * side, dim], zero for the class token.

    Raises:
        ValueError: `dim` is not divisible by 4.
    """
    if dim % 4:
        raise ValueError(f"the width must be divisible by 4, got {dim}")
    frequencies = 10_000 ** (-torch.arange(dim // 4) / (dim // 4))
    angles = torch.arange(side)[:, None] * frequencies  # [side, dim / 4]
    line = torch.cat([angles.sin(), angles.cos()], 1)  # [side, dim / 2]
    grid = torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], 2).flatten(0, 1)
    return torch.cat([torch.zeros(1, dim), grid])[None]


def patches_of(images: Tensor, patch: int) -> Tensor:
    """Images [batch, channels, height, width] as patches [batch, patches, channels * patch * patch], row by row."""
    batch, channels, height, width = images.shape
    cut = images.view(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


class PatchDecoder(nn.Module):
    """Tokens of visible patches to the pixels of all patches (He et al. 2022, arXiv 2111.06377, section 3).

    Args:
        dim: width of the encoder's tokens.
        side: patches along a side of the image.
        pixels: numbers in a patch.
        hidden_size: width of the decoder, divisible by 4 and by `heads`.
        layers: blocks.
        heads: attention heads.
    """

    positions: Tensor

    def __init__(self, dim: int, side: int, pixels: int, hidden_size: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, hidden_size)
        self.hidden = nn.Parameter(torch.zeros(1, 1, hidden_size))  # stands for a hidden patch
        nn.init.normal_(self.hidden, std=0.02)
        positions = position_embeddings(hidden_size, side)[:, 1:].clone(memory_format=torch.contiguous_format)
        self.register_buffer("positions", positions, persistent=False)  # no part of another: DDP broadcasts it
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden_size, heads, 4 * hidden_size, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm, self.predict = nn.LayerNorm(hidden_size), nn.Linear(hidden_size, pixels)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """The pixels of every patch.

        Args:
            tokens: [batch, prefix + n, dim] of the encoder: those before the patches, then the visible patches.
            kept: [batch, n] numbers of the visible patches.

        Returns:
            [batch, patches, pixels].
        """
        embedded = self.embed(tokens)
        count, prefix = self.positions.shape[1], tokens.shape[1] - kept.shape[1]
        places = kept[:, :, None].expand(-1, -1, embedded.shape[2])
        hidden = self.hidden.to(embedded.dtype).expand(len(tokens), count, -1)
        grid = hidden.scatter(1, places, embedded[:, prefix:]) + self.positions.to(embedded.dtype)
        sequence = torch.cat([embedded[:, :prefix], grid], 1)
        for block in self.blocks:
            sequence = block(sequence)
        found: Tensor = self.predict(self.norm(sequence[:, prefix:]))
        return found
