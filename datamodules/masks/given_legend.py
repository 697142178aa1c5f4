"""From what a user says of the classes in masks, or a file beside them, to names, numbers and colours."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.contracts.mask_legend import Colour, MaskLegend, colour_of, default_colours

NAMES = ("classes.json", "classes.csv")
_COLUMNS = ("number", "name")


@dataclass(frozen=True)
class GivenLegend:
    """What is said of the classes before masks are read.

    Args:
        classes: name and colour by number; None where nothing is said, so that classes are the numbers that occur.
        ignored: numbers of pixels of which nothing is known.
        where: what said it, for messages.
    """

    classes: Mapping[int, tuple[str, Colour | None]] | None
    ignored: tuple[int, ...]
    where: str = "class_names"

    def legend(self, found: Sequence[int]) -> MaskLegend:
        """The classes, in the order of their numbers.

        Args:
            found: numbers that occur in masks; without a name each is a class that is called after it.
        """
        if self.classes is None:
            numbers = sorted(set(found) - set(self.ignored))
            return MaskLegend(tuple(map(str, numbers)), tuple(numbers), (), self.ignored)
        numbers = sorted(self.classes)
        own = default_colours(len(numbers))
        colours = tuple(self.classes[n][1] or own[k] for k, n in enumerate(numbers))
        return MaskLegend(tuple(self.classes[n][0] for n in numbers), tuple(numbers), colours, self.ignored)


def given_legend(
    names: Sequence[str] | Mapping[int, str] | None, ignored: int | Sequence[int] | None, file: Path | None
) -> GivenLegend:
    """What the arguments of a data module say, else a file.

    Args:
        names: in the order of the numbers from 0 on, or by number.
        ignored: as of `MaskLegend`, one or several; None for what the file says, else 255.
        file: `.json` or `.csv`; None for none.

    Raises:
        ValueError: the file is no legend.
    """
    noted: int | None = None
    classes: dict[int, tuple[str, Colour | None]] | None = None
    where = "class_names"
    if file is not None:
        classes, noted = _of_json(file) if file.suffix.lower() == ".json" else (_of_csv(file), None)
        where = str(file)
    if names is not None:
        pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
        classes = {int(number): (str(name), None) for number, name in pairs}
        where = "class_names"
    if ignored is None:
        ignored = noted if noted is not None else () if classes is not None and 255 in classes else 255
    return GivenLegend(classes, (ignored,) if isinstance(ignored, int) else tuple(map(int, ignored)), where)


def _of_json(file: Path) -> tuple[dict[int, tuple[str, Colour | None]], int | None]:
    """A list of names, names by number, a list of number, name and colour; or one of these as `classes`."""
    try:
        told: Any = json.loads(file.read_text(encoding="utf-8"))
        noted = told.get("none", told.get("ignored")) if isinstance(told, dict) and "classes" in told else None
        if isinstance(told, dict) and "classes" in told:
            told = told["classes"]
        entries = told.items() if isinstance(told, dict) else enumerate(told)
        classes: dict[int, tuple[str, Colour | None]] = {}
        for number, entry in entries:
            if isinstance(entry, dict):
                own: Any = entry.get("number", number)
                classes[int(own)] = str(entry["name"]), _colour(entry.get("colour", entry.get("color")))
            else:
                classes[int(number)] = str(entry), None
        return classes, None if noted is None else int(noted)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{file} does not say which classes there are ({error}); expected ["forest", …], {{"0": "forest", …}}, or '
            '[{"number": 0, "name": "forest", "colour": "#2ca02c"}, …]'
        ) from None


def _of_csv(file: Path) -> dict[int, tuple[str, Colour | None]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or not set(_COLUMNS) <= set(rows[0]):
        raise ValueError(f"{file} must have columns {' and '.join(_COLUMNS)}, and may have colour (#rrggbb)")
    try:
        return {int(row["number"]): (row["name"].strip(), _colour(row.get("colour") or None)) for row in rows}
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _colour(given: Any) -> Colour | None:
    if given is None or isinstance(given, str):
        return None if given is None else colour_of(given)
    red, green, blue = given
    return int(red), int(green), int(blue)
