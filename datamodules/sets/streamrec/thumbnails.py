"""Small pictures of items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.draws import Draws
from datamodules.sets.streamrec.items import ItemTruth
from datamodules.sets.streamrec.settings import StreamRecSettings
from datamodules.sets.streamrec.vocabulary import CATEGORIES, TOPICS

SIDE = 32  # pixels
_VISIBLE, _BLURRED = 0.8, 0.6  # what is shown of a style is 0.8 of it and 0.6 of noise: a correlation of 0.8
_ITEMS_AT_ONCE = 256
_SHAPES = 4  # disc, square, diamond, bars
_COLOURS = np.array(
    [
        (196, 92, 60),
        (70, 140, 80),
        (64, 76, 140),
        (140, 70, 140),
        (64, 150, 168),
        (110, 110, 120),
        (120, 150, 60),
        (160, 130, 84),
        (180, 150, 150),
        (90, 160, 130),
    ],
    dtype=np.float64,
)


def paint_thumbnails(settings: StreamRecSettings, truth: ItemTruth, draws: Draws) -> NDArray[np.uint8]:
    """A colour for the category, a shape for the topic in it, and hints of the first four numbers of the style.

    The style decides, with noise, how the light falls, how large the shape is, whether it is warm or cold, and how
    strong its weave is. Nothing else that an item shows tells of its style.

    Returns:
        [items, 32, 32, 3] RGB.
    """
    category = np.array([CATEGORIES.index(topic.category) for topic in TOPICS])
    within = np.array([sum(category[:k] == category[k]) for k in range(len(TOPICS))])
    shown = np.zeros((settings.items, 4))
    known = min(4, settings.styles)
    shown[:, :known] = _VISIBLE * truth.styles[:, :known] + _BLURRED * draws.normals(settings.items, known)
    hints = np.clip(shown, -2.5, 2.5) / 2.5  # [items, 4] in [-1, 1]
    centres = 0.4 + 0.2 * draws.uniforms(settings.items, 2)
    pictures = np.empty((settings.items, SIDE, SIDE, 3), np.uint8)
    for start in range(0, settings.items, _ITEMS_AT_ONCE):
        rows = slice(start, start + _ITEMS_AT_ONCE)
        topics = truth.topics[rows]
        grounds = _COLOURS[category[topics] % len(_COLOURS)]
        noise = draws.uniforms(len(topics), SIDE, SIDE, 1) * 24 - 12
        picture = _paint(grounds, within[topics] % _SHAPES, hints[rows], centres[rows]) + noise
        pictures[rows] = np.clip(picture, 0, 255).astype(np.uint8)
    return pictures


def _paint(
    grounds: NDArray[np.float64], shapes: NDArray[np.int64], hints: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[items, 32, 32, 3] without noise.

    Args:
        grounds: [items, 3] colours.
        shapes: [items].
        hints: [items, 4].
        centres: [items, 2] of the shapes.
    """
    places = (np.arange(SIDE) + 0.5) / SIDE
    light, size, warmth, weave = (hints[:, k, None, None] for k in range(4))  # [items, 1, 1] each
    along, down = np.broadcast_arrays(places[None, None, :], places[None, :, None])
    x = np.abs(along - centres[:, 0, None, None])
    y = np.abs(down - centres[:, 1, None, None])
    radius = 0.26 + 0.12 * size
    kind = shapes[:, None, None]
    inside = np.select(
        [kind == 0, kind == 1, kind == 2],
        [x * x + y * y < radius * radius, np.maximum(x, y) < radius * 0.9, x + y < radius * 1.25],
        (np.floor(down * 8) % 2 == 0) & (x < radius * 1.3),
    )
    checks = (np.floor(along * 16) + np.floor(down * 16)) % 2 * 2 - 1  # -1 or 1
    shade = 60 * light * (along - 0.5)
    ground = grounds[:, None, None, :] + shade[..., None]
    colour = 150 + 70 * warmth[..., None] * np.array([1.0, 0.0, -1.0])  # red or blue
    front = colour + (20 * (weave + 1) * checks)[..., None]
    return np.where(inside[..., None], front, ground)
