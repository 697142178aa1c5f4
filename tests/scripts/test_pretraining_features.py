"""`scripts/tools/make_pretraining_features.py`: features of what the shipped ViT was pretrained on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lightning_tl.choosing.distance.kept_features import beside_weights, read_features

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "tools"))

from make_pretraining_features import features


def test_features_of_its_pretraining_came_with_the_shipped_vit() -> None:
    """What the script writes today, to the last bits of other processors."""
    made, backbone = features()
    kept = read_features(beside_weights(backbone), backbone, "the shipped ViT")
    assert kept.name == made.name and kept.blocks is not None and np.array_equal(kept.blocks, made.blocks)
    np.testing.assert_allclose(kept.values, made.values, rtol=2e-3, atol=2e-3)
    assert len(np.unique(kept.blocks)) > 600 and (kept.blocks >= 0).all()
