"""Self-supervised pretraining of backbones."""

from lightning_tl.pretraining.clip.clip import Clip
from lightning_tl.pretraining.clip.continued_clip import ContinuedClip
from lightning_tl.pretraining.clip.zero_shot_probe import ZeroShotProbe
from lightning_tl.pretraining.contrastive import ContrastivePretraining
from lightning_tl.pretraining.dino.dino import Dino
from lightning_tl.pretraining.feature_distillation import FeatureDistillation
from lightning_tl.pretraining.masked_autoencoder import MaskedAutoencoder
from lightning_tl.pretraining.masked_language_model import MaskedLanguageModel
from lightning_tl.pretraining.masked_pixels import MaskedPixels
from lightning_tl.pretraining.online_probe import OnlineProbe
from lightning_tl.pretraining.pretraining import Pretraining

__all__ = [
    "Clip",
    "ContinuedClip",
    "ContrastivePretraining",
    "Dino",
    "FeatureDistillation",
    "MaskedAutoencoder",
    "MaskedLanguageModel",
    "MaskedPixels",
    "OnlineProbe",
    "Pretraining",
    "ZeroShotProbe",
]
