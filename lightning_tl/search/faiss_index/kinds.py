"""Which kind of FAISS index a catalogue gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.faiss_library import import_faiss

Vectors = NDArray[np.float32]

EXACT_UP_TO = 100_000  # items; exact search over these takes milliseconds
AUTO = "auto"
KINDS = (AUTO, "FlatIP", "IVFFlat", "IVFSQ8", "IVFPQ", "HNSW")

_POINTS_FOR_A_LIST = 64  # that k-means reads; more changes recall little and takes longer
_ID_BYTES = 8


@dataclass(frozen=True)
class Plan:
    """One kind of index.

    Args:
        name: the kind that was asked for, or that `auto` became.
        factory: as `faiss.index_factory` reads it.
        told: what its card calls it.
        compressed: whether it holds codes in place of vectors, so that what it finds is ranked again by exact ones.
        bytes: about how much memory it takes; None where that is not known before.
    """

    name: str
    factory: str
    told: str
    compressed: bool
    bytes: int | None


def plan_of(kind: str, items: int, dim: int) -> Plan:
    """The plan of a named kind, or of any string that `faiss.index_factory` reads.

    Args:
        kind: one of `KINDS` but `auto`, or a string of the factory such as "OPQ16,IVF1024,PQ16".
        items: how many.
        dim: length of their vectors.

    Raises:
        ValueError: FAISS cannot read it for such vectors.
    """
    lists = max(1, int(4 * np.sqrt(items)))
    coarse = lists * dim * 4
    codes = max(part for part in range(1, max(1, dim // 2) + 1) if dim % part == 0)
    plans = {
        "FlatIP": Plan("FlatIP", "Flat", "exact (IndexFlatIP)", False, items * dim * 4),
        "IVFFlat": Plan(
            "IVFFlat", f"IVF{lists},Flat", "inverted file (IndexIVFFlat)", False, items * (dim * 4 + _ID_BYTES) + coarse
        ),
        "IVFSQ8": Plan(
            "IVFSQ8",
            f"IVF{lists},SQ8",
            "inverted file of bytes (SQ8), ranked again",
            True,
            items * (dim + _ID_BYTES) + coarse,
        ),
        "IVFPQ": Plan(
            "IVFPQ",
            f"IVF{lists},PQ{codes}np",  # without polysemous codes, which take minutes and serve another search
            "inverted file of product codes (PQ), ranked again",
            True,
            items * (codes + _ID_BYTES) + coarse,
        ),
        "HNSW": Plan("HNSW", "HNSW32,Flat", "graph (HNSW32)", False, items * (dim * 4 + 32 * 2 * 4 + 16)),
    }
    if kind in plans:
        return plans[kind]
    if "IDMap" in kind or "Refine" in kind or "RFlat" in kind:
        raise ValueError(
            f"kind '{kind}': ids and ranking again by exact vectors are added anyway; leave IDMap and RFlat out"
        )
    faiss = import_faiss()
    try:
        index = faiss.index_factory(dim, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip().splitlines()[0]
        raise ValueError(
            f"there is no index of kind '{kind}' for vectors of length {dim}: take {', '.join(KINDS)}, or what "
            f"faiss.index_factory reads ({reason})"
        ) from None
    if isinstance(faiss.downcast_index(index), faiss.IndexLSH) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(f"kind '{kind}' does not search by inner product; take {', '.join(KINDS)}")
    exact = re.fullmatch(r"(IVF\d+\w*|HNSW\d*)(,Flat)?|Flat", kind) is not None
    return Plan(kind, kind, kind, not exact, None)


def candidates(
    kind: str, items: int, dim: int, memory_limit: int | None = None, exact_up_to: int = EXACT_UP_TO
) -> list[Plan]:
    """The plans to try, in their order; more than one only for `auto`.

    Args:
        kind: see `plan_of`, or `auto`: exact for small catalogues, beyond them an inverted file of vectors, of bytes
            or of product codes, the first that the memory allows.
        items: how many.
        dim: length of their vectors.
        memory_limit: bytes; None for none.
        exact_up_to: the largest catalogue that is searched exactly.

    Raises:
        ValueError: none fits into the memory.
    """
    names = [kind] if kind != AUTO else ["FlatIP"] if items <= exact_up_to else ["IVFFlat"]
    if kind == AUTO:
        names += ["IVFSQ8", "IVFPQ"]
    plans = [plan_of(name, items, dim) for name in names]
    if memory_limit is None:
        return plans
    fit = [plan for plan in plans if plan.bytes is None or plan.bytes <= memory_limit]
    if not fit:
        least = min((plan.bytes or 0, plan.told) for plan in plans)
        raise ValueError(
            f"the smallest index of this kind, {least[1]}, takes {least[0] / 2**20:,.0f} MiB for {items:,} items of "
            f"length {dim}, and memory_limit is {memory_limit / 2**20:,.0f} MiB: raise it, take another kind, or "
            "vectors of fewer dimensions"
        )
    return fit


def made(plan: Plan, vectors: Vectors, seed: int = 0) -> Any:
    """The FAISS index, trained and filled.

    Args:
        plan: of it.
        vectors: [items, dim].
        seed: of k-means.

    Raises:
        ValueError: too few items for this kind.
    """
    faiss = import_faiss()
    dim = vectors.shape[1]
    if plan.factory == "Flat":
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.index_factory(dim, plan.factory, faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.try_extract_index_ivf(index)
    read = len(vectors)
    if inverted is not None:
        inverted.cp.seed, inverted.cp.max_points_per_centroid = seed, _POINTS_FOR_A_LIST
        inverted.cp.min_points_per_centroid = 1
        read = min(read, max(_POINTS_FOR_A_LIST * inverted.nlist, 65_536))
    try:
        if not index.is_trained:
            some = np.sort(np.random.default_rng(seed).choice(len(vectors), read, replace=False))
            index.train(np.ascontiguousarray(vectors[some], np.float32))
        index.add(np.ascontiguousarray(vectors, np.float32))
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip().splitlines()[0]
        raise ValueError(
            f"an index of kind '{plan.factory}' cannot be made of {len(vectors):,} items: {reason}; take FlatIP for a "
            "small catalogue"
        ) from None
    return index
