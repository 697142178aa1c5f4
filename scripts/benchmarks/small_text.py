"""Every family of `AutoModelForSequenceClassification` as a small model with random weights and a tokenizer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

WORDS = ("a", "bad", "big", "boat", "book", "dress", "fish", "fits", "good", "is", "it", "jacket", "not", "red", "soft")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Set wherever a family's own configuration has the setting, under whatever name.
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "head_dim": 16,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "moe_intermediate_size": 16,
    "d_kv": 16,
    "d_ff": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "entity_vocab_size": 8,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_head_dim": 16,
    "v_head_dim": 16,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
    "cls_token_id": 2,
    "decoder_start_token_id": 2,
}
_MOST = 50_000_000  # weights of a model that is called small
_REFORMER = {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16], "attention_head_size": 16, "is_decoder": False}
_LOCAL = {"local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8, "feed_forward_size": 48, "num_buckets": 4}
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
_LINEAR_ATTENTION = {"layer_types": ["linear_attention", "full_attention"]} | {
    f"linear_{name}": value
    for name, value in {"key_head_dim": 8, "value_head_dim": 8, "num_key_heads": 2, "num_value_heads": 4}.items()
}
_ZAMBA: dict[str, Any] = {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2} | {
    "mamba_d_state": 4,
    "mamba_d_conv": 2,
    "mamba_expand": 2,
}
# What else makes a family's own configuration small.
SMALL: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "n_routed_experts": 4, "head_dim": 8},
    "deepseek_v3": {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "n_routed_experts": 4, "head_dim": 8},
    "axk1": {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "n_routed_experts": 4, "head_dim": 8},
    "mistral4": {"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "n_routed_experts": 4, "head_dim": 16},
    "cohere_compass_text": {"rope_parameters": {"full_attention": _ROPE | {"mrope_section": [3, 3, 2]}}},
    "distilbert": {"hidden_dim": 48},
    "ctrl": {"dff": 48},
    "opt": {"ffn_dim": 48},
    "funnel": {"block_sizes": [1, 1], "d_head": 16, "d_inner": 48},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
    | {"num_experts": 2, "use_mamba_kernels": False, "mamba_d_state": 4},
    "longformer": {"attention_window": 16},
    "mobilebert": {"true_hidden_size": 32, "intra_bottleneck_size": 32},
    "perceiver": {"num_latents": 8, "d_latents": 32, "d_model": 32, "num_self_attends_per_block": 2}
    | {"num_self_attention_heads": 2, "num_cross_attention_heads": 1},
    "reformer": {"attn_layers": ["local", "lsh"], "hash_seed": 0, **_REFORMER, **_LOCAL},
    "xlnet": {"d_inner": 48},
    "qwen3_5_text": _LINEAR_ATTENTION,
    "qwen3_next": {
        **_LINEAR_ATTENTION,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "shared_expert_intermediate_size": 16,
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": _ZAMBA,
    "zamba2": {**_ZAMBA, "n_mamba_heads": 4, "mamba_ngroups": 1, "chunk_size": 8},
}
LEFT_OUT = {
    **dict.fromkeys(["gemma3", "modernvbert", "qwen3_5", "t5gemma2", "ultravbert"], "reads images beside texts"),
    **dict.fromkeys(["layoutlm", "layoutlmv2", "layoutlmv3", "lilt"], "reads the places of words on a page"),
    "markuplm": "reads the places of words in a web page",
    "tapas": "reads a table beside a question",
}


def families() -> dict[str, str]:
    """Name of the classifier of every family, by its model_type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as NAMES

    return dict(NAMES)


def small_config(family: str) -> Any:
    """A family's own configuration, small.

    Raises:
        ValueError: it does not go together with these settings.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    build: Any = CONFIG_MAPPING[family]
    known, renamed = build().to_dict(), build.attribute_map or {}
    sizes = {renamed.get(key, key): value for key, value in _SIZES.items() if renamed.get(key, key) in known}
    for part in ("encoder", "decoder"):  # as T5Gemma keeps them
        if isinstance(known.get(part), dict):
            sizes[part] = {key: value for key, value in _SIZES.items() if key in known[part]}
    try:
        return build(**{**sizes, **SMALL.get(family, {}), "pad_token_id": 0})
    except StrictDataclassError as error:
        raise ValueError(str(error)) from None


def save_small(family: str, kind: str, folder: Path) -> Path:
    """A folder as `save_pretrained` of the whole classifier writes it, with random weights that no zeros hide.

    Args:
        kind: name of the classifier's class.

    Raises:
        ImportError: the family needs a library that is not installed.
        ValueError: these settings do not make it small.
    """
    import transformers

    torch.manual_seed(0)
    config = small_config(family)
    # Funnel's classifier leaves out the decoder of its own base model.
    build = getattr(transformers, "FunnelModel" if family == "funnel" else kind)
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build(copy.deepcopy(config)).parameters())
    if weights > _MOST:
        raise ValueError(f"{weights:,} weights are more than {_MOST:,}")
    model = build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    _save_tokenizer(folder)
    return folder


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: k for k, word in enumerate((*_SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    build: Any = PreTrainedTokenizerFast
    names = dict(unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    build(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
