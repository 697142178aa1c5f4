"""How far embedding is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from tqdm.auto import tqdm

from lightning_tl.reports.resources import duration_text

_SECONDS = 30.0  # between two lines


class Progress:
    """Counts samples.

    Args:
        total: samples to do.
        shown: False shows nothing, as on all ranks but the first.
        note: what the total is of, for a share of the whole.
    """

    def __init__(self, total: int, shown: bool = True, note: str = "") -> None:
        self.total, self.done, self.note = total, 0, note
        self._started = self._last = time.monotonic()
        self._bar = tqdm(
            total=total, desc=f"Embedding{note}", unit=" samples", disable=None if shown else True, leave=False
        )
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
