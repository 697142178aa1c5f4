"""Answers without training: class names as texts for CLIP, hypotheses for models of entailment.

Nothing here has an optimizer.
"""

from lightning_tl.strategies.zero_shot.zero_shot import ZeroShot
from lightning_tl.strategies.zero_shot.zero_shot_nli import ZeroShotNLI

__all__ = ["ZeroShot", "ZeroShotNLI"]
