"""Adaptations: what of a pretrained backbone is trained."""

from lightning_tl.adaptation.base import Adaptation
from lightning_tl.adaptation.frozen import Frozen
from lightning_tl.adaptation.full import Full
from lightning_tl.adaptation.lora import LoRA, merge_lora
from lightning_tl.adaptation.reinitialised import Reinitialised
from lightning_tl.adaptation.top_groups import TopGroups

__all__ = ["Adaptation", "Frozen", "Full", "LoRA", "Reinitialised", "TopGroups", "merge_lora"]
