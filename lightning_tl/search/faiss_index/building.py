"""An index of the wanted kind: made, tuned and measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.faiss_index.effort import effort_name, most_effort
from lightning_tl.search.faiss_index.faiss_search import FaissSearch
from lightning_tl.search.faiss_index.kept_vectors import KeptVectors
from lightning_tl.search.faiss_index.kinds import Plan, candidates, made
from lightning_tl.search.faiss_index.tuning import DEPTHS, efforts, factor_of, measured_facts
from lightning_tl.search.faiss_library import import_faiss

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]


def build_index(
    vectors: Vectors,
    held_out: Vectors,
    measured: Vectors | None,
    recall: float,
    exact_up_to: int,
    kind: str,
    memory_limit: int | None,
    latency_ms: float | None,
) -> tuple[Any, dict[str, Any]]:
    """The FAISS index and the facts of its card, see `ItemIndex.build`."""
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be in (0, 1], got {recall}")
    if latency_ms is not None and not latency_ms > 0:
        raise ValueError(f"latency_ms must be above 0, got {latency_ms}")
    plans = candidates(kind, len(vectors), vectors.shape[1], memory_limit, exact_up_to)
    if plans[0].factory == "Flat" and latency_ms is None:
        return made(plans[0], vectors), {"kind": plans[0].told, "recall_at_100": 1.0}
    if len(held_out) == 0:
        if plans[0].factory == "Flat":
            raise ValueError("a limit of latency needs queries that were held out, to measure it with; got none")
        raise ValueError(
            f"an index of kind '{plans[0].told}' needs queries that were held out, to measure its recall; got none"
        )
    queries = [np.ascontiguousarray(part, np.float32) for part in (held_out, held_out if _none(measured) else measured)]
    tried: list[tuple[Any, dict[str, Any]]] = []
    for plan in plans:
        index, facts = _measured(plan, vectors, queries[0], queries[1], recall, _none(measured))
        if memory_limit is not None and facts["bytes"] > memory_limit:
            continue
        tried.append((index, facts))
        if latency_ms is None or facts["p99_ms"] <= latency_ms:
            return index, facts
    if not tried:
        raise ValueError(f"an index of kind '{kind}' takes more than memory_limit, {memory_limit:,} bytes")
    index, facts = min(tried, key=lambda one: float(one[1]["p99_ms"]))
    raise ValueError(
        f"no index of kind '{kind}' answers within latency_ms={latency_ms}: the fastest, {facts['kind']}, takes "
        f"{facts['p99_ms']} ms at recall {facts['recall_at_100']}; raise the limit, or ask for a lower recall"
    )


def _none(measured: Vectors | None) -> bool:
    return measured is None or len(measured) == 0


def _measured(
    plan: Plan, vectors: Vectors, held_out: Vectors, others: Vectors, recall: float, same: bool
) -> tuple[Any, dict[str, Any]]:
    index = made(plan, vectors)
    searching = FaissSearch(index, KeptVectors(vectors), [], int(plan.compressed))
    exact = exact_places(vectors, held_out, min(len(vectors), DEPTHS[-1]))

    def search(queries: Vectors, k: int, effort: int, factor: int) -> Places:
        return searching.found(queries, k, effort, factor)[0]

    facts: dict[str, Any] = {"kind": plan.told, "factory": plan.factory, "asked_kind": plan.name}
    facts["asked_recall"] = recall
    most = most_effort(index)
    factor = factor_of(search, held_out, exact, recall, most) if plan.compressed else 0
    if factor:
        facts["ranked_again"] = searching.factor = factor
    name = effort_name(index)
    if name is not None:
        searching.efforts = efforts(search, held_out, exact, recall, most, factor)
        facts |= {name: searching.efforts[0][1], "efforts": searching.efforts}
    if name == "nprobe":
        facts["lists"] = most
    facts["held_out_queries"] = len(held_out)
    right = exact if others is held_out else exact_places(vectors, others, min(len(vectors), 100))
    facts |= measured_facts(lambda queries, k: searching.search(queries, k, None)[0], others, right)
    if not same:
        facts["measured_queries"] = len(others)
    inverted = import_faiss().try_extract_index_ivf(index)
    if inverted is not None:
        facts["imbalance"] = round(float(inverted.invlists.imbalance_factor()), 3)
    facts["bytes"] = int(import_faiss().serialize_index(index).nbytes)
    return index, facts


def exact_places(vectors: Vectors, queries: Vectors, k: int) -> Places:
    """[queries, k] the places of the k nearest items."""
    faiss = import_faiss()
    places: Places = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return places
