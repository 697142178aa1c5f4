"""The command line; importing it loads nothing heavy, so that help and errors answer at once."""

from lightning_tl.cli.entry import main

__all__ = ["main"]
