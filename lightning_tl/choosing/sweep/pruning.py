"""Which trials of a sweep end early: Optuna's pruners, by name."""

from __future__ import annotations

from typing import Literal, get_args

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner

PrunerName = Literal["none", "median", "hyperband"]
PRUNERS: tuple[str, ...] = get_args(PrunerName)
STARTUP = 5  # trials that run to their end before the median prunes


def pruner_of(name: PrunerName, longest: int | None = None) -> BasePruner:
    """The pruner.

    Args:
        name: "median" ends a trial whose best validation so far is worse than the median of the earlier trials at the
            same epoch, once five have ended, and never after the first epoch alone; "hyperband" (Li et al. 2018) gives
            few epochs to many trials and many to few.
        longest: epochs of a trial; None where it is not known, which takes the longest of the first trials.
    """
    if name == "median":
        return MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1)
    if name == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=longest or "auto")
    return NopPruner()
