"""Adaptations: what of a pretrained backbone is trained."""

from lightning_tl.adaptation.adapt_then_thaw import AdaptThenThaw
from lightning_tl.adaptation.added.adapted_folder import load_adapted
from lightning_tl.adaptation.added.adapters import Adapters
from lightning_tl.adaptation.added.lora import LoRA, merge_lora
from lightning_tl.adaptation.added.prompts import Prompts
from lightning_tl.adaptation.added.visual_prompts import VisualPrompts
from lightning_tl.adaptation.base import Adaptation
from lightning_tl.adaptation.frozen import Frozen
from lightning_tl.adaptation.full import Full
from lightning_tl.adaptation.reinitialised import Reinitialised
from lightning_tl.adaptation.top_groups import TopGroups

__all__ = [
    "AdaptThenThaw",
    "Adaptation",
    "Adapters",
    "Frozen",
    "Full",
    "LoRA",
    "Prompts",
    "Reinitialised",
    "TopGroups",
    "VisualPrompts",
    "load_adapted",
    "merge_lora",
]
