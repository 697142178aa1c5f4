"""FAISS, where it is installed."""

from __future__ import annotations

from typing import Any


def import_faiss() -> Any:
    """FAISS, or an error that says how to get it."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'search needs faiss; install it with: python -m pip install "lightning-tl[retrieval]"'
        ) from None
    return faiss
