"""What torchmetrics keeps to itself; seen in torchmetrics 1.9.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmetrics import Metric


def count_updates(metric: Metric, updates: int) -> None:
    """Tell a metric whose states were set by hand of how many updates they are, and that what it computed is stale.

    `_update_count` and `_computed`: torchmetrics can be asked for them but not told, and `load_state_dict` leaves both.
    """
    metric._update_count, metric._computed = updates, None
