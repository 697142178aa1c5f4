"""Search for the nearest items: indexes, filters, rules and stores, over vectors and ids; it imports no torch."""

from lightning_tl.search.faiss_index.faiss_store import FaissStore
from lightning_tl.search.faiss_index.item_index import ItemIndex
from lightning_tl.search.item_fields import ItemFields
from lightning_tl.search.item_filter import ItemFilter
from lightning_tl.search.vector_store import Found, NewItems, VectorStore

__all__ = ["FaissStore", "Found", "ItemFields", "ItemFilter", "ItemIndex", "NewItems", "VectorStore"]
