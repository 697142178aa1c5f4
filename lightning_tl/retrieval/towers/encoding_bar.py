"""How far the encoding of a catalogue is."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm.auto import tqdm

_WORTH_TELLING = 1_000  # items whose encoding takes long enough to show how far it is


def encoding_bar(items: int, what: str, rank: int = 0) -> Any:
    """A progress bar on the first process; without a terminal one line in its place; nothing for a few items."""
    quiet = rank > 0 or items < _WORTH_TELLING
    bar = tqdm(total=items, desc=f"Encoding {what}", unit=" items", disable=quiet or None, leave=False)
    if bar.disable and not quiet:
        rank_zero_info(f"Encoding the {what} of {items:,} items")
    return bar
