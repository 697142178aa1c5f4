"""Ours keeps the promises that the benchmark of unfreezing puts to its peers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "scripts" / "benchmarks"))

import unfreezing_peers as peers

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose


@pytest.mark.parametrize("promise", peers.PROMISES)
def test_ours_keeps_it(promise: str, tmp_path: Path) -> None:
    assert peers.PROMISES[promise](peers.OURS, tmp_path) == ""


def test_a_broken_promise_is_told(tmp_path: Path) -> None:
    """Statistics of BatchNorm move under Lightning's callback, whose frozen layers stay in training mode."""
    assert "running_mean" in peers.frozen_stays(peers.PEERS[1], tmp_path)
