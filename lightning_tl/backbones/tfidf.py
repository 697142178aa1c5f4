"""`Tfidf`: which words a text has, without any pretrained weights; a baseline for texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import write_pair
from lightning_tl.backbones.opening.loading_report import read_state
from lightning_tl.backbones.opening.weights_resolver import (
    DEFAULT_TEXT_MODEL,
    TOKENIZER_FILES,
    lasting_name,
    resolve_weights,
)
from lightning_tl.contracts.batches import TextInputs, TextSpec
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.layer_groups import LayerGroup
from lightning_tl.contracts.text_tokenizer import load_tokenizer

_WEIGHTS = "model.safetensors"


class Tfidf(Backbone):
    """Weights of word pieces, and of pairs of them: (1 + ln count) x inverse document frequency, scaled to length 1.

    (Salton and Buckley, 1988.) The document frequencies are learned from training texts, by `TfidfProbe`; before that
    every feature is 0. Pieces have a column each, pairs share `buckets` columns by their hash.

    Args:
        pretrained: whose tokenizer cuts texts into pieces, by name or folder; or a folder that `export` wrote, with
            its document frequencies.
        buckets: columns of pairs.
        max_length: most pieces of a text.

    Raises:
        ValueError: fewer than 1 bucket or 3 pieces, or no tokenizer that can be opened.
    """

    inverse_frequency: Tensor

    def __init__(
        self, pretrained: FileOrName = DEFAULT_TEXT_MODEL, buckets: int = 2**18, max_length: int = 8192
    ) -> None:
        super().__init__()
        folder = resolve_weights(str(pretrained), None, False, TOKENIZER_FILES, DEFAULT_TEXT_MODEL)
        kept = _kept(folder)
        buckets = kept.get("buckets", buckets)
        if buckets < 1 or max_length < 3:
            raise ValueError(f"buckets must be at least 1 and max_length at least 3, got {buckets} and {max_length}")
        self.buckets = buckets
        self._pieces = len(load_tokenizer(TextSpec(str(folder), max_length, 2**62)))
        self._spec = TextSpec(str(folder), max_length, self._pieces)
        self.feature_dim = self._pieces + buckets
        self.arguments = {"pretrained": lasting_name(str(pretrained)), "buckets": buckets, "max_length": max_length}
        self.register_buffer("inverse_frequency", torch.zeros(self.feature_dim))
        if kept:
            self.inverse_frequency.copy_(read_state(folder / _WEIGHTS)["inverse_frequency"])

    @property
    def input_spec(self) -> TextSpec:
        """See `Backbone`."""
        return self._spec

    def example_inputs(self, count: int, longest: int = 8) -> TextInputs:
        """See `Backbone`; texts of `longest` tokens."""
        ids = torch.randint(self._pieces, (count, longest), generator=torch.Generator().manual_seed(0))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def counts(self, inputs: TextInputs) -> tuple[Tensor, Tensor, Tensor]:
        """How often each text has each piece and pair: rows, columns and counts, sorted by row and column."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
        rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        both = mask[:, :-1] & mask[:, 1:]
        pairs = self.places_of_pairs(ids)
        places = torch.cat([(rows * self.feature_dim + ids)[mask], (rows[:, 1:] * self.feature_dim + pairs)[both]])
        found, counts = torch.unique(places, return_counts=True)
        return found // self.feature_dim, found % self.feature_dim, counts

    def places_of_pairs(self, ids: Tensor) -> Tensor:
        """The columns of pieces that follow each other: [texts, tokens] to [texts, tokens - 1]."""
        return self._pieces + (ids[:, :-1] * 0x9E3779B1 + ids[:, 1:] * 0x85EBCA6B) % self.buckets

    def columns_of_pairs(self) -> slice:
        """Where the columns of pairs lie."""
        return slice(self._pieces, self.feature_dim)

    def forward(self, inputs: TextInputs) -> Tensor:
        """Tokenised texts to features [batch, feature_dim]."""
        rows, columns, counts = self.counts(inputs)
        features = torch.zeros(len(inputs["input_ids"]), self.feature_dim, device=self.inverse_frequency.device)
        features[rows, columns] = (1 + counts.float().log()) * self.inverse_frequency.float()[columns]
        return F.normalize(features, dim=1)

    def layer_groups(self) -> list[LayerGroup]:
        """None: nothing is trained by steps."""
        return []

    def reinitialise(self) -> None:
        """Forget the document frequencies."""
        self.inverse_frequency.zero_()

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write tokenizer and document frequencies as `folder/backbone`, and the head beside them. See `Backbone`."""
        from safetensors.torch import save_file

        own = Path(folder) / "backbone"
        own.mkdir(parents=True, exist_ok=True)
        load_tokenizer(self._spec).save_pretrained(own)
        save_file({"inverse_frequency": self.inverse_frequency.detach().cpu().contiguous()}, own / _WEIGHTS)
        settings = {"model_type": "tfidf", "buckets": self.buckets}
        (own / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return write_pair(self, Path(folder), head, class_names)


def _kept(folder: Path) -> dict[str, int]:
    """The settings of a folder that `Tfidf.export` wrote; empty for a folder of another model."""
    file = folder / "config.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if found.get("model_type") == "tfidf" else {}
