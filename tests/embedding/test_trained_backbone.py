"""A run's weights go into a backbone that reads the bands of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import tiny_vit

from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.run_description import RunDescription, input_fields
from lightning_tl.embedding import load_trained_backbone
from lightning_tl.strategies import FineTune


def test_weights_of_a_run_with_other_bands_than_the_pretrained_ones(tmp_path: Path) -> None:
    bands = ("red", "green", "blue", "nir")
    spec = ImageSpec(4, 4, (0.1,) * 4, (0.2,) * 4, bands)
    trained = FineTune(tiny_vit(tmp_path))
    trained.backbone.take_input(spec)
    state = {name: value + 0.01 for name, value in trained.state_dict().items()}
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    torch.save(
        {"state_dict": state, "epoch": 0, "global_step": 0, "pytorch-lightning_version": "2.6.6"},
        run / "checkpoints" / "best.ckpt",
    )
    with pytest.raises(ValueError, match="does not fit"):
        load_trained_backbone(FineTune(tiny_vit(tmp_path)), run / "checkpoints" / "best.ckpt")
    RunDescription(class_names=("a", "b"), input=input_fields(spec)).write(run)
    module = FineTune(tiny_vit(tmp_path))
    load_trained_backbone(module, run / "checkpoints" / "best.ckpt")
    assert module.backbone.input_spec == spec
    found = module.backbone.state_dict()
    assert all(torch.equal(value, state[f"backbone.{name}"]) for name, value in found.items())
