"""Tiny random text encoders of many families, saved with a tokenizer as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = (
    *("a", "and", "bad", "big", "blue", "boat", "book", "car", "cold", "dress", "fine", "fish", "fits"),
    *("good", "great", "green", "hot", "house", "i", "is", "it", "jacket", "love", "not", "of", "old", "poor"),
    *("red", "sad", "shirt", "small", "soft", "the", "this", "very", "warm", "was", "water", "wet", "with"),
    *("wore",),
)
TEXTS = ["this dress fits", "a very soft and warm jacket with a big green fish", "bad"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = len(SPECIAL) + len(WORDS)
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_COMMON = {**_SIZE, "vocab_size": VOCABULARY + 3, "max_position_embeddings": 40, "pad_token_id": 0}
_ROBERTA = {**_COMMON, "pad_token_id": 1, "type_vocab_size": 1}
# family -> (model as saved on the hub, its config)
TINY_TEXT: dict[str, tuple[Any, Any]] = {
    "bert": (transformers.BertForMaskedLM, transformers.BertConfig(**_COMMON)),
    "minilm": (transformers.BertModel, transformers.BertConfig(**_COMMON)),
    "distilbert": (
        transformers.DistilBertForMaskedLM,
        transformers.DistilBertConfig(
            dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=VOCABULARY, max_position_embeddings=40
        ),
    ),
    "roberta": (transformers.RobertaForMaskedLM, transformers.RobertaConfig(**_ROBERTA)),
    "mpnet": (transformers.MPNetForMaskedLM, transformers.MPNetConfig(**{**_COMMON, "pad_token_id": 1})),
    "deberta": (
        transformers.DebertaV2ForMaskedLM,
        transformers.DebertaV2Config(
            **_COMMON,
            relative_attention=True,
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            type_vocab_size=0,
        ),
    ),
    "modernbert": (
        transformers.ModernBertForMaskedLM,
        transformers.ModernBertConfig(**_COMMON, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3),
    ),
    "electra": (transformers.ElectraForPreTraining, transformers.ElectraConfig(**_COMMON, embedding_size=16)),
}

_GPT2 = transformers.GPT2Config(
    vocab_size=VOCABULARY, n_positions=40, n_embd=32, n_layer=2, n_head=2, bos_token_id=3, eos_token_id=3
)


def save_tokenizer(folder: Path, padding: int = 0, words: tuple[str, ...] = ()) -> None:
    """A whole-word tokenizer; `padding` is the number of its padding token."""
    special = [*SPECIAL]
    special[0], special[padding] = special[padding], special[0]
    vocabulary = {word: k for k, word in enumerate((*special, *WORDS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=38,
    )
    fast.save_pretrained(folder)


def save_text_model(family: str, folder: Path) -> Path:
    """A folder as the whole model and its tokenizer save themselves, with random weights that no zeros hide."""
    torch.manual_seed(0)
    model, config = TINY_TEXT[family]
    saved = model(config)
    with torch.no_grad():
        for parameter in saved.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    saved.save_pretrained(folder / family)
    save_tokenizer(folder / family, config.pad_token_id)
    return folder / family


def changed_tokenizer(folder: Path, **settings: Any) -> Path:
    file = folder / "tokenizer_config.json"
    kept = {**json.loads(file.read_text()), **settings}
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))
    return folder


def gpt2(folder: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(_GPT2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return changed_tokenizer(folder, **settings)


def sentence_folder(folder: Path, pooling: dict[str, Any], extra: str | None = None) -> str:
    kinds = ["Transformer", "Pooling", *([extra] if extra else [])]
    modules = [
        {"idx": k, "name": str(k), "path": f"{k}_{kind}" if k else "", "type": f"sentence_transformers.models.{kind}"}
        for k, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return str(folder)
