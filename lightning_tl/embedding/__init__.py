"""Embeddings of a whole data set, written to a file."""

from lightning_tl.embedding.embedder import Embedder, ReadableData
from lightning_tl.embedding.parts.output_file import OutputFile
from lightning_tl.embedding.ranks import Ranks
from lightning_tl.embedding.settings import EmbeddingSettings
from lightning_tl.embedding.trained_backbone import backbone_of, load_trained_backbone

__all__ = [
    "Embedder",
    "EmbeddingSettings",
    "OutputFile",
    "Ranks",
    "ReadableData",
    "backbone_of",
    "load_trained_backbone",
]
