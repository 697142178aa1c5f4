"""All ranks hold the same weights after every epoch, whatever was thawed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_run import Run, launch

CASES: dict[str, dict[str, Any]] = {
    "one group a phase": {},
    "three groups at once, accumulation": {
        "unfreezing": {"groups_per_phase": 3, "warmup_steps": 2},
        "trainer": {"accumulate_grad_batches": 2},
    },
    "bf16, adapting BatchNorm": {"unfreezing": {"adapt_batch_norm": True}, "trainer": {"precision": "bf16-mixed"}},
    "metric-driven": {
        "unfreezing": {"monitor": "val_loss", "patience": 1, "min_delta": 0.1, "restore_best": True},
        "plateau": True,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_ranks_agree_after_every_epoch(case: str, tmp_path: Path) -> None:
    run = Run(str(tmp_path), world_size=2, save_every=None, **CASES[case])
    first, second = launch(run)
    assert first is not None and second is not None and "error" not in first, (first, second)
    assert first["epochs"] == second["epochs"]
    assert first["history"] == second["history"]
    assert len(set(first["epochs"])) == len(first["epochs"]) == 4, "weights change in every epoch"
    assert first["trainable"][0] == 2 and max(first["trainable"]) > 2, "something was thawed"


def test_one_rank_alone_is_interrupted_and_all_stop(tmp_path: Path) -> None:
    through = launch(Run(str(tmp_path / "through"), world_size=2, save_every=None))
    run = Run(str(tmp_path / "stopped"), world_size=2, save_every=None)
    stopped = launch(Run(run.folder, world_size=2, save_every=None, signal_at=("on_train_batch_start", 10)))
    assert stopped == [
        {"interrupted": 130, "checkpoint": str(run.last)},
        {"interrupted": 0, "checkpoint": str(run.last)},
    ]
    resumed = launch(run)
    assert [r and r["weights"] for r in resumed] == [t and t["weights"] for t in through]
