"""Tiny random models of natural-language inference, saved with a tokenizer as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tiny_text import TINY_TEXT, VOCABULARY, save_tokenizer

BART = transformers.BartConfig(
    vocab_size=VOCABULARY,
    d_model=16,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    max_position_embeddings=40,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=3,
    decoder_start_token_id=3,
)
CONFIGS = {name: config for name, (_, config) in TINY_TEXT.items() if name != "minilm"} | {"bart": BART}
LABELS = ("contradiction", "neutral", "ENTAILMENT")


def save_nli(folder: Path, family: str = "bert", labels: tuple[str, ...] = LABELS, types: bool | None = None) -> Path:
    """A tiny NLI model with a tokenizer that gives token types where the family's own does, or as `types` says."""
    torch.manual_seed(0)
    config = type(CONFIGS[family])(**{**CONFIGS[family].to_dict(), "id2label": dict(enumerate(labels))})
    config.label2id = {label: number for number, label in enumerate(labels)}
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder / family)
    save_tokenizer(folder / family, config.pad_token_id)
    if types or (types is None and family in ("bert", "deberta", "electra")):
        file = folder / family / "tokenizer_config.json"
        names = ["input_ids", "token_type_ids", "attention_mask"]
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": names}))
    return folder / family
