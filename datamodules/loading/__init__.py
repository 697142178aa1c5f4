"""Loaders whose order and randomness follow from seed, epoch and index alone, so that a run resumes exactly.

It knows no kind of data.
"""

from datamodules.loading.loading import ResumableLoader, Samples, SeededItems, available_workers
from datamodules.loading.resumable_data import ResumableDataModule

__all__ = ["ResumableDataModule", "ResumableLoader", "Samples", "SeededItems", "available_workers"]
