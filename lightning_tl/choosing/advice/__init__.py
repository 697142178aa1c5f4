"""Which strategy to try first: a decision tree over labels, distance and budget, and what a run would cost here.

Costs are extrapolated from short real runs. What the tree says can be held against a finished study, and its
thresholds fitted to one.
"""

from lightning_tl.choosing.advice.decision import Advice, Facts, decide, order_of
from lightning_tl.choosing.advice.thresholds import AdviceThresholds

__all__ = ["Advice", "AdviceThresholds", "Facts", "decide", "order_of"]
