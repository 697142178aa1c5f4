"""Spectral indices by name, and formulas of the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.formulas import Formula


@dataclass(frozen=True)
class Index:
    """An index: a formula over bands, and the range of it that is mapped to 0…1.

    Args:
        name: of its channel.
        formula: over common names or names of bands.
        low: becomes 0, and so does what is below.
        high: becomes 1, and so does what is above.
        needs_reflectance: whether other units than reflectance give other values, so that they must be known.
    """

    name: str
    formula: str
    low: float = -1.0
    high: float = 1.0
    needs_reflectance: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ValueError(
                f"the range of index '{self.name}' must be a lowest and a higher highest value, got "
                f"{self.low:g} and {self.high:g}"
            )
        _ = self.parsed

    @cached_property
    def parsed(self) -> Formula:
        """The formula, to be computed."""
        return Formula(self.formula)

    def values(self, bands: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The index; 0 where the formula is not defined, as where it divides by 0.

        Args:
            bands: an array for each name in the formula, of one shape, in reflectance.
        """
        found = self.parsed(bands)
        return np.where(np.isnan(found), 0.0, found)


# NDVI: Rouse et al. 1974. EVI: Huete et al. 2002. SAVI: Huete 1988 (L = 0.5). NDWI: McFeeters 1996. MNDWI: Xu 2006.
# NBR: García and Caselles 1991. NDBI: Zha et al. 2003.
INDICES = {
    index.name: index
    for index in (
        Index("ndvi", "(nir - red) / (nir + red)"),
        Index("evi", "2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)", needs_reflectance=True),
        Index("savi", "1.5 * (nir - red) / (nir + red + 0.5)", needs_reflectance=True),
        Index("ndwi", "(green - nir) / (green + nir)"),
        Index("mndwi", "(green - swir16) / (green + swir16)"),
        Index("nbr", "(nir - swir22) / (nir + swir22)"),
        Index("ndbi", "(swir16 - nir) / (swir16 + nir)"),
    )
}
Asked = Sequence[str | dict[str, Any]] | Mapping[str, Any]


def asked_indices(asked: Asked) -> tuple[Index, ...]:
    """Indices by name, or by name and formula.

    Args:
        asked: names ("ndvi", or one of spyndex's, where that is installed); or a mapping from names to formulas, to
            `{formula: …, range: [low, high]}`, or to nothing for an index of this name.

    Raises:
        ValueError: no such index, no formula, or a name twice.
    """
    if isinstance(asked, str):
        raise ValueError(f"indices must be a list of names or a mapping from names to formulas, got '{asked}'")
    pairs = list(asked.items()) if isinstance(asked, Mapping) else [_pair(each) for each in asked]
    found = tuple(_index(str(name), given) for name, given in pairs)
    names = [index.name for index in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"indices has {', '.join(twice)} more than once")
    return found


def _pair(each: Any) -> tuple[Any, Any]:
    """An entry of a list: a name, or a mapping of one name to a formula."""
    if isinstance(each, Mapping):
        if len(each) != 1:
            raise ValueError(f"an entry of indices is a name, or one name with a formula, got {dict(each)}")
        return next(iter(each.items()))
    return each, None


def _index(name: str, given: Any) -> Index:
    if given is None or (isinstance(given, str) and given.strip().casefold() == name.casefold()):
        return _named(name)
    if isinstance(given, str):
        return Index(name, given)
    if not isinstance(given, Mapping) or "formula" not in given or set(given) - {"formula", "range"}:
        raise ValueError(f"index '{name}' must be a formula, or have formula and range, got {given}")
    ends = given.get("range", (-1.0, 1.0))
    if not isinstance(ends, Sequence) or isinstance(ends, str) or len(ends) != 2:
        raise ValueError(f"the range of index '{name}' must be a lowest and a highest value, got {ends}")
    return Index(name, str(given["formula"]), float(ends[0]), float(ends[1]))


def _named(name: str) -> Index:
    if (known := INDICES.get(name.casefold())) is not None:
        return known
    if re.search(r"[-+*/() ]", name):
        raise ValueError(f"'{name}' is no name of an index; give a formula a name, as {{mine: '{name}'}}")
    others = _catalogue()
    found = next((index for key, index in others.items() if key.casefold() == name.casefold()), None)
    if found is not None:
        return found
    near = get_close_matches(name.casefold(), [*INDICES, *(key.casefold() for key in others)], n=3, cutoff=0.6)
    more = f" and {len(others)} of spyndex's" if others else "; python -m pip install spyndex brings 200 more"
    raise ValueError(
        f"there is no index '{name}'{f'; did you mean {chr(32).join(near[:1])}?' if near else '.'} There are "
        f"{', '.join(INDICES)}{more}; or give a formula: {{{name}: '(nir - red) / (nir + red)'}}"
    )


def _catalogue() -> dict[str, Index]:
    """The indices of spyndex that are formulas over bands, with its own constants; none where it is not installed."""
    try:
        import spyndex
    except ModuleNotFoundError:
        return {}
    bands = {key: band.common_name for key, band in spyndex.bands.items()}
    bands |= {"T": "lwir11", "T1": "lwir11", "G1": ""}
    constants = {key: each.default for key, each in spyndex.constants.items() if isinstance(each.default, int | float)}
    found = {}
    for key, entry in spyndex.indices.items():
        names = {name: bands.get(name) or constants.get(name) for name in re.findall(r"[A-Za-z_]\w*", entry.formula)}
        if any(value is None for value in names.values()):
            continue  # of radar, kernels, and bands that no table has
        parts = re.split(r"([A-Za-z_]\w*)", entry.formula)
        text = "".join(str(names.get(part, part)) for part in parts)
        try:
            found[key] = Index(key.casefold(), text, needs_reflectance=True)
        except ValueError:
            continue
    return found
