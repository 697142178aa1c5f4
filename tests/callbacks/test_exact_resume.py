"""A run that is killed and resumed ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_run import Hook, Run, killed_and_resumed, launch

SCENARIOS: dict[str, dict[str, Any]] = {
    "a phase each epoch": {},
    "accumulation, cosine, warm-up": {"trainer": {"accumulate_grad_batches": 2}, "unfreezing": {"warmup_steps": 5}},
    "one-cycle, decay": {"one_cycle": True, "unfreezing": {"decay": 0.5, "groups_per_phase": 2}},
    "plateau, metric-driven, best restored": {
        "plateau": True,
        "unfreezing": {"monitor": "val_loss", "patience": 1, "min_delta": 0.05, "restore_best": True},
        "trainer": {"max_epochs": 6},
    },
    "early stopping ends phases": {
        "early_stopping": 1,
        "unfreezing": {"milestones": [3, 5], "adapt_batch_norm": True},
        "trainer": {"max_epochs": 7},
        "module": {"lr": 0.5},
    },
    "validation in mid-epoch": {"trainer": {"val_check_interval": 3}, "plateau": True},
    "bf16": {"trainer": {"precision": "bf16-mixed"}},
    "a limit in steps": {"trainer": {"max_epochs": -1, "max_steps": 27}},
    "a limit in steps, validation every second epoch": {
        "trainer": {"max_epochs": -1, "max_steps": 28, "check_val_every_n_epoch": 2, "accumulate_grad_batches": 1},
    },
    "worker processes": {"workers": 2},
}
BATCH = "on_train_batch_start"
KILLS: dict[str, list[Hook]] = {
    "in every phase, mid-epoch": [(BATCH, 3), (BATCH, 8), (BATCH, 8), (BATCH, 8)],
    "at an epoch's first batch": [(BATCH, 7), (BATCH, 0)],
    "in a step, in validation, at an epoch's end": [
        ("on_before_optimizer_step", 2),
        ("on_validation_batch_start", 2),
        ("on_train_epoch_end", 0),
    ],
}
_references: dict[str, Any] = {}


def reference(name: str, folder: Path) -> Any:
    if name not in _references:
        _references[name] = launch(Run(str(folder / "through"), **SCENARIOS[name]))
    return _references[name]


def check(name: str, kills: list[Hook], tmp_path: Path) -> None:
    through = reference(name, tmp_path)
    resumed = killed_and_resumed(Run(str(tmp_path / "killed"), **SCENARIOS[name]), kills)
    for rank, (expected, got) in enumerate(zip(through, resumed, strict=True)):
        assert got is not None and expected is not None and "error" not in expected, (expected, got)
        assert got["weights"] == expected["weights"], f"rank {rank}: {got} instead of {expected}"
        for what in ("history", "step", "logged_steps", "lr", "best"):
            assert got[what] == expected[what], what
        assert got["epochs"] == expected["epochs"][-len(got["epochs"]) :]


@pytest.mark.parametrize(
    ("name", "kill"),
    [pytest.param(s, k, id=f"{s}: {k}") for s in SCENARIOS for k in KILLS],
)
def test_one_process(name: str, kill: str, tmp_path: Path) -> None:
    check(name, KILLS[kill], tmp_path)


@pytest.mark.parametrize("trainer", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulation"])
def test_two_ranks(trainer: dict[str, Any], tmp_path: Path) -> None:
    name = f"two ranks {trainer}"
    SCENARIOS[name] = {"world_size": 2, "trainer": {"max_epochs": 3, **trainer}, "unfreezing": {"groups_per_phase": 2}}
    check(name, [(BATCH, 2), (BATCH, 5)], tmp_path)


def test_the_scenarios_do_what_their_names_say(tmp_path: Path) -> None:
    metric = reference("plateau, metric-driven, best restored", tmp_path / "a")[0]
    assert any("val_loss has not improved" in entry["reason"] for entry in metric["history"])
    stopped = reference("early stopping ends phases", tmp_path / "b")[0]
    assert any("early stopping" in entry["reason"] for entry in stopped["history"])
    phases = reference("a phase each epoch", tmp_path / "c")[0]
    assert [entry["groups"][0] for entry in phases["history"]] == ["head", "block.1", "block.0", "embeddings"]
    assert [entry["step"] for entry in phases["history"]] == [0, 7, 14, 21]
    assert phases["trainable"] == sorted(set(phases["trainable"]))
