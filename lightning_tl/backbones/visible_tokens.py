"""A vision transformer that is run on some of an image's patches alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.graph_leaves import reached_leaves
from lightning_tl.backbones.hugging_face.images.model_inputs import model_inputs
from lightning_tl.contracts.batches import ImageSpec


class VisibleTokens:
    """Drops patches behind the position embeddings, so that what is hidden costs nothing (He et al. 2022, section 3).

    It works for transformers in which a token knows its place by what was added to it alone: ViT, DeiT, DINOv2, CLIP
    and others of transformers and timm. Class, distillation and register tokens are kept.

    Args:
        backbone: reads images; it is run once, in evaluation mode.

    Attributes:
        patch: side of a patch in pixels.
        side: patches along a side of the image.
        prefix: tokens before the patches.
        dim: width of a token.
        unused: parameters of the model that tokens do not depend on, such as those of a pooling layer.

    Raises:
        ValueError: the model has no such tokens.
    """

    def __init__(self, backbone: Backbone) -> None:
        spec = backbone.input_spec
        self._model: Any = getattr(backbone, "model", None)
        self._place = _place(self._model)
        self.patch = _patch(self._model)
        name = backbone.arguments.get("pretrained", type(backbone).__name__)
        kind = type(self._model or backbone).__name__
        if not isinstance(spec, ImageSpec) or self._place is None or self.patch == 0 or spec.image_size % self.patch:
            raise ValueError(_refusal(name, kind, "it has no patches of one size with places added to them"))
        self.side = spec.image_size // self.patch
        count, image = self.side**2, torch.zeros(2, spec.channels, spec.image_size, spec.image_size)
        image = image.to(next(backbone.parameters()).device)
        modes = [(module, module.training) for module in backbone.modules()]
        backbone.eval()
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                whole = self._run(image)
                self.prefix, self.dim = whole.shape[1] - count, whole.shape[2]
                kept = torch.arange(0, count, 2, device=image.device).expand(2, -1)
                part = self(image, kept)
                reached = reached_leaves(part.sum())
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ValueError(_refusal(name, kind, reason)) from None
        finally:
            for module, training in modes:
                module.training = training
        if self.prefix < 0 or part.shape != (2, self.prefix + kept.shape[1], self.dim):
            raise ValueError(_refusal(name, kind, f"it made {list(part.shape)} of {kept.shape[1]} of {count} patches"))
        self.unused = [parameter for parameter in backbone.parameters() if id(parameter) not in reached]

    def __call__(self, images: Tensor, kept: Tensor) -> Tensor:
        """The last layer's tokens, behind its norm.

        Args:
            images: [batch, channels, height, width], normalised.
            kept: [batch, n] numbers of the patches that are seen, row by row from 0.

        Returns:
            [batch, prefix + n, dim], in the order of `kept`.
        """
        with self._only(kept):
            return self._run(images)

    def _run(self, images: Tensor) -> Tensor:
        if hasattr(self._model, "forward_features"):
            tokens = self._model.forward_features(images)
        else:
            tokens = self._model(**model_inputs(self._model, images)).last_hidden_state
        if not isinstance(tokens, Tensor) or tokens.ndim != 3:
            raise ValueError("its last layer gives no tokens")
        return tokens

    @contextmanager
    def _only(self, kept: Tensor) -> Iterator[None]:
        def pick(module: nn.Module, arguments: tuple[Any, ...], tokens: Any) -> Tensor:
            if not isinstance(tokens, Tensor) or tokens.ndim != 3:
                raise ValueError("what it makes of patches is no sequence of tokens")
            places = kept + (tokens.shape[1] - self.side**2)
            seen = tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
            return torch.cat([tokens[:, : tokens.shape[1] - self.side**2], seen], 1)

        assert self._place is not None
        hook = self._place.register_forward_hook(pick)
        try:
            yield
        finally:
            hook.remove()


def _place(model: Any) -> nn.Module | None:
    """The module behind which tokens know their places, and any may be left out."""
    if hasattr(model, "forward_features"):
        found = getattr(model, "patch_drop", None)  # timm's own place for it
    else:
        found = getattr(model, "embeddings", None) or getattr(getattr(model, "vision_model", None), "embeddings", None)
    return found if isinstance(found, nn.Module) else None


def _patch(model: Any) -> int:
    """Side of a patch in pixels; 0 where there is no one size."""
    found: Any = getattr(getattr(model, "config", None), "patch_size", None)
    if found is None:
        found = getattr(getattr(model, "patch_embed", None), "patch_size", 0)
    sides = {found} if isinstance(found, int) else set(found)
    return sides.pop() if len(sides) == 1 else 0


def _refusal(name: str, kind: str, reason: str) -> str:
    return (
        f"{name} ({kind}) cannot be run on some of its patches alone ({reason}): take a ViT, DeiT or DINOv2 of "
        "transformers or timm, or lightning_tl.pretraining.MaskedPixels, which hides pixels"
    )
