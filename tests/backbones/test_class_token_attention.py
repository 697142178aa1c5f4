"""Attention of the class token, against softmax(q k^T / sqrt(dim)) from the weights of the last block."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tiny_clip import save_clip
from tiny_dense import dense_backbone
from torch import Tensor

from lightning_tl.adaptation import LoRA, VisualPrompts
from lightning_tl.backbones import Backbone, HuggingFaceCLIP, HuggingFaceText, HuggingFaceVision
from lightning_tl.backbones.class_token_attention import ClassTokenAttention


def kept_input(backbone: Backbone, module: torch.nn.Module, images: Tensor) -> Tensor:
    """What a module of the backbone is called with."""
    kept: list[Tensor] = []
    hook = module.register_forward_pre_hook(
        lambda _, args, kwargs: kept.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    with torch.no_grad():
        backbone(images)
    hook.remove()
    return kept[-1]  # [batch, tokens, dim]


def slow(queries: Tensor, keys: Tensor, heads: int) -> NDArray[np.float64]:
    """Probabilities of the first token over all tokens: [batch, heads, tokens], one number at a time."""
    batch, tokens, dim = keys.shape
    wide = dim // heads
    q, k = queries.double().numpy(), keys.double().numpy()
    found = np.zeros((batch, heads, tokens))
    for image in range(batch):
        for head in range(heads):
            part = slice(head * wide, (head + 1) * wide)
            powers = [math.exp(q[image, 0, part] @ k[image, t, part] / math.sqrt(wide)) for t in range(tokens)]
            found[image, head] = np.array(powers) / sum(powers)
    return found


def of_vit(backbone: Any, images: Tensor) -> NDArray[np.float64]:
    last = backbone.model.layers[-1] if hasattr(backbone.model, "layers") else backbone.model.encoder.layer[-1]
    attention = last.attention
    tokens = kept_input(backbone, attention, images)
    with torch.no_grad():
        return slow(attention.q_proj(tokens), attention.k_proj(tokens), attention.num_attention_heads)


def of_clip(backbone: Any, images: Tensor) -> NDArray[np.float64]:
    attention = backbone.model.vision_model.encoder.layers[-1].self_attn
    tokens = kept_input(backbone, attention, images)
    with torch.no_grad():
        return slow(attention.q_proj(tokens), attention.k_proj(tokens), attention.num_heads)


def of_timm(backbone: Any, images: Tensor) -> NDArray[np.float64]:
    attention = backbone.model.blocks[-1].attn
    with torch.no_grad():
        queries, keys, _ = attention.qkv(kept_input(backbone, attention, images)).chunk(3, -1)
    return slow(queries, keys, attention.num_heads)


SLOW: dict[str, Callable[[Any, Tensor], NDArray[np.float64]]] = {
    "vit": of_vit,
    "dinov2": of_vit,
    "dinov2_registers": of_vit,
    "clip": of_clip,
    "timm_vit": of_timm,
}


def made(family: str, folder: Path) -> Backbone:
    found = HuggingFaceCLIP(str(save_clip("clip", folder))) if family == "clip" else dense_backbone(family, folder)
    return found.eval()


@pytest.mark.parametrize("family", SLOW)
def test_probabilities_are_those_of_the_last_block(family: str, tmp_path: Path) -> None:
    backbone = made(family, tmp_path)
    images = backbone.example_inputs(3)
    before = backbone(images)
    found = ClassTokenAttention(backbone)(images)
    expected = SLOW[family](backbone, images)
    rows, columns = found.patches.shape[2:]
    first = expected.shape[2] - rows * columns
    assert first == {"dinov2_registers": 5}.get(family, 1) and rows == columns
    np.testing.assert_allclose(found.patches.flatten(2).numpy(), expected[:, :, first:], atol=1e-5)
    np.testing.assert_allclose(found.others.numpy(), expected[:, :, :first].sum(2), atol=1e-5)
    torch.testing.assert_close(found.patches.sum((2, 3)) + found.others, torch.ones(found.others.shape))
    assert found.patches.std() > 1e-4, "the maps are no constants"
    assert torch.equal(backbone(images), before)  # it is left as it was


@pytest.mark.parametrize("family", ["vit", "timm_vit"])
@pytest.mark.parametrize("adaptation", [LoRA(), VisualPrompts(tokens=3), VisualPrompts(tokens=2, deep=False)])
def test_what_adaptations_added_counts(family: str, adaptation: Any, tmp_path: Path) -> None:
    backbone = made(family, tmp_path)
    plain = ClassTokenAttention(backbone)(backbone.example_inputs(2))
    adaptation.apply(backbone)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "lora" in name or "prompts" in name:
                parameter.add_(torch.ones_like(parameter))
    found = ClassTokenAttention(backbone.eval())(backbone.example_inputs(2))
    assert found.patches.shape == plain.patches.shape
    torch.testing.assert_close(found.patches.sum((2, 3)) + found.others, torch.ones(found.others.shape))
    assert (found.patches - plain.patches).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["swin", "convnext", "timm_convnext", "timm_efficientnet", "torchvision"])
def test_models_without_a_class_token(family: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no attention of a class token to patches \(it has no class token\)"):
        ClassTokenAttention(made(family, tmp_path))


def test_siglip_has_no_class_token(tmp_path: Path) -> None:
    config = transformers.SiglipVisionConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    transformers.SiglipVisionModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="it has no class token"):
        ClassTokenAttention(HuggingFaceVision(str(tmp_path)))


def test_texts_have_no_patches(saved_models: Path) -> None:
    with pytest.raises(ValueError, match="HuggingFaceText reads texts, which have no patches to look at"):
        ClassTokenAttention(HuggingFaceText(str(saved_models / "minilm")))
