"""Retrieval by two towers: trained on event logs, evaluated in time over the whole catalogue."""

from lightning_tl.retrieval.history_mean import HistoryMean
from lightning_tl.retrieval.history_transformer import HistoryTransformer
from lightning_tl.retrieval.item_tower import ItemTower
from lightning_tl.retrieval.nearest_negatives import NearestNegatives
from lightning_tl.retrieval.recommender import Recommender
from lightning_tl.retrieval.retrieval_report import RetrievalReport
from lightning_tl.retrieval.text_history import TextHistory
from lightning_tl.retrieval.two_tower import TwoTower
from lightning_tl.retrieval.user_tower import UserTower

__all__ = [
    "HistoryMean",
    "HistoryTransformer",
    "ItemTower",
    "NearestNegatives",
    "Recommender",
    "RetrievalReport",
    "TextHistory",
    "TwoTower",
    "UserTower",
]
