"""Exact ranks of targets among all items, in chunks, in one process or several.

It takes anything that scores items, a baseline too, and judges nothing.
"""

from lightning_tl.retrieval.ranking.embedding_scorer import EmbeddingScorer
from lightning_tl.retrieval.ranking.ranking import ranks
from lightning_tl.retrieval.ranking.scorer import Scorer
from lightning_tl.retrieval.ranking.top_items import top_items

__all__ = ["EmbeddingScorer", "Scorer", "ranks", "top_items"]
