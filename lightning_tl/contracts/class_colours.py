"""Colours of classes: what a class is called tells of the colour that people expect."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence

from lightning_tl.contracts.mask_legend import Colour

_WORDS: tuple[tuple[str, Colour], ...] = (  # the first word that occurs in a name counts
    ("wetland|marsh|swamp|mangrove", (0, 150, 160)),
    ("water|river|lake|sea|ocean", (40, 110, 200)),
    ("snow|ice|glacier", (225, 240, 250)),
    ("cloud", (200, 200, 200)),
    ("urban|built|residential|city|town|artificial|settlement", (215, 40, 50)),
    ("industrial", (150, 60, 140)),
    ("highway|road", (90, 90, 90)),
    ("permanent_?crop|permanentcrop|orchard|vineyard", (200, 140, 40)),
    ("crop|agri|cultivated|arable|farm", (240, 200, 70)),
    ("forest|tree|wood", (25, 110, 50)),
    ("shrub|scrub", (160, 150, 80)),
    ("pasture", (160, 215, 110)),
    ("grass|meadow|herbaceous|vegetation|savanna", (120, 190, 80)),
    ("bare|barren|soil|sand|desert|rock", (185, 165, 140)),
)


def class_colours(names: Sequence[str]) -> list[Colour]:
    """A colour for each class, all different.

    Args:
        names: of the classes.
    """
    chosen: list[Colour | None] = []
    for name in names:
        known = next((colour for word, colour in _WORDS if re.search(word, name.casefold())), None)
        chosen.append(known if known not in chosen else None)
    number = 0
    for place, colour in enumerate(chosen):
        while colour is None:
            hue = (0.13 + number * 0.61803398875) % 1  # golden ratio: neighbours lie far apart
            red, green, blue = colorsys.hsv_to_rgb(
                hue, (0.75, 0.5, 0.9)[number % 3], (0.85, 0.65, 0.5)[number // 3 % 3]
            )
            candidate = (round(red * 255), round(green * 255), round(blue * 255))
            colour = candidate if candidate not in chosen else None
            number += 1
        chosen[place] = colour
    return [colour for colour in chosen if colour is not None]
