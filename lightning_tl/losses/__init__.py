"""Losses, one a file."""

from lightning_tl.losses.info_nce import Candidates, InfoNCE
from lightning_tl.losses.nt_xent import NTXent
from lightning_tl.losses.pair_similarity import PairSimilarity

__all__ = ["Candidates", "InfoNCE", "NTXent", "PairSimilarity"]
