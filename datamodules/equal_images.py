"""Equal pictures: told where they lie in several splits or have several labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from datamodules.records import Records, listed


def equal_notes(records: Records, digests: Mapping[int, str]) -> list[str]:
    """What to tell of equal pictures: a line for those in several splits, and one for those with several labels.

    Args:
        digests: hash of the pixels by index.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, digest in sorted(digests.items()):
        groups[digest].append(index)
    several = [members for members in groups.values() if len(members) > 1]
    notes = []
    for test, what in ((records.splits, "in several splits"), (records.labels, "with different labels")):
        apart = [members for members in several if len(np.unique(test[members], axis=0)) > 1]
        if apart:
            count, first = sum(map(len, apart)), [records.ids[index] for index in apart[0]]
            notes.append(f"{count:,} identical pictures are {what}, for example {listed(first)}")
    return notes
