"""Which events train, and which are to be foretold."""

from __future__ import annotations

from typing import Literal

import numpy as np

from datamodules.temporal_split import Windows, leave_last_out, temporal_split
from lightning_tl.interactions import InteractionLog, Queries

Split = Literal["temporal", "leave_last_out"]


def evaluation_windows(
    log: InteractionLog, split: Split, validation: int | float | str, test: int | float | str, train_on_validation: bool
) -> Windows:
    """The windows of a log; with `train_on_validation` the second is joined to the first and left empty.

    Raises:
        ValueError: another split, and as `temporal_split` and `leave_last_out`.
    """
    if split not in ("temporal", "leave_last_out"):
        raise ValueError(f"split must be temporal or leave_last_out, got '{split}'")
    windows = leave_last_out(log) if split == "leave_last_out" else temporal_split(log, validation, test)
    if not train_on_validation:
        return windows
    train = np.sort(np.concatenate([windows.train, windows.validation]))
    return Windows(train, windows.validation[:0], windows.test, None, windows.test_start)


def undivided(log: InteractionLog) -> Windows:
    """Nothing is left for validation and test, as when a trained model is used."""
    nothing = np.zeros(0, np.int64)
    return Windows(np.arange(len(log)), nothing, nothing)


def new_item_queries(log: InteractionLog, windows: Windows) -> tuple[dict[str, Queries], list[str]]:
    """The queries of validation and test, which ask for items that the user had not taken before, and what to tell.

    Raises:
        ValueError: all events of a window repeat an item.
    """
    first = log.first_takes()
    found, notes = {}, []
    for split, events in (("validation", windows.validation), ("test", windows.test)):
        kept = events[first[events]]
        found[split] = Queries.of(log, kept)
        if len(events) and not len(kept):
            raise ValueError(
                f"nothing is left to be foretold in the {split} window: all of its {len(events):,} events repeat an "
                f"item that the user had taken before; let it begin earlier with data.{split}, or drop repetitions"
            )
        if len(kept) < len(events):
            again = len(events) - len(kept)
            notes.append(f"{again:,} of {len(events):,} {split} events repeat an item and are not asked for")
    return found, notes
