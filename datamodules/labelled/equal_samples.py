"""Equal samples: told where they lie in several splits or have several labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.labelled.records import listed


def equal_notes(
    ids: Sequence[str], splits: NDArray[np.str_], labels: NDArray[Any], keys: Mapping[int, str], noun: str
) -> list[str]:
    """What to tell of equal samples: a line for those in several splits, and one for those with several labels.

    Args:
        ids: [n] names.
        splits: [n].
        labels: [n] or [n, outputs].
        keys: what a sample shows, by its number: equal where samples are.
        noun: what samples are called.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, key in sorted(keys.items()):
        groups[key].append(index)
    several = [members for members in groups.values() if len(members) > 1]
    notes = []
    for test, what in ((splits, "in several splits"), (labels, "with different labels")):
        apart = [members for members in several if len(np.unique(test[members], axis=0)) > 1]
        if apart:
            count, first = sum(map(len, apart)), [ids[index] for index in apart[0]]
            notes.append(f"{count:,} identical {noun} are {what}, for example {listed(first)}")
    return notes


def text_key(texts: Sequence[str]) -> str:
    """Texts without what tells them apart for the eye alone: case and spacing."""
    return "\0".join(" ".join(text.split()).casefold() for text in texts)
