"""What is no caption although a cell or a line is there."""

from __future__ import annotations


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: blanks, line ends, and marks without width, which no model reads."""
    return not any(sign.isprintable() and not sign.isspace() for sign in text)
