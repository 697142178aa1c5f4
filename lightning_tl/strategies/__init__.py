"""Adaptation strategies, each a LightningModule."""

from lightning_tl.strategies.adapter_fine_tune import AdapterFineTune
from lightning_tl.strategies.contrastive_few_shot import ContrastiveFewShot
from lightning_tl.strategies.fine_tune import FineTune
from lightning_tl.strategies.from_scratch import FromScratch
from lightning_tl.strategies.lora_fine_tune import LoRAFineTune
from lightning_tl.strategies.probe.linear_probe import LinearProbe
from lightning_tl.strategies.probe.nearest_class_mean import NearestClassMean
from lightning_tl.strategies.probe.tfidf_probe import TfidfProbe
from lightning_tl.strategies.prompt_tuning import PromptTuning
from lightning_tl.strategies.zero_shot.zero_shot import ZeroShot
from lightning_tl.strategies.zero_shot.zero_shot_nli import ZeroShotNLI

__all__ = [
    "AdapterFineTune",
    "ContrastiveFewShot",
    "FineTune",
    "FromScratch",
    "LinearProbe",
    "LoRAFineTune",
    "NearestClassMean",
    "PromptTuning",
    "TfidfProbe",
    "ZeroShot",
    "ZeroShotNLI",
]
