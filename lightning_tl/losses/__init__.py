"""Losses, one a file."""

from lightning_tl.losses.nt_xent import NTXent

__all__ = ["NTXent"]
