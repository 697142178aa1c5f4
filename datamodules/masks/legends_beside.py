"""Legends beside masks: those of masks from several folders must agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.masks.given_legend import NAMES, GivenLegend, given_legend


def legends_beside(masks: Sequence[Path]) -> list[GivenLegend]:
    """The legends that lie in the masks' folders, or in those above them.

    Raises:
        ValueError: a file is no legend, or two of them give a number two names, or a name two numbers.
    """
    folders = dict.fromkeys(mask.parent for mask in masks)
    places = dict.fromkeys(place for folder in folders for place in (folder, folder.parent))
    files = [next((place / name for name in NAMES if (place / name).is_file()), None) for place in places]
    found = [given_legend(None, None, file) for file in files if file is not None]
    for legend in found[1:]:
        _check(found[0], legend)
    return found


def _check(one: GivenLegend, other: GivenLegend) -> None:
    first = {number: name for number, (name, _) in (one.classes or {}).items()}
    second = {number: name for number, (name, _) in (other.classes or {}).items()}
    numbers = {name: number for number, name in first.items()}
    for number, name in second.items():
        if first.get(number, name) != name or numbers.get(name, number) != number:
            what = f"{number} is '{name}' in {other.where}"
            there = f"'{first[number]}'" if number in first else f"not, and '{name}' is {numbers[name]},"
            raise ValueError(
                f"masks of several folders are numbered otherwise: {what}, and {there} in {one.where}. Cut the chips "
                "of all scenes with the same --classes, or number the masks alike"
            )


def joined(legends: Sequence[GivenLegend]) -> GivenLegend:
    """One legend of several that agree: with all of their classes."""
    classes = {number: entry for legend in reversed(legends) for number, entry in (legend.classes or {}).items()}
    ignored = sorted({number for legend in legends for number in legend.ignored} - set(classes))
    return GivenLegend(classes, tuple(ignored), ", ".join(legend.where for legend in legends[:3]))
