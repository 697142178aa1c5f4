"""Which events train, and which are to be foretold."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from datamodules.events.temporal_split import Windows, leave_last_out, temporal_split
from lightning_tl.contracts.interactions import Exclude, InteractionLog, Queries

Split = Literal["temporal", "leave_last_out"]
_QUERIES_AT_ONCE = 4096


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


def evaluation_queries(
    log: InteractionLog,
    windows: Windows,
    first: NDArray[np.bool_],
    exclude: Exclude = "taken",
    viewed: InteractionLog | None = None,
    in_order: bool = False,
) -> tuple[dict[str, Queries], list[str]]:
    """The queries of validation and test, and what to tell. What is not offered is not asked for.

    Args:
        log: every event of the data that was taken.
        windows: which of them each window has.
        first: [events] whether the user had not taken the item before.
        exclude: "taken" asks for items that the user had not taken before; "seen" for those that the user had not seen
            before either; "none" for every event, repeated items too.
        viewed: events that were seen and not taken.
        in_order: see `Queries.of`.

    Raises:
        ValueError: another `exclude`; nothing is left to be asked for in a window.
    """
    if exclude not in get_args(Exclude):
        raise ValueError(f"exclude must be taken, seen or none, got '{exclude}'")
    found, notes = {}, []
    for split, events in (("validation", windows.validation), ("test", windows.test)):
        kept = events if exclude == "none" else events[first[events]]
        asked = Queries.of(log, kept, exclude, viewed, in_order)
        if len(events) and not len(kept):
            raise ValueError(
                f"nothing is left to be foretold in the {split} window: all of its {len(events):,} events repeat an "
                f"item that the user had taken before; let it begin earlier with data.{split}, drop repetitions, or "
                "set exclude to none, so that items may be taken again"
            )
        if len(kept) < len(events):
            again = len(events) - len(kept)
            notes.append(f"{again:,} of {len(events):,} {split} events repeat an item and are not asked for")
        if exclude == "seen" and viewed is not None and len(kept):
            asked, seen = _unseen(asked)
            if seen:
                notes.append(f"{seen:,} of {len(kept):,} {split} events are of items seen before and are not asked for")
        found[split] = asked
    return found, notes


def _unseen(asked: Queries) -> tuple[Queries, int]:
    """The queries whose target the user had not seen before, and how many others there are."""
    hidden = np.zeros(len(asked), bool)
    for start in range(0, len(asked), _QUERIES_AT_ONCE):
        part = asked[start : start + _QUERIES_AT_ONCE]
        rows, items = part.seen()
        hidden[start + rows[items == part.targets[rows]]] = True
    return asked[np.flatnonzero(~hidden)], int(hidden.sum())
