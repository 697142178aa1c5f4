"""A simulated log of what users of a streaming service opened and completed."""

from datamodules.streamrec.oracle import oracle_scores, text_scores
from datamodules.streamrec.settings import StreamRecSettings
from datamodules.streamrec.simulator import StreamRec, simulate

__all__ = ["StreamRec", "StreamRecSettings", "oracle_scores", "simulate", "text_scores"]
