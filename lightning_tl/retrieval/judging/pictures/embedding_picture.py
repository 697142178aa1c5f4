"""embedding_map.png: the vectors of items on a plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from lightning_tl.reports.display_text import short_names
from lightning_tl.reports.pictures.picture_style import GREY, picture

_MOST_POINTS = 5_000
_MOST_COLOURS = 12


def draw_embedding_map(embeddings: NDArray[np.float32], categories: Sequence[str], path: Path) -> None:
    """The two directions in which items differ most (principal components), coloured by category.

    Args:
        embeddings: [items, dim].
        categories: [items]; empty where not known.
        path: of the PNG file.
    """
    names = np.array(categories, dtype=str)
    chosen = np.arange(len(embeddings))
    if len(chosen) > _MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, _MOST_POINTS, replace=False))
    centred = embeddings[chosen] - embeddings[chosen].mean(0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ directions[:2].T  # [items, 2]
    share = np.square(sizes[:2]).sum() / max(float(np.square(sizes).sum()), 1e-12)
    common = [name for name, _ in Counter(names[chosen].tolist()).most_common(_MOST_COLOURS) if name]
    colours = matplotlib.colormaps["tab20" if len(common) > 10 else "tab10"]
    with picture(path, 8.5, 6.0) as figure:
        axes = figure.subplots()
        rest = ~np.isin(names[chosen], common)
        if rest.any():
            axes.scatter(
                plane[rest, 0],
                plane[rest, 1],
                s=6,
                color=GREY,
                alpha=0.5,
                linewidths=0,
                label="other" if common else None,
            )
        for number, (name, label) in enumerate(zip(common, short_names(common, 24), strict=True)):
            mine = names[chosen] == name
            axes.scatter(
                plane[mine, 0], plane[mine, 1], s=7, color=colours(number), alpha=0.7, linewidths=0, label=label
            )
        if common:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"Items by their vectors: the first two components, {share:.0%} of the variance")
