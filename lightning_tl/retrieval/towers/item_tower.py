"""`ItemTower`: an item's text, picture and number to one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_tl.adaptation import Adaptation, Frozen
from lightning_tl.backbones import Backbone, HuggingFaceText
from lightning_tl.contracts.batches import TextInputs
from lightning_tl.retrieval.retrieval_data import Pictures
from lightning_tl.retrieval.towers.item_pictures import encode_pictures
from lightning_tl.retrieval.towers.item_texts import ItemTexts, check_readable, encode_all
from lightning_tl.storage.tensor_digest import parameter_sums
from lightning_tl.training.gather_rows import summed
from lightning_tl.training.pieces import encode_pieces

_UNKNOWN = 0  # row of items without an event in the training window


class ItemTower(nn.Module):
    """Pretrained encoders of the item's text and picture, side by side and projected, plus an embedding of its number.

    Features are centred and scaled before any training, by the mean and spread of the items that have events in the
    training window: those of a sentence encoder all point into one cone. The features of a frozen encoder are computed
    once. While an encoder trains, the items that a batch asks for are encoded anew, and those in histories keep the
    features of the last time that the whole catalogue was encoded. An item without a picture has the mean instead.
    The number's embedding is added to the projection, so that an item that training never saw still has a vector: it
    takes the row for unknown items, which is trained by hiding numbers at random.

    Args:
        encoder: reads title, description and tags; None for items that are known by their numbers alone.
        adaptation: of the encoder; default frozen.
        encoder_lr: rate of its last layer group; default the head's times the adaptation's `rate`.
        picture_encoder: reads the item's picture, and stays frozen.
        ids: whether items have an embedding of their own.
        dim: length of the vectors.
        hidden: width of the projection (Linear, GELU, Dropout, Linear).
        dropout: in the projection, in [0, 1).
        id_dropout: share of the numbers that are hidden in training, in [0, 1).
        live_items: the most items that a training step encodes anew while an encoder trains, drawn for each step; the
            others keep their features. None for all that the batch asks for.
        chunk: texts encoded at once while an encoder trains; larger batches are encoded again in the backward pass,
            chunk by chunk, with the same dropout, so that their memory is that of a chunk (Gao et al. 2021, arXiv
            2101.06983).
    """

    content: Tensor
    rows: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        encoder: HuggingFaceText | None = None,
        adaptation: Adaptation | None = None,
        encoder_lr: float | None = None,
        picture_encoder: Backbone | None = None,
        ids: bool = True,
        dim: int = 128,
        hidden: int = 256,
        dropout: float = 0.1,
        id_dropout: float = 0.05,
        chunk: int = 256,
        live_items: int | None = None,
    ) -> None:
        super().__init__()
        if encoder is None and picture_encoder is None and not ids:
            raise ValueError("an ItemTower without encoders and without ids knows nothing of items: set one of them")
        least = 1 if live_items is None else live_items
        for name, value in (("dim", dim), ("hidden", hidden), ("chunk", chunk), ("live_items", least)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, share in (("dropout", dropout), ("id_dropout", id_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be in [0, 1), got {share}")
        self.encoder, self.adaptation, self.encoder_lr = encoder, adaptation or Frozen(), encoder_lr
        self.picture_encoder = picture_encoder
        self.ids, self.dim, self.hidden, self.dropout, self.id_dropout = ids, dim, hidden, dropout, id_dropout
        self.chunk, self.live_items = chunk, live_items
        self.texts: ItemTexts | None = None
        self.pictures: Pictures | None = None
        self.encoder_moves = False
        self._encoded_as = torch.zeros(0)

    def build(self, texts: Sequence[str], counts: NDArray[np.int64], pictures: Pictures | None = None) -> None:
        """Adapt the encoder and make the rest, once the catalogue is known.

        Args:
            texts: [items]; empty where there is no table of items: these are then known by their numbers alone.
            counts: [items] events in the training window; items with none take the row for unknown ones.
            pictures: for a `picture_encoder`.

        Raises:
            ValueError: texts that are all empty or all the same, or a picture encoder without pictures.
        """
        known = counts > 0
        rows = np.where(known, np.cumsum(known), _UNKNOWN)
        self.register_buffer("rows", torch.from_numpy(rows), persistent=False)
        if self.ids:
            self.embedding = nn.Embedding(int(known.sum()) + 1, self.dim)
            nn.init.normal_(self.embedding.weight, std=0.05)
            nn.init.zeros_(self.embedding.weight[_UNKNOWN].data)
        if self.encoder is not None and len(texts) == 0 and self.ids:
            rank_zero_info("there is no table of items (data.items): they are known by their numbers, without texts")
            self.encoder = None
        if self.encoder is not None:
            check_readable("ItemTower", texts, "set its encoder to null in the recipe")
            self.adaptation.apply(self.encoder)
            self.texts = ItemTexts(self.encoder, texts)
            self.encoder_moves = self.is_live
        if self.picture_encoder is not None:
            if pictures is None:
                raise ValueError("picture_encoder has no pictures to read: name their column with data.picture")
            self.pictures = pictures
            Frozen().apply(self.picture_encoder)
        width = sum(self._widths())
        if width:
            self.projection = nn.Sequential(
                nn.Linear(width, self.hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, self.dim)
            )
        self.register_buffer("content", torch.zeros(0, width), persistent=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.zeros(width))  # 0 until the catalogue was encoded for the first time

    def _widths(self) -> list[int]:
        return [0 if encoder is None else encoder.feature_dim for encoder in (self.encoder, self.picture_encoder)]

    @property
    def is_live(self) -> bool:
        """Whether the encoder trains now."""
        return self.encoder is not None and any(parameter.requires_grad for parameter in self.encoder.parameters())

    @torch.no_grad()
    def refresh(self, rank: int = 0, ranks: int = 1, if_changed: bool = False) -> None:
        """Encode the catalogue with the encoders as they are now, each process its share; what is frozen, only once.

        Args:
            rank: number of this process.
            ranks: number of processes.
            if_changed: an encoder that trains, only if its parameters are others than at the last time.
        """
        first = len(self.content) == 0
        if sum(self._widths()) == 0 or not (first or self.encoder_moves):
            return
        now = torch.zeros(0) if self.encoder is None else parameter_sums(self.encoder).cpu()
        if if_changed and not first and now.equal(self._encoded_as):
            return
        self._encoded_as = now
        text, picture = torch.split(self.content, self._widths(), dim=1)
        if self.encoder is not None:
            assert self.texts is not None, "an item tower is built before it encodes"
            text = summed(encode_all(self.encoder, self.texts, rank, ranks), ranks)
        if self.picture_encoder is not None and first:
            assert self.pictures is not None
            picture = summed(encode_pictures(self.picture_encoder, self.pictures, rank, ranks), ranks)
        if not bool(self.spread.any()):
            self._normalise(text, picture)
        if self.pictures is not None and first:
            picture[~torch.from_numpy(self.pictures.known).to(picture.device)] = self.mean[text.shape[1] :]
        self.content = torch.cat([part for part in (text, picture) if part.shape[1]], dim=1)

    def _normalise(self, text: Tensor, picture: Tensor) -> None:
        """Take mean and spread from the items of the training window, of the pictures from those that have one."""
        trained = self.rows != _UNKNOWN
        known = torch.ones_like(trained)
        if self.pictures is not None:
            known = torch.from_numpy(self.pictures.known).to(trained.device)
        parts = [(text, trained), (picture, trained & known)]
        found = [_mean_and_spread(part[rows]) for part, rows in parts if part.shape[1]]
        self.mean, self.spread = (torch.cat(values) for values in zip(*found, strict=True))

    @property
    def text_content(self) -> Tensor:
        """The kept features of the texts, [items, width]; no columns without an encoder."""
        return self.content[:, : self._widths()[0]]

    def pretrained_content(self, rank: int = 0, ranks: int = 1) -> Tensor | None:
        """What the text encoder says of the catalogue before any training: [items, width]; None without one.

        Encodes the catalogue once more where the encoder was trained, each process its share.
        """
        if self.encoder is None or self.texts is None:
            return None
        if not self.encoder_moves:
            return self.text_content
        original = type(self.encoder)(**self.encoder.arguments).to(self.content.device)
        return summed(encode_all(original, self.texts, rank, ranks), ranks)

    def forward(self, items: Tensor, live: Tensor | None = None) -> Tensor:
        """Vectors of items, before they are scaled to length 1: [items, dim].

        Args:
            items: [items] int64 numbers, different ones.
            live: [items] bool, which of them are encoded anew; None takes the kept features of all.
        """
        vectors = torch.zeros(len(items), self.dim, device=items.device)
        if len(self.mean):
            features = (self._features(items, live) - self.mean) / self.spread.clamp(min=1e-6)
            vectors = vectors + self.projection(features)
        if self.ids:
            rows = self.rows[items]
            if self.training and self.id_dropout:
                rows = rows.masked_fill(torch.rand(len(rows), device=rows.device) < self.id_dropout, _UNKNOWN)
            vectors = vectors + self.embedding(rows)
        return vectors

    def _features(self, items: Tensor, live: Tensor | None) -> Tensor:
        if self.encoder is None and not len(self.content):
            return self._picture_features(items)
        if self.encoder is None or live is None or not bool(live.any()):
            return self.content[items]
        if self.live_items is not None and self.training and int(live.sum()) > self.live_items:
            places = live.nonzero()[:, 0]
            live = torch.zeros_like(live)
            live[places[torch.randperm(len(places), device=places.device)[: self.live_items]]] = True
        wanted = items[live]
        pieces = (self._inputs(part) for part in torch.split(wanted, self.chunk))
        found = encode_pieces(self.encoder, pieces, again=len(wanted) > self.chunk).float()
        text = found if bool(live.all()) else self.text_content[items].masked_scatter(live[:, None], found)
        return text if self.picture_encoder is None else torch.cat([text, self._picture_features(items)], dim=1)

    def _picture_features(self, items: Tensor) -> Tensor:
        """The kept ones, or where the catalogue was not encoded, as for one recommendation, those of these items."""
        text = self._widths()[0]
        if len(self.content):
            return self.content[items, text:]
        assert self.picture_encoder is not None and self.pictures is not None
        wanted = items.cpu().numpy()
        found = encode_pictures(self.picture_encoder, self.pictures, items=wanted)
        known = torch.from_numpy(self.pictures.known[wanted]).to(found.device)
        return torch.where(known[:, None], found, self.mean[text:])

    def _inputs(self, items: Tensor) -> TextInputs:
        assert self.texts is not None
        return self.texts.inputs(items.cpu().numpy(), items.device)


def _mean_and_spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """[items, width] to the mean, and the root of the mean square around it of all columns together, both [width]."""
    if len(features) == 0:
        return features.new_zeros(features.shape[1]), features.new_ones(features.shape[1])
    mean = features.mean(0)
    return mean, (features - mean).square().mean().sqrt().clamp(min=1e-6).expand_as(mean)
