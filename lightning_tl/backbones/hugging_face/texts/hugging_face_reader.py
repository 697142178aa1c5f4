"""What Hugging Face models that read texts share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lightning_tl.backbones.hugging_face.hugging_face_backbone import HuggingFaceBackbone
from lightning_tl.contracts.batches import TextInputs, TextSpec
from lightning_tl.contracts.text_tokenizer import encode, load_tokenizer

# What checkpoints of language models hold besides the encoder.
HEADS = re.compile(
    r"^(cls|lm_head|mlm_head|generator_lm_head|vocab_\w+|lm_predictions|mask_predictions|\w+ator_predictions"
    r"|pre_classifier|qa_outputs|score|head|embeddings_project)\."
)
# A tokenizer that names no limit says 1e30.
NO_LIMIT = 1_000_000


class HuggingFaceReader(HuggingFaceBackbone):
    """Base: a model of texts in `model`, and in `_spec` its tokenizer and length, which a subclass sets."""

    # Where blocks lie in the models of transformers; a subclass for a model built otherwise changes it.
    block = re.compile(r"((?:.*?\.)?(?:layers?|blocks?|h)\.\d+)\.")
    # Relative positions and prompts are registered after the blocks, which read them: they go with the input.
    shared = re.compile(r"(^|\.)(rel_embeddings|relative_attention_bias|prompts)\.|(^|\.)encoder\.LayerNorm\.")

    _spec: TextSpec

    @property
    def input_spec(self) -> TextSpec:
        """See `Backbone`."""
        return self._spec

    def tokenize(self, texts: Sequence[str], most: int | None = None) -> TextInputs:
        """Texts to padded tokens, as `forward` takes them; what is longer than `max_length` is cut off.

        Args:
            texts: one for each row of the batch.
            most: tokens of a text, where `max_length` is more; None for `max_length`.
        """
        tokenizer = _tokenizer(self._spec)
        found = encode(tokenizer, texts, None, self._spec, most)
        lengths = [len(ids) for ids in found["input_ids"]]
        width = max(lengths, default=0)
        inputs: TextInputs = {
            "input_ids": _padded(found["input_ids"], width, int(tokenizer.pad_token_id)),
            "attention_mask": _padded([[1] * length for length in lengths], width, 0),
        }
        if self._spec.segments:
            inputs["token_type_ids"] = _padded(found["token_type_ids"], width, 0)
        return inputs

    def example_inputs(self, count: int, longest: int = 8) -> TextInputs:
        """See `Backbone`; texts of different lengths.

        Args:
            count: of texts.
            longest: the most tokens of a text.
        """
        generator = torch.Generator().manual_seed(0)
        longest = min(longest, self._spec.max_length)
        ids = torch.randint(self._spec.vocab_size, (count, longest), generator=generator)
        padding = getattr(self.model.config, "pad_token_id", None)
        ids[ids == padding] = 0 if padding != 0 else 1  # RoBERTa takes the padding token for padding whatever the mask
        lengths = torch.arange(count) % (longest - 2) + 3
        mask = (torch.arange(longest) < lengths[:, None]).long()
        return {"input_ids": ids.where(mask.bool(), torch.tensor(padding or 0)), "attention_mask": mask}

    def _reads_segments(self) -> bool:
        several = getattr(self.model.config, "type_vocab_size", 0) > 1  # RoBERTa has one kind of segment
        return several and "token_type_ids" in inspect.signature(self.model.forward).parameters

    def _vocab_size(self) -> int:
        return int(self.model.get_input_embeddings().weight.shape[0])

    def position_limit(self) -> tuple[int, str]:
        """The longest text that the weights can read, and why."""
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
                return module.num_embeddings - offset, "the number of position embeddings"
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and limit > 0:  # XLNet says -1
            return int(limit), "the config's max_position_embeddings"
        return NO_LIMIT, "the most tokens of a text"


@functools.lru_cache(maxsize=4)
def _tokenizer(spec: TextSpec) -> Any:
    return load_tokenizer(spec)


def _padded(rows: Sequence[list[int]], width: int, fill: int) -> torch.Tensor:
    values = [row + [fill] * (width - len(row)) for row in rows]
    return torch.tensor(values, dtype=torch.int64).reshape(len(rows), width)
