"""Tables of sensors: their bands, and what their stored values mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from lightning_tl.earth.bands import Band, find_band, places_called
from lightning_tl.inputs.tiff_files import UnfitImageError


@dataclass(frozen=True)
class Sensor:
    """A sensor's bands, in the order of wavelength, and how its values are stored.

    Args:
        name: to ask for it by.
        bands: all of them.
        scale: reflectance of a stored whole number, `stored * scale + offset`.
        offset: see `scale`.
        value_range: lowest and highest reflectance that mean something.
        no_data: stored value of pixels without data, where a file does not say; a pixel counts as missing when all
            bands that are read have it.
        orders: the orders in which files without names of bands are known to hold them, by the number of bands.
        bits: of stored whole numbers.
    """

    name: str
    bands: tuple[Band, ...]
    scale: float
    offset: float = 0.0
    value_range: tuple[float, float] = (0.0, 1.0)
    no_data: float | None = None
    orders: tuple[tuple[str, ...], ...] = ()
    bits: int = 16

    def band(self, name: str) -> Band:
        """One of its bands, by name, common name or wavelength.

        Raises:
            UnfitImageError: it has none of that name, with the nearest.
        """
        return self.bands[find_band(name, self.bands, f"the sensor {self.name}")]

    def knows(self, name: str) -> Band | None:
        """Its band of this name or common name; None where it has none."""
        return next((self.bands[place] for place in places_called(name, self.bands)), None)

    def order(self, count: int) -> list[Band | None]:
        """The bands of a file of so many bands without names; None where its known orders differ in a place."""
        fitting = [order for order in self.orders if len(order) == count]
        if not fitting:
            return []
        same = [names[0] if len(set(names)) == 1 else None for names in zip(*fitting, strict=True)]
        return [None if name is None else self.band(name) for name in same]


def _bands(rows: Sequence[tuple[str, str, float, float]]) -> tuple[Band, ...]:
    return tuple(Band(name, common, wavelength, sample) for name, common, wavelength, sample in rows)


# Central wavelengths of Sentinel-2A, ESA's "Sentinel-2 Spectral Response Functions", version 3.0.
_S2_BANDS = _bands(
    [
        ("B01", "coastal", 442.7, 60),
        ("B02", "blue", 492.4, 10),
        ("B03", "green", 559.8, 10),
        ("B04", "red", 664.6, 10),
        ("B05", "rededge071", 704.1, 20),
        ("B06", "rededge075", 740.5, 20),
        ("B07", "rededge078", 782.8, 20),
        ("B08", "nir", 832.8, 10),
        ("B8A", "nir08", 864.7, 20),
        ("B09", "nir09", 945.1, 60),
        ("B10", "cirrus", 1373.5, 60),
        ("B11", "swir16", 1613.7, 20),
        ("B12", "swir22", 2202.4, 20),
    ]
)
_IN_ORDER = tuple(band.name for band in _S2_BANDS)
_EUROSAT = (*(name for name in _IN_ORDER if name != "B8A"), "B8A")  # Helber et al. 2019 put band 8A last
_WITHOUT_CIRRUS = tuple(name for name in _IN_ORDER if name != "B10")  # products of level 2A have no cirrus band
SENTINEL_2 = Sensor(
    "sentinel2", _S2_BANDS, scale=1e-4, no_data=0, orders=(_IN_ORDER, _EUROSAT, _WITHOUT_CIRRUS)
)  # reflectance × 10,000; since processing baseline 04.00 (2022-01-25) 1,000 is added, which `scaling` asks about
EUROSAT = Sensor("eurosat", _S2_BANDS, scale=1e-4, orders=(_EUROSAT,))

# Collection 2, level 2: surface reflectance, and surface temperature in kelvin (USGS LSDS-1619, LSDS-1618).
_TEMPERATURE = {"scale": 0.00341802, "offset": 149.0, "value_range": (200.0, 350.0)}
LANDSAT_8_9 = Sensor(
    "landsat8",
    (
        *_bands(
            [
                ("B1", "coastal", 443, 30),
                ("B2", "blue", 482, 30),
                ("B3", "green", 561.5, 30),
                ("B4", "red", 654.5, 30),
                ("B5", "nir08", 865, 30),
                ("B6", "swir16", 1608.5, 30),
                ("B7", "swir22", 2200.5, 30),
                ("B8", "pan", 589.5, 15),
                ("B9", "cirrus", 1373.5, 30),
            ]
        ),
        Band("B10", "lwir11", 10895, 100, **_TEMPERATURE),  # type: ignore[arg-type]
        Band("B11", "lwir12", 12005, 100, **_TEMPERATURE),  # type: ignore[arg-type]
    ),
    scale=2.75e-5,
    offset=-0.2,
    no_data=0,
    orders=(("B1", "B2", "B3", "B4", "B5", "B6", "B7"),),
)
LANDSAT_7 = Sensor(  # and the Thematic Mappers of Landsat 4 and 5, which number and store bands alike
    "landsat7",
    (
        *_bands(
            [
                ("B1", "blue", 477.5, 30),
                ("B2", "green", 560, 30),
                ("B3", "red", 661.5, 30),
                ("B4", "nir08", 835, 30),
                ("B5", "swir16", 1650, 30),
                ("B7", "swir22", 2220, 30),
                ("B8", "pan", 705, 15),
            ]
        ),
        Band("B6", "lwir11", 11450, 60, **_TEMPERATURE),  # type: ignore[arg-type]
    ),
    scale=2.75e-5,
    offset=-0.2,
    no_data=0,
    orders=(("B1", "B2", "B3", "B4", "B5", "B7"),),
)
NAIP = Sensor(
    "naip",
    _bands([("R", "red", 635, 1), ("G", "green", 555, 1), ("B", "blue", 465, 1), ("N", "nir", 845, 1)]),
    scale=1 / 255,  # brightness of a picture, no reflectance
    orders=(("R", "G", "B", "N"),),
    bits=8,
)
SENSORS = (SENTINEL_2, EUROSAT, LANDSAT_8_9, LANDSAT_7, NAIP)
_ALSO = {"s2": "sentinel2", "sentinel2a": "sentinel2", "sentinel2b": "sentinel2", "sentinel2c": "sentinel2"}
_ALSO |= {
    "landsat4": "landsat7",
    "landsat5": "landsat7",
    "landsat9": "landsat8",
    "landsat89": "landsat8",
    "sentinel2l2a": "sentinel2",
    "sentinel2l1c": "sentinel2",
}


def sensor_by_name(name: str) -> Sensor:
    """A sensor's table.

    Args:
        name: "sentinel2", "eurosat" (Sentinel-2 with EuroSAT's order of 13 bands), "landsat8" (8 and 9),
            "landsat7" (4, 5 and 7) or "naip", however it is spelt.

    Raises:
        UnfitImageError: there is no such table, with the nearest names.
    """
    plain = re.sub(r"[^a-z0-9]", "", str(name).casefold())
    names = {sensor.name: sensor for sensor in SENSORS}
    found = names.get(_ALSO.get(plain, plain))
    if found is None:
        near = get_close_matches(plain, list(names), n=1)
        nearest = f"; did you mean {near[0]}?" if near else ";"
        raise UnfitImageError(f"there is no table of a sensor '{name}'{nearest} there are {', '.join(names)}")
    return found
