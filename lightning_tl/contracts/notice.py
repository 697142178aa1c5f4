"""`Notice`: what this project itself warns of."""

from __future__ import annotations


class Notice(UserWarning):
    """Something that a user should know of and that stops nothing, by this project, not by a library beneath it.

    A program that wants to stop there says `warnings.filterwarnings("error", category=Notice)`.
    """
