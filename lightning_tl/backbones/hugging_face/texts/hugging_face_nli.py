"""Models of natural-language inference behind the backbone contract: what a text says of given hypotheses."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.exporting.exported import write_pair
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.texts.hugging_face_reader import HEADS, HuggingFaceReader
from lightning_tl.backbones.hugging_face.texts.pair_tokens import PairTokens
from lightning_tl.backbones.opening.weights_resolver import (
    TOKENIZER_FILES,
    lasting_name,
    resolve_weights,
)
from lightning_tl.contracts.batches import TextInputs, TextSpec
from lightning_tl.contracts.file_or_name import FileOrName


class HuggingFaceNLI(HuggingFaceReader):
    """A model of natural-language inference; a text's features are how far it entails each of some hypotheses.

    Any `…ForSequenceClassification` of transformers with an entailment label will do: BERT, RoBERTa, DeBERTa, BART, ….

    Args:
        pretrained: a local folder, or a name from the Hugging Face hub.
        hypotheses: sentences that a text may entail; can be set later, by `ask`.
        rows_per_forward: most pairs of a text and a hypothesis that the model reads at once.
        max_length: most tokens of a pair, special ones included; what does not fit is cut off the text. Default what
            the tokenizer says, at most what the position embeddings allow.
        revision: branch, tag or commit on the hub.
    """

    def __init__(
        self,
        pretrained: FileOrName,
        hypotheses: Sequence[str] = (),
        rows_per_forward: int = 64,
        max_length: int | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if rows_per_forward < 1:
            raise ValueError(f"rows_per_forward must be at least 1, got {rows_per_forward}")
        name = str(pretrained)
        folder = resolve_weights(name, revision, True, TOKENIZER_FILES, None)
        if folder.is_file():
            raise ValueError(f"{name} is a file of weights; HuggingFaceNLI opens a folder with a config.json")
        config = loading.read_config(folder, name)
        self.entailment = _entailment_label(config, name)
        self.model = _open_classifier(folder, name, config)
        self.rows_per_forward = rows_per_forward
        self._tokenizer = _open_tokenizer(folder, name, self._vocab_size())
        limit, why = self.position_limit()
        if max_length is not None and not 3 < max_length <= limit:
            raise ValueError(f"max_length must be from 4 to {limit}, {why}, got {max_length}")
        length = max_length or min(limit, int(self._tokenizer.model_max_length))
        self._spec = TextSpec(str(folder), length, self._vocab_size())
        self.arguments = {"pretrained": lasting_name(name), "rows_per_forward": rows_per_forward, "max_length": length}
        self.ask(hypotheses)

    def ask(self, hypotheses: Sequence[str]) -> None:
        """Set the hypotheses, one feature each.

        Raises:
            ValueError: one is so long that no text fits beside it.
        """
        self.hypotheses = tuple(hypotheses)
        self.feature_dim = len(self.hypotheses)
        self.arguments["hypotheses"] = list(self.hypotheses)
        segments = self._reads_segments() and "token_type_ids" in self._tokenizer.model_input_names
        length = self._spec.max_length
        self._pairs = PairTokens(self._tokenizer, self.hypotheses, length, segments) if hypotheses else None

    def forward(self, inputs: TextInputs) -> Tensor:
        """Tokenised texts to the entailment logits of every hypothesis: [batch, hypotheses]."""
        if self._pairs is None:
            raise ValueError("HuggingFaceNLI has no hypotheses: give them when it is made, or by ask()")
        texts, asked = len(inputs["input_ids"]), self.feature_dim
        rows = torch.arange(texts * asked, device=inputs["input_ids"].device)
        logits = []
        for some in torch.split(rows, self.rows_per_forward):
            pairs = self._pairs.join(inputs, some // asked, some % asked)
            logits.append(self.model(**pairs).logits[:, self.entailment])
        return torch.cat(logits).view(texts, asked)

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(type(self.model)(copy.deepcopy(self.model.config)).state_dict())

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write the NLI model, which transformers opens, with the head and the hypotheses beside it. See `Backbone`."""
        folder = Path(folder)
        with loading.quiet():
            self.model.save_pretrained(folder / "backbone")
        self._tokenizer.save_pretrained(folder / "backbone")
        return write_pair(self, folder, head, class_names)


def _entailment_label(config: Any, name: str) -> int:
    """The number of the label that says that a premise entails a hypothesis."""
    found = [number for number, label in config.id2label.items() if str(label).lower().startswith("entail")]
    if len(found) != 1:
        labels = ", ".join(str(label) for label in config.id2label.values())
        raise ValueError(
            f"{name} has {len(found) or 'no'} entailment label{'s' if found else ''} (its labels: {labels}); take a "
            "model of natural-language inference, or name its labels in id2label of its config.json"
        )
    return int(found[0])


def _open_classifier(folder: Path, name: str, config: Any) -> Any:
    import transformers

    model = loading.open_model(transformers.AutoModelForSequenceClassification, folder, name, config, HEADS)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # of BART's decoder: each pair is read once
    return model


def _open_tokenizer(folder: Path, name: str, vocabulary: int) -> Any:
    tokenizer = loading.open_tokenizer(folder, name, vocabulary)
    if not tokenizer.is_fast:
        raise ValueError(f"{name} has a slow tokenizer; HuggingFaceNLI needs a fast one (tokenizer.json)")
    tokenizer.padding_side = "right"  # positions are counted from the left
    return tokenizer
