"""What is peculiar about the queries of a test."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_tl.contracts.interactions import InteractionLog, Queries


def window_facts(queries: Queries, training: InteractionLog) -> dict[str, Any]:
    """How much of a test rests on what was never trained on, on one user, or on one item.

    Args:
        queries: of the test.
        training: events of the training window.

    Returns:
        `new_targets`, queries whose item has no event in training; `largest_user` and `largest_item` with their `id`
        and `queries`; and the number of `queries`.
    """
    items, users = (np.unique(values, return_counts=True) for values in (queries.targets, queries.users))
    facts: dict[str, Any] = {
        "queries": len(queries),
        "new_targets": int((training.item_counts()[queries.targets] == 0).sum()),
    }
    for name, (numbers, counts), ids in (
        ("largest_user", users, queries.log.user_ids),
        ("largest_item", items, queries.log.item_ids),
    ):
        most = int(counts.argmax())
        facts[name] = {"id": ids[numbers[most]], "queries": int(counts[most])}
    return facts
