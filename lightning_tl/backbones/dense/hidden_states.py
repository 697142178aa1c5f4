"""Feature maps of the models of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lightning_tl.backbones.dense.token_grids import channels_first, finest_first, grid_of_tokens


def maps_of(outputs: Any, patch: int | Sequence[int], height: int, width: int) -> tuple[Tensor, ...]:
    """Maps of features, fine to coarse.

    Args:
        outputs: of a model that was asked for its hidden states.
        patch: side of a patch in pixels.
        height: of the images in pixels.
        width: likewise.

    Raises:
        ValueError: the outputs are no grids of places.
    """
    sides = (patch, patch) if isinstance(patch, int) else tuple(patch)[:2]
    hidden: Sequence[Tensor] = getattr(outputs, "hidden_states", None) or ()
    last: Tensor | None = getattr(outputs, "last_hidden_state", None)
    if last is None:
        last = hidden[-1]
    states = getattr(outputs, "reshaped_hidden_states", None) or hidden
    stages = [channels_first(state) for state in states if state.ndim == 4]
    rows, columns = height // sides[0], width // sides[-1]
    final = grid_of_tokens(last, rows, columns) if last.ndim == 3 else channels_first(last)
    return finest_first([*stages, final], height)
