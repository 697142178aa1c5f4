"""Retrieval by two towers: trained on event logs, evaluated in time over the whole catalogue."""

from lightning_tl.retrieval.judging.retrieval_report import RetrievalReport
from lightning_tl.retrieval.negatives.nearest_negatives import NearestNegatives
from lightning_tl.retrieval.recommender import Recommender
from lightning_tl.retrieval.towers.history_mean import HistoryMean
from lightning_tl.retrieval.towers.history_transformer import HistoryTransformer
from lightning_tl.retrieval.towers.item_tower import ItemTower
from lightning_tl.retrieval.towers.text_history import TextHistory
from lightning_tl.retrieval.towers.user_tower import UserTower
from lightning_tl.retrieval.two_tower import TwoTower

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
