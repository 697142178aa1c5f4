"""How hard a FAISS index looks: lists of an inverted file, candidates of a graph, and what a search is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.search.faiss_library import import_faiss

Vectors = NDArray[np.float32]

_MOST_CANDIDATES = 4_096  # of a graph; beyond it exact search is no slower


def most_effort(index: Any) -> int:
    """All lists of an inverted file, the most candidates of a graph; 1 for what has nothing to set."""
    faiss = import_faiss()
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        return int(inverted.nlist)
    return min(_MOST_CANDIDATES, max(1, index.ntotal)) if _graph(index) is not None else 1


def effort_name(index: Any) -> str | None:
    """What the effort is called: "nprobe", "ef", or None where there is none."""
    if import_faiss().try_extract_index_ivf(index) is not None:
        return "nprobe"
    return None if _graph(index) is None else "ef"


def parameters(index: Any, effort: int, selector: Any) -> Any:
    """What a search is told.

    Args:
        index: of FAISS.
        effort: lists to look through, or candidates of a graph.
        selector: an `IDSelector`, or None for all.
    """
    faiss = import_faiss()
    index = faiss.downcast_index(index)
    chosen = {} if selector is None else {"sel": selector}
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters(index.index, effort, selector))
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=effort, **chosen)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=effort, **chosen)
    return faiss.SearchParameters(**chosen)


class Selector:
    """A selector of FAISS for a mask, with the bits that it points to.

    Args:
        mask: [items] whether each may be found.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        faiss = import_faiss()
        self.bits = np.packbits(mask, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(self.bits))


def _graph(index: Any) -> Any:
    faiss = import_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        index = faiss.downcast_index(index.index)
    return index if isinstance(index, faiss.IndexHNSW) else None
