"""How far long work is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm.auto import tqdm

from lightning_tl.reports.resources import duration_text

_SECONDS = 30.0  # between two lines


def progress_bar(total: int, doing: str, unit: str, shown: bool = True, told: str = "") -> Any:
    """A bar for `update(count)` and `close()`; nothing where there is no terminal.

    Args:
        total: count at which it is full.
        doing: before the bar.
        unit: of what is counted.
        shown: False shows nothing, as on all ranks but the first.
        told: a line that stands for the bar where there is no terminal.
    """
    bar = tqdm(total=total, desc=doing, unit=f" {unit}", disable=None if shown else True, leave=False)
    if shown and bar.disable and told:
        rank_zero_info(told)
    return bar


class Progress:
    """Counts samples that are embedded: a bar on a terminal, elsewhere a line now and then.

    Args:
        total: samples to do.
        shown: False shows nothing, as on all ranks but the first.
        note: what the total is of, for a share of the whole.
    """

    def __init__(self, total: int, shown: bool = True, note: str = "") -> None:
        self.total, self.done, self.note = total, 0, note
        self._started = self._last = time.monotonic()
        self._bar = progress_bar(total, f"Embedding{note}", "samples", shown)
        self._lines = shown and bool(self._bar.disable)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._lines and now - self._last >= _SECONDS:
            self._last = now
            spent = now - self._started
            left = spent / self.done * (self.total - self.done)
            print(
                f"embedded {self.done:,} of {self.total:,} samples{self.note}, {self.done / spent:,.0f} a second, "
                f"about {duration_text(left)} left",
                flush=True,
            )

    def close(self) -> float:
        """Take the bar away; returns the seconds since the beginning."""
        self._bar.close()
        return time.monotonic() - self._started
