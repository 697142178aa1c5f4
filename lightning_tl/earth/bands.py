"""What a band is called, and finding one by its name, by its common name or by a wavelength."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from lightning_tl.inputs.tiff_files import UnfitImageError

# Names of the STAC extension "eo" for what a band sees, whatever a sensor calls it.
COMMON_NAMES = (
    *("coastal", "blue", "green", "yellow", "red", "rededge071", "rededge075", "rededge078", "nir", "nir08", "nir09"),
    *("cirrus", "swir16", "swir22", "pan", "lwir11", "lwir12"),
)
_ALSO = {
    **{"aerosol": "coastal", "ultrablue": "coastal", "coastalaerosol": "coastal", "panchromatic": "pan"},
    **{"swir1": "swir16", "swir2": "swir22", "nearinfrared": "nir", "nir1": "nir", "nirnarrow": "nir08"},
    **{"rededge1": "rededge071", "rededge2": "rededge075", "rededge3": "rededge078", "watervapour": "nir09"},
    **{"watervapor": "nir09", "thermal": "lwir11", "r": "red", "g": "green", "b": "blue", "n": "nir"},
}
_NEAR_INFRARED = {"nir": ("nir08",), "nir08": ("nir",)}  # sensors with one of the two: Landsat, NAIP
_WAVELENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(nm|um|µm|μm)", re.IGNORECASE)
_REACH = 0.03  # a wavelength names the nearest band whose centre is at most this share of it away


@dataclass(frozen=True)
class Band:
    """One band of a sensor or of a file.

    Args:
        name: as the sensor or the file has it, such as "B04".
        common_name: what it sees, one of `COMMON_NAMES`; empty where nobody says.
        wavelength_nm: centre, in nanometres.
        ground_sample_m: side of a pixel on the ground, in metres.
        scale: physical value of a stored one, `stored * scale + offset`; None for the sensor's.
        offset: see `scale`.
        value_range: lowest and highest physical value that mean something; None for the sensor's.
    """

    name: str
    common_name: str = ""
    wavelength_nm: float | None = None
    ground_sample_m: float | None = None
    scale: float | None = None
    offset: float | None = None
    value_range: tuple[float, float] | None = None

    @property
    def channel_name(self) -> str:
        """The common name where it has one, else its name: what weights of different sensors are matched by."""
        return self.common_name or self.name


def named(name: str) -> Band:
    """A band of which only the name is known; its common name too where it is one."""
    return Band(name, common_name_of(name))


@lru_cache(maxsize=4096)
def common_name_of(name: str) -> str:
    """The common name that a name stands for, such as "swir16" for "SWIR 1"; empty where it is none."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    if plain in COMMON_NAMES:
        return plain
    return _ALSO.get(plain, "")


@lru_cache(maxsize=4096)  # every band of every file is compared with every band of the sensor
def normalised(name: str) -> str:
    """A band's name without what people write differently: B4, b04, Band 4 and SR_B4 are "b4"."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    plain = re.sub(r"^(?:sr|st|toa|boa)(?=b\d)", "", plain)
    plain = re.sub(r"^band(?=\d)", "b", plain)
    return re.sub(r"^b0+(?=\d)", "b", plain)


def find_band(wanted: str, bands: Sequence[Band], where: str, hint: str = "") -> int:
    """The place of a band.

    Args:
        wanted: its name, its common name, or a wavelength such as "842nm" or "1.6um": the nearest band within 3%.
        bands: those there are.
        where: who has them, for messages.
        hint: what else the user should know where it is not found.

    Raises:
        UnfitImageError: it is not there, with the nearest names.
    """
    wavelength = _WAVELENGTH.fullmatch(str(wanted).strip())
    if wavelength:
        return _by_wavelength(wanted, _nanometres(wavelength), bands, where, hint)
    same = places_called(str(wanted), bands)
    if len(same) == 1:
        return same[0]
    if same:
        raise UnfitImageError(f"'{wanted}' names {len(same)} bands of {where}: {_told([bands[k] for k in same])}")
    names = {normalised(band.name): band.name for band in bands}
    names |= {band.common_name: f"{band.name} ({band.common_name})" for band in bands if band.common_name}
    near = [names[key] for key in get_close_matches(normalised(str(wanted)), list(names), n=3, cutoff=0.5)]
    nearest = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "."
    raise UnfitImageError(f"{where} has no band '{wanted}'{nearest} It has {_told(bands)}{hint}")


def places_called(name: str, bands: Sequence[Band]) -> list[int]:
    """The places of bands of this name; else of this common name, where "nir" also stands for a narrow one alone."""
    same = [k for k, band in enumerate(bands) if normalised(band.name) == normalised(name)]
    common = common_name_of(name)
    for other in [common, *_NEAR_INFRARED.get(common, ())] if common else []:
        same = same or [k for k, band in enumerate(bands) if band.common_name == other]
    return same


def _by_wavelength(wanted: str, nanometres: float, bands: Sequence[Band], where: str, hint: str) -> int:
    known = [(abs(band.wavelength_nm - nanometres), k) for k, band in enumerate(bands) if band.wavelength_nm]
    if not known:
        raise UnfitImageError(
            f"'{wanted}' is a wavelength, and of the bands of {where} none is known: name the sensor, or choose bands "
            f"by name. It has {_told(bands)}{hint}"
        )
    away, place = min(known)
    if away <= _REACH * nanometres:
        return place
    near = bands[place]
    raise UnfitImageError(
        f"{where} has no band within {_REACH:.0%} of {nanometres:g} nm; the nearest is {near.name} at "
        f"{near.wavelength_nm:g} nm. It has {_told(bands)}{hint}"
    )


def _nanometres(match: re.Match[str]) -> float:
    return float(match[1]) * (1 if match[2].casefold() == "nm" else 1000)


def wavelength_in(text: str) -> float | None:
    """The wavelength that a band's description gives in it, in nanometres: 665 of "B4, central wavelength 665 nm"."""
    found = _WAVELENGTH.search(text)
    return _nanometres(found) if found else None


def _told(bands: Sequence[Band]) -> str:
    names = [
        f"{band.name} ({band.common_name})" if band.common_name not in ("", band.name) else band.name for band in bands
    ]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
