"""How far an index is from what it was when it was made, and an index made anew of the same items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_tl.search.faiss_index.item_index import ItemIndex
from lightning_tl.search.faiss_library import import_faiss

RECALL_LOST = 0.01  # on the kept queries, against the card
IMBALANCE_GROWN = 1.5  # times; the factor by which lists of unequal lengths make a search slower
SHARE_GONE = 0.2  # of the places
RECALL_NOW = "recall_at_100_now"  # fact of an index that was refreshed; `recall_at_100` stays that of the build
_WATCHED = 64  # queries, which exact search of a million items answers in a second
_AT = 100


@dataclass(frozen=True)
class Drift:
    """What has changed since an index was made.

    Args:
        recall: at 100, on the kept queries; None where the index is exact, or has no queries.
        imbalance: times that of the time when it was made; None for what has no lists.
        gone: share of the places whose items are gone.
        reasons: why it should be made anew; empty where it need not be.
    """

    recall: float | None
    imbalance: float | None
    gone: float
    reasons: tuple[str, ...]


def drift_of(index: ItemIndex) -> Drift:
    """What has changed since an index was made."""
    facts, reasons = index.facts, []
    gone = 1 - len(index) / max(1, len(index.ids))
    if gone > SHARE_GONE:
        reasons.append(f"{gone:.0%} of its places are empty (limit {SHARE_GONE:.0%})")
    recall = imbalance = None
    if index.queries is not None and len(index.queries) and len(index):
        recall = _recall(index)
        # As far below the card as chance alone would rarely bring so few queries.
        least = float(facts["recall_at_100"]) - RECALL_LOST
        if recall < least:
            reasons.append(f"recall fell to {recall:.3f} (limit {least:.3f})")
    inverted = import_faiss().try_extract_index_ivf(index.index)
    if inverted is not None and "imbalance" in facts and len(index):
        imbalance = float(inverted.invlists.imbalance_factor()) / max(1e-9, float(facts["imbalance"]))
        if imbalance > IMBALANCE_GROWN:
            reasons.append(f"its lists are {imbalance:.1f} times as unequal (limit {IMBALANCE_GROWN})")
    return Drift(recall, imbalance, gone, tuple(reasons))


def _recall(index: ItemIndex) -> float:
    assert index.queries is not None
    step = max(1, len(index.queries) // _WATCHED)
    queries = np.ascontiguousarray(index.queries[::step][:_WATCHED])
    k = min(_AT, len(index))
    right = index.kept.nearest(queries, k, None if index.alive.all() else np.flatnonzero(index.alive))[0]
    found = index.nearest(queries, k)[0]
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(right, found, strict=True))
    return hits / right.size


def made_anew(index: ItemIndex) -> ItemIndex:
    """The same items in an index of the same kind, trained and tuned on them as they are now; no place is empty.

    An index that nothing is known of, as earlier versions wrote them, stays as it is, and an exact one is only packed.
    """
    places = np.flatnonzero(index.alive)
    vectors = index.kept.take(places)
    ids, titles = ([names[place] for place in places.tolist()] for names in (index.ids, index.titles))
    fields = None if index.fields is None else index.fields.taken(places)
    queries = index.queries if index.queries is not None else np.zeros((0, index.dim), np.float32)
    kind = str(index.facts.get("asked_kind", "FlatIP"))
    if len(queries) == 0 and kind == "FlatIP" and "lists" in index.facts:
        return index
    half = (len(queries) + 1) // 2
    return ItemIndex.build(
        vectors, ids, titles, index.model_sha256, queries[:half], queries[half:],
        recall=float(index.facts.get("asked_recall", 0.99)), kind=kind, fields=fields,
    )  # fmt: skip
