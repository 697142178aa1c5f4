"""Answering with a finished model, in a process that imports no torch: bundles, and the service."""

from lightning_tl.serving.opening import open_bundle

__all__ = ["open_bundle"]
