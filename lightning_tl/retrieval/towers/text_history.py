"""`TextHistory`: a user tower that reads the texts of a history with a pretrained encoder."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.notice import Notice
from lightning_tl.retrieval.retrieval_data import RetrievalData
from lightning_tl.retrieval.towers.item_texts import check_readable
from lightning_tl.retrieval.towers.user_tower import UserTower

BETWEEN = "; "  # titles


class TextHistory(UserTower):
    """The titles of the last items as one text, the newest first, so that the oldest are cut off.

    Each query is a text of its own, so that training costs as much as all of these texts: read a share of them alone
    (`train_share`), or set the data's `queries_per_row` to a few.

    Args:
        encoder: reads the texts.
        adaptation: of the encoder; default frozen.
        encoder_lr: rate of its last layer group; default the head's times the adaptation's `rate`.
        items: the most titles that are put together.
        tokens: the most of a history that are read, which is what it costs; 64 hold some ten titles. An encoder whose
            own `max_length` is less reads that.
        hidden: width of the projection (Linear, GELU, Dropout, Linear).
        dropout: in the projection, in [0, 1).
        chunk: texts encoded at once; see `ItemTower`.
        beside: a user tower without an encoder, whose vector is added: it reads more of a history, the items' numbers
            and the profile, none of which are in the text. None for the text alone.
        train_share: of the queries of a training batch whose text is read, drawn anew for each batch, in (0, 1]; the
            others are what stands beside alone, as in modality dropout (Neverova et al. 2015, arXiv 1501.00102).
    """

    encoder: HuggingFaceText

    def __init__(
        self,
        encoder: HuggingFaceText,
        adaptation: Adaptation | None = None,
        encoder_lr: float | None = None,
        items: int = 20,
        tokens: int = 64,
        hidden: int = 256,
        dropout: float = 0.1,
        chunk: int = 256,
        beside: UserTower | None = None,
        train_share: float = 1.0,
    ) -> None:
        super().__init__(encoder, adaptation, encoder_lr)
        if beside is not None and beside.encoder is not None:
            raise ValueError(
                "beside must be a user tower without an encoder, such as HistoryTransformer, "
                f"got {type(beside).__name__}"
            )
        for name, value in (("items", items), ("tokens", tokens), ("hidden", hidden), ("chunk", chunk)):
            if value < (least := 3 if name == "tokens" else 1):  # two tokens are special
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.most, self.tokens, self.hidden, self.dropout, self.chunk = items, tokens, hidden, dropout, chunk
        if not 0 < train_share <= 1:
            raise ValueError(f"train_share must be in (0, 1], got {train_share}")
        if train_share < 1 and beside is None:
            raise ValueError(f"a train_share below 1, got {train_share}, needs a tower beside that serves the others")
        self.beside, self.train_share = beside, train_share
        self._titles: list[str] = []

    @property
    def reads_items(self) -> bool:
        """See `UserTower`."""
        return self.beside is not None

    def build(self, dim: int, data: RetrievalData) -> None:
        """See `UserTower`.

        Raises:
            ValueError: titles that are all empty, or all the same.
        """
        self._titles = list(data.item_titles)
        check_readable("TextHistory", self._titles, "take a user tower without an encoder, such as HistoryTransformer")
        if not any(data.item_texts) and self._titles == list(data.training_log.item_ids):
            rank_zero_warn(
                "TextHistory reads the items' ids, since their table has no column title, description or tags: "
                "name its columns of texts with data.texts",
                category=Notice,
            )
        self.adaptation.apply(self.encoder)
        width = self.encoder.feature_dim
        self.projection = nn.Sequential(
            nn.Linear(width, self.hidden), nn.GELU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, dim)
        )
        if self.beside is not None:
            self.beside.build(dim, data)

    def texts(self, history: Tensor, row: Tensor, position: Tensor) -> list[str]:
        """What the encoder reads of each query; empty without a history."""
        rows = history.tolist()
        return [
            BETWEEN.join(self._titles[item] for item in reversed(rows[r][max(0, p - self.most) : p]))
            for r, p in zip(row.tolist(), position.tolist(), strict=True)
        ]

    def forward(self, history: Tensor, vectors: Tensor, profile: Tensor, row: Tensor, position: Tensor) -> Tensor:
        """See `UserTower`."""
        if self.beside is None:
            return self._read(history, row, position)
        found: Tensor = self.beside(history, vectors, profile, row, position)
        if not self.training or self.train_share == 1:
            return found + self._read(history, row, position)
        count = max(1, round(self.train_share * len(row)))
        some = torch.randperm(len(row), device=row.device)[:count]
        return found.index_add(0, some, self._read(history, row[some], position[some]).to(found.dtype))

    def _read(self, history: Tensor, row: Tensor, position: Tensor) -> Tensor:
        texts = self.texts(history, row, position)
        several = len(texts) > self.chunk
        starts = range(0, len(texts), self.chunk)
        pieces = [self._encode(texts[start : start + self.chunk], several) for start in starts]
        found: Tensor = self.projection(torch.cat(pieces))
        return found

    def _encode(self, texts: list[str], again: bool) -> Tensor:
        device = next(self.encoder.parameters()).device
        inputs = {name: value.to(device) for name, value in self.encoder.tokenize(texts, self.tokens).items()}  # type: ignore[attr-defined]
        trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.encoder.parameters())
        with torch.set_grad_enabled(trains):
            if again and trains:
                return checkpoint(self.encoder, inputs, use_reentrant=False)  # type: ignore[no-any-return]
            return self.encoder(inputs)  # type: ignore[no-any-return]
