"""What parsers keep to themselves; seen in jsonargparse 4.53.0 and Python 3.11."""

from __future__ import annotations

from argparse import Action
from typing import Any


def fields_of(parser: Any) -> list[Action]:
    """All that a parser takes, in order.

    `_actions`, of argparse: `get_defaults` of jsonargparse leaves out what has no default, and argparse has no list.
    """
    return list(parser._actions)
