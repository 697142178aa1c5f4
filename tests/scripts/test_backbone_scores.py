"""The changed models of the benchmark of scores are what they are called."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import backbone_scores as benchmark

from lightning_tl.backbones import HuggingFaceVision


def test_changed_models(tmp_path: Path) -> None:
    whole = HuggingFaceVision()
    short = HuggingFaceVision(benchmark.changed_model("lightning_tl/satellite-vit-tiny", tmp_path, blocks=2))
    assert [group.name for group in short.layer_groups()] == ["embeddings", "block.0", "block.1"]
    own = whole.state_dict()
    for name, value in short.state_dict().items():
        assert torch.equal(value, own[name]), name
    shuffled = HuggingFaceVision(benchmark.changed_model("lightning_tl/satellite-vit-tiny", tmp_path, shuffled=True))
    for name, value in shuffled.named_parameters():
        assert torch.equal(value.flatten().sort().values, own[name].flatten().sort().values), name
        assert value.numel() < 100 or value.std() == 0 or not torch.equal(value, own[name]), name
    assert shuffled.input_spec == whole.input_spec
    assert len(list(tmp_path.iterdir())) == 2


def test_candidates_of_each_data_set(tmp_path: Path) -> None:
    assert benchmark.candidates("land cover", tmp_path, quick=True) == [
        "lightning_tl/satellite-vit-tiny",
        "lightning_tl/satellite-vit-tiny,weights=false",
    ]
    assert len(benchmark.candidates("land cover", tmp_path, quick=False)) == 7
