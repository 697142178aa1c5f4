"""Losses, one a file."""

from lightning_tl.losses.dice import CrossEntropyAndDice, DiceLoss
from lightning_tl.losses.dino import DinoLoss
from lightning_tl.losses.feature_distance import CosineDistance, WhitenedSmoothL1
from lightning_tl.losses.info_nce import Candidates, InfoNCE
from lightning_tl.losses.nt_xent import NTXent
from lightning_tl.losses.pair_similarity import PairSimilarity
from lightning_tl.losses.pixel_cross_entropy import PixelCrossEntropy

__all__ = [
    "Candidates",
    "CosineDistance",
    "CrossEntropyAndDice",
    "DiceLoss",
    "DinoLoss",
    "InfoNCE",
    "NTXent",
    "PairSimilarity",
    "PixelCrossEntropy",
    "WhitenedSmoothL1",
]
