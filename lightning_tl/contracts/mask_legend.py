"""`MaskLegend`: what the numbers in masks mean, and how people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lightning_tl.contracts.batches import IGNORED

Colour = tuple[int, int, int]
_COLOURS = (  # of classes that are given none, far apart from each other
    *("#1f77b4", "#2ca02c", "#e6c229", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f"),
    *("#ff7f0e", "#98df8a", "#aec7e8", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#9edae5", "#dbdb8d", "#c7c7c7"),
)
UNKNOWN_COLOUR: Colour = (0, 0, 0)
_LIMIT = 65536


@dataclass(frozen=True)
class MaskLegend:
    """The classes of masks, in the order of a model's outputs.

    Args:
        names: of the classes.
        numbers: what a mask file has for each, in 0…65535, all different.
        colours: of each, red, green and blue in 0…255; empty for those of the project.
        ignored: numbers of pixels of which nothing is known; none of `numbers`.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    colours: tuple[Colour, ...] = ()
    ignored: tuple[int, ...] = (255,)

    def __post_init__(self) -> None:
        for what, values in (("names", self.names), ("numbers", self.numbers)):
            if len(set(values)) < len(values):
                raise ValueError(f"the classes of masks must have different {what}, got {', '.join(map(str, values))}")
        if len(self.numbers) != len(self.names) or (self.colours and len(self.colours) != len(self.names)):
            raise ValueError(
                f"there must be one number, and one colour or none, for each of {len(self.names)} classes, got "
                f"{len(self.numbers)} and {len(self.colours)}"
            )
        if wrong := [number for number in (*self.numbers, *self.ignored) if not 0 <= number < _LIMIT]:
            raise ValueError(f"numbers in masks must be in 0…{_LIMIT - 1}, got {wrong[0]}")
        if both := set(self.numbers) & set(self.ignored):
            number = min(both)
            raise ValueError(
                f"{number} is the class '{self.names[self.numbers.index(number)]}' and cannot be ignored as well: set "
                "ignored to another number, or to [] for none"
            )
        if not self.colours:
            object.__setattr__(self, "colours", default_colours(len(self.names)))

    # ---------------------------------------------------------------- from files to class numbers, and back

    def classes(self, stored: NDArray[Any]) -> NDArray[np.int64]:
        """The values of a mask file as places in `names`, `IGNORED` where ignored; of the same shape.

        Args:
            stored: whole numbers, each a class or ignored.
        """
        table = np.full(_LIMIT, IGNORED, np.int64)
        table[list(self.numbers)] = np.arange(len(self.numbers))
        found: NDArray[np.int64] = table[stored.astype(np.int64)]
        return found

    def stored(self, classes: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Places in `names` as a mask file has them: 8 bits where these hold all numbers, else 16."""
        kind = np.uint8 if max((*self.numbers, *self.ignored[:1]), default=0) < 256 else np.uint16
        table = np.array([*self.numbers, self.ignored[0] if self.ignored else 0], kind)
        found: Any = table[np.where(classes >= 0, classes, len(self.numbers))]
        return found  # type: ignore[no-any-return]

    def unknown(self, values: Sequence[int]) -> list[int]:
        """Those of some values of masks that are neither a class nor ignored."""
        known = {*self.numbers, *self.ignored}
        return [value for value in values if value not in known]

    def picture(self, classes: NDArray[Any]) -> NDArray[np.uint8]:
        """Places in `names` [height, width] as people look at them: [height, width, 3]; black where ignored."""
        table = np.array([*self.colours, UNKNOWN_COLOUR], np.uint8)
        found: NDArray[np.uint8] = table[np.where(classes >= 0, classes, len(self.colours))]
        return found

    # ---------------------------------------------------------------- being kept

    def of_run(self, names: Sequence[str]) -> MaskLegend:
        """The same classes in the order of a run's outputs; one that these masks have not gets a number of its own."""
        taken = {*self.numbers, *self.ignored}
        spare = iter(number for number in range(_LIMIT) if number not in taken)
        own = default_colours(len(names))
        found = [
            (self.numbers[self.names.index(name)], self.colours[self.names.index(name)])
            if name in self.names
            else (next(spare), own[k])
            for k, name in enumerate(names)
        ]
        return MaskLegend(tuple(names), tuple(n for n, _ in found), tuple(c for _, c in found), self.ignored)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        told = asdict(self)
        return {**told, "colours": [list(colour) for colour in self.colours]} | {
            name: list(told[name]) for name in ("names", "numbers", "ignored")
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> MaskLegend:
        """From what `to_json` wrote.

        Raises:
            ValueError: it is damaged.
        """
        try:
            colours = tuple((int(r), int(g), int(b)) for r, g, b in told["colours"])
            numbers = tuple(int(number) for number in told["numbers"])
            return cls(tuple(map(str, told["names"])), numbers, colours, tuple(map(int, told["ignored"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the legend of masks that a run describes is damaged: {error}") from None


@runtime_checkable
class MaskedSamples(Protocol):
    """A data module whose samples are images with masks."""

    @property
    def legend(self) -> MaskLegend:
        """What the numbers in masks mean, once `setup` has run."""
        ...

    def mask(self, index: int) -> NDArray[np.int64]:
        """The true classes of an image's pixels, `IGNORED` where not known: [height, width]."""
        ...

    def frame(self, index: int) -> tuple[int, int]:
        """Height and width of an image's file in pixels."""
        ...

    def image_path(self, index: int) -> Any:
        """Its file; None where there is none."""
        ...


def default_colours(count: int) -> tuple[Colour, ...]:
    """Colours of so many classes; of more than 20 they begin again."""
    return tuple(colour_of(_COLOURS[k % len(_COLOURS)]) for k in range(count))


def colour_of(text: str) -> Colour:
    """A colour as #rrggbb.

    Raises:
        ValueError: it is none.
    """
    digits = text.strip().removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    except ValueError:
        raise ValueError(f"a colour must be #rrggbb, got '{text}'") from None
