"""What the class token of a vision transformer looks at."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.hugging_face.images.model_inputs import model_inputs
from lightning_tl.contracts.batches import ImageSpec

_CLASS_TOKENS = ("cls_token", "class_embedding")


@dataclass(frozen=True)
class AttentionMaps:
    """Probabilities: those of the patches and `others` sum to 1 for each image and head.

    Args:
        patches: [batch, heads, rows, columns].
        others: [batch, heads], on the class token itself and on tokens that show no place: registers, prompts.
    """

    patches: Tensor
    others: Tensor


class ClassTokenAttention:
    """Attention of the class token to the patches in the last block, softmax(q k^T / sqrt(dim)) of each head.

    As in figure 1 of Caron et al. 2021 (arXiv 2104.14294). It works on a copy of the backbone, whose attention is
    computed step by step: fused kernels keep no probabilities.

    Args:
        backbone: a ViT or DINOv2, or the image tower of CLIP, of transformers or timm; weights and what adaptations
            added as they are.

    Raises:
        ValueError: it has no class token that attends to patches.
    """

    def __init__(self, backbone: Backbone) -> None:
        spec = backbone.input_spec
        if not isinstance(spec, ImageSpec):
            raise ValueError(f"{type(backbone).__name__} reads texts, which have no patches to look at")
        self._name = f"{type(backbone).__name__} {getattr(backbone, 'arguments', {}).get('pretrained', '')}".rstrip()
        model: Any = getattr(backbone, "model", None)
        if not any(name.endswith(_CLASS_TOKENS) for name, _ in backbone.named_parameters()) or model is None:
            raise self._refusal("it has no class token")
        own: Any = copy.deepcopy(backbone).eval()
        self.backbone = own
        self._prefix = 1
        if hasattr(model, "set_attn_implementation"):
            self._patch = getattr(model.config, "patch_size", None)
            own.model.set_attn_implementation("eager")
        else:
            self._patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
            self._prefix = getattr(model, "num_prefix_tokens", 0)
            for module in own.model.modules():
                if hasattr(module, "fused_attn"):
                    module.fused_attn = False
        self(own.example_inputs(1).to(next(own.parameters())))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> AttentionMaps:
        """Images [batch, channels, height, width], normalised, to maps of as many places as there are patches.

        Raises:
            ValueError: the model keeps no attention of a class token to all patches.
        """
        try:
            found = self._of_transformers(images) if self.of_transformers else self._of_timm(images)
        except (TypeError, AttributeError, IndexError) as error:
            raise self._refusal(str(error).strip().splitlines()[0]) from None
        if self._patch is None or found is None or found.ndim != 4 or found.shape[2] != found.shape[3]:
            raise self._refusal("its last layer keeps no attention between all tokens of an image")
        sides = (self._patch, self._patch) if isinstance(self._patch, int) else tuple(self._patch)[:2]
        rows, columns = images.shape[2] // sides[0], images.shape[3] // sides[1]
        if not 1 <= self._prefix <= found.shape[3] - rows * columns:
            raise self._refusal(f"its last layer has {found.shape[3]} tokens, not one for each patch and a class token")
        row = found[:, :, 0].float()  # [batch, heads, tokens]; patches are the last tokens
        first = row.shape[2] - rows * columns
        return AttentionMaps(row[:, :, first:].reshape(*row.shape[:2], rows, columns), row[:, :, :first].sum(2))

    @property
    def of_transformers(self) -> bool:
        """Whether the model is one of transformers."""
        return hasattr(self.backbone.model, "set_attn_implementation")

    def _of_transformers(self, images: Tensor) -> Tensor | None:
        """[batch, heads, tokens, tokens]."""
        model = self.backbone.model
        outputs = model(**model_inputs(model, images), output_attentions=True)
        kept = getattr(outputs, "attentions", None)
        found: Tensor | None = kept[-1] if kept else None
        return found

    def _of_timm(self, images: Tensor) -> Tensor | None:
        """[batch, heads, tokens, tokens]: what the last block's dropout of probabilities is called with."""
        with _inputs_of(self.backbone.model, "attn_drop") as kept:
            self.backbone(images)
        return kept[-1] if kept else None

    def _refusal(self, why: str) -> ValueError:
        return ValueError(
            f"{self._name} has no attention of a class token to patches ({why}): take a run of a ViT, DINOv2 or CLIP"
        )


@contextmanager
def _inputs_of(model: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """The tensors that modules of this name are called with, in the order of the calls."""
    kept: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
        for path, module in model.named_modules()
        if path.rpartition(".")[2] == name
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
