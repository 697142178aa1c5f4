"""When a phase ends: by epochs, at milestones, or when a metric stands still."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_tl.callbacks.unfreezing.phase_trigger import EpochsPerPhase, Milestones, StoppedImproving

VALUES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, math.nan]), min_size=1, max_size=12)


def slowly(values: list[float], sign: int, patience: int, least: float) -> list[bool]:
    """Whether the phase ends at each measurement: none of the last `patience` beat by `least` what had been kept."""
    ends, best, since = [], None, 0
    for value in values:
        better = not math.isnan(value) and (best is None or sign * (value - best) > least)
        best, since = (value, 0) if better else (best, since + 1)
        ends.append(not better and since >= patience)
    return ends


@given(VALUES, st.sampled_from(["min", "max"]), st.integers(1, 3), st.sampled_from([0.0, 0.5]))
def test_a_metric_stands_still_where_a_slow_loop_says_so(
    values: list[float], mode: str, patience: int, least: float
) -> None:
    trigger = StoppedImproving("val_loss", mode, patience, least)
    found = [trigger.reason(0, 0, epoch, value) is not None for epoch, value in enumerate(values)]
    assert found == slowly(values, 1 if mode == "max" else -1, patience, least)


def test_the_same_value_again_is_no_improvement_and_neither_is_exactly_min_delta() -> None:
    for least, values in ((0.0, [1.0, 1.0]), (0.25, [1.0, 0.75])):
        trigger = StoppedImproving("val_loss", "min", 1, least)
        assert [trigger.reason(0, 0, k, value) is None for k, value in enumerate(values)] == [True, False]
        assert not trigger.improved


@pytest.mark.parametrize(
    ("trigger", "epochs", "changes"),
    [
        (EpochsPerPhase(2), 5, 2),
        (EpochsPerPhase(2), 4, 1),
        (EpochsPerPhase(3), 1, 0),
        (Milestones([1, 4]), 4, 1),
        (Milestones([1, 4]), 5, 2),
    ],
)
def test_how_many_phases_a_run_of_some_epochs_begins(
    trigger: EpochsPerPhase | Milestones, epochs: int, changes: int
) -> None:
    """By plain counting: after how many epochs but the last does the trigger speak?"""
    phase = first = counted = 0
    for epoch in range(epochs - 1):
        if trigger.reason(phase, first, epoch, None) is not None:
            phase, first, counted = phase + 1, epoch + 1, counted + 1
    assert trigger.changes_before(epochs) == counted == changes
