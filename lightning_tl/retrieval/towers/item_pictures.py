"""The pictures of a catalogue as features of an image encoder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.reports.progress import progress_bar
from lightning_tl.retrieval.retrieval_data import Pictures
from lightning_tl.retrieval.towers.item_texts import WORTH_TELLING

_AT_ONCE = 64


@torch.no_grad()
def encode_pictures(
    encoder: Backbone, pictures: Pictures, rank: int = 0, ranks: int = 1, items: NDArray[np.int64] | None = None
) -> Tensor:
    """Features of items' pictures, [items, feature_dim] float32, on the encoder's device; 0 without a picture.

    Args:
        encoder: of images; it is left in its mode.
        pictures: of the catalogue.
        rank: this process computes every `ranks`-th batch from here on; the others' rows are 0.
        ranks: number of processes.
        items: which; default the whole catalogue.

    Raises:
        ValueError: an encoder that reads no images, or a picture that cannot be read.
    """
    spec = encoder.input_spec
    if not isinstance(spec, ImageSpec):
        raise ValueError(
            f"picture_encoder must read images, such as HuggingFaceVision; {type(encoder).__name__} does not"
        )
    device = next(encoder.parameters()).device
    items = np.arange(len(pictures.known)) if items is None else items
    table = torch.zeros(len(items), encoder.feature_dim, device=device)
    was_training = encoder.training
    encoder.eval()
    shown = np.flatnonzero(pictures.known[items])
    told = f"Encoding the pictures of {len(shown):,} items"
    bar = progress_bar(len(shown), "Encoding pictures", "items", rank == 0 and len(shown) >= WORTH_TELLING, told)
    for number, start in enumerate(range(0, len(shown), _AT_ONCE)):
        places = shown[start : start + _AT_ONCE]
        if number % ranks == rank:
            features = encoder(pictures.inputs(items[places], spec).to(device))
            table[torch.from_numpy(places).to(device)] = features.float()
        bar.update(len(places))
    bar.close()
    encoder.train(was_training)
    return table
