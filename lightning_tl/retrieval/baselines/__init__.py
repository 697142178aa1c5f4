"""What a trained model must beat: rankings that need no training, or one matrix inversion."""

from lightning_tl.retrieval.baselines.ease import EASE
from lightning_tl.retrieval.baselines.item_similarity import ItemSimilarity
from lightning_tl.retrieval.baselines.popularity import Popularity
from lightning_tl.retrieval.baselines.recent_popularity import RecentPopularity

__all__ = ["EASE", "ItemSimilarity", "Popularity", "RecentPopularity"]
