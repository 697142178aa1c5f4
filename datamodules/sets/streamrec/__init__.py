"""A simulated log of what users of a streaming service opened and completed."""

from datamodules.sets.streamrec.oracle import oracle_scores, text_scores
from datamodules.sets.streamrec.settings import StreamRecSettings
from datamodules.sets.streamrec.simulator import StreamRec, simulate

__all__ = ["StreamRec", "StreamRecSettings", "oracle_scores", "simulate", "text_scores"]
