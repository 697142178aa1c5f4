"""Visual prompt tuning: learned tokens beside the patches of an image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_tl.adaptation.added.adapted_folder import write_adapted
from lightning_tl.adaptation.added.trial_run import trial_run
from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.added_parameters import base_of, check_nothing_added
from lightning_tl.backbones.base import Backbone


class _Prompts(nn.Module):
    """Holds the learned tokens before one block: [tokens, dim]."""

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, dim))
        nn.init.trunc_normal_(self.weight, std=0.02)


class VisualPrompts(Adaptation):
    """Freeze a vision transformer and learn tokens between its class token and its patches (VPT, Jia et al., 2022).

    Args:
        tokens: how many.
        deep: fresh ones for the input of every block (equations 5 and 6) instead of the first block's alone
            (equation 4).
    """

    rate = 1.0

    def __init__(self, tokens: int = 20, deep: bool = True) -> None:
        if tokens < 1:
            raise ValueError(f"prompt tuning needs at least 1 token, got {tokens}")
        self.tokens, self.deep = tokens, deep
        self.arguments = {"tokens": tokens, "deep": deep}

    def apply(self, backbone: Backbone) -> None:
        """Put the tokens before the blocks.

        Raises:
            ValueError: the backbone is no vision transformer with a class token.
        """
        check_nothing_added(backbone)
        blocks = _blocks(backbone)
        dim = _token_width(backbone, blocks[0])
        backbone.base = base_of(backbone)
        backbone.requires_grad_(False)
        for block in blocks if self.deep else blocks[:1]:
            block.add_module("prompts", _Prompts(self.tokens, dim).to(next(block.parameters())))
            block.register_forward_pre_hook(_insert if block is blocks[0] else _replace, with_kwargs=True)
        try:
            trial_run(backbone)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{_kind(backbone)} takes no further tokens, as with relative or rotary positions ({reason}); use LoRA "
                "or Adapters"
            ) from None

    def export(
        self, folder: Path, backbone: Backbone, head: nn.Module, class_names: Sequence[str], trained: Collection[str]
    ) -> str:
        """Write tokens and head alone. See `Adaptation`."""
        return write_adapted(folder, self, backbone, head, class_names, trained)


def _insert(block: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Tokens for the first block."""
    return _with_tokens(block, args, kwargs, already=0)


def _replace(block: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Tokens for a later block, in place of what the block before made of its own."""
    return _with_tokens(block, args, kwargs, already=len(block.prompts.weight))


def _with_tokens(block: Any, args: Any, kwargs: Any, already: int) -> tuple[Any, Any]:
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]  # [batch, 1 + already + patches, dim]
    own = block.prompts.weight.to(hidden.dtype).expand(hidden.shape[0], -1, -1)
    hidden = torch.cat([hidden[:, :1], own, hidden[:, 1 + already :]], 1)
    kwargs = {
        name: _widened(value, hidden.shape[1]) if name == "attention_mask" else value for name, value in kwargs.items()
    }
    if not args:
        return args, {**kwargs, "hidden_states": hidden}
    return (hidden, *(_widened(value, hidden.shape[1]) for value in args[1:])), kwargs


def _widened(mask: Any, tokens: int) -> Any:
    """A mask [batch, heads, tokens, tokens] that was made before the prompts came, which no image hides.

    Transformers makes one where a graph is traced, and none else.
    """
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-1] != mask.shape[-2]:
        return mask
    more = tokens - mask.shape[-1]
    return functional.pad(mask, (0, more, 0, more), value=1 if mask.dtype == torch.bool else 0)


def _blocks(backbone: Backbone) -> list[nn.Module]:
    blocks = [group.modules[0] for group in backbone.layer_groups()[1:] if group.modules]
    has_class_token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in backbone.named_parameters())
    if not has_class_token or len({type(block) for block in blocks}) != 1:
        raise ValueError(
            f"VisualPrompts needs a vision transformer with a class token, such as ViT or DINOv2; {_kind(backbone)} "
            "is none"
        )
    if getattr(backbone.model, "global_pool", "token") not in ("token", ""):
        raise ValueError(
            f"VisualPrompts needs a model that pools the class token; {_kind(backbone)} would pool the prompts as well "
            f"(global_pool '{backbone.model.global_pool}')"  # type: ignore[union-attr]
        )
    return blocks


def _token_width(backbone: Backbone, block: nn.Module) -> int:
    widths: list[int] = []
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append((args[0] if args else kwargs["hidden_states"]).shape[-1]),
        with_kwargs=True,
    )
    trial_run(backbone)
    hook.remove()
    return widths[0]


def _kind(backbone: nn.Module) -> str:
    return type(getattr(backbone, "model", backbone)).__name__
