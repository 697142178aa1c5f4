"""What Hugging Face models that read texts share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lightning_tl.backbones.hugging_face_backbone import HuggingFaceBackbone
from lightning_tl.batches import TextInputs, TextSpec

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
            most: tokens of a text, where `max_length` is more; None for `max_length`.
        """
        found = _tokenizer(self._spec.tokenizer)(
            list(texts),
            padding=True,
            truncation=True,
            max_length=min(self._spec.max_length, most or self._spec.max_length),
            return_tensors="pt",
            return_token_type_ids=self._spec.segments,
        )
        inputs: TextInputs = found.data
        return inputs

    def example_inputs(self, count: int) -> TextInputs:
        """See `Backbone`; texts of different lengths."""
        generator = torch.Generator().manual_seed(0)
        longest = min(8, self._spec.max_length)
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
        return int(self.model.get_input_embeddings().num_embeddings)

    def position_limit(self) -> tuple[int, str]:
        """The longest text that the weights can read, and why."""
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
                return module.num_embeddings - offset, "the number of position embeddings"
        limit = getattr(self.model.config, "max_position_embeddings", None) or NO_LIMIT
        return int(limit), "the config's max_position_embeddings"


@functools.lru_cache(maxsize=4)
def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
