"""From what a user asks for, and what a first raster has, to a `BandReading`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lightning_tl.earth.band_reading import BandReading, Range
from lightning_tl.earth.bands import Band, find_band, normalised, places_called
from lightning_tl.earth.indices import Index
from lightning_tl.earth.layers import Layer
from lightning_tl.earth.raster import Raster, open_raster
from lightning_tl.earth.sensors import Sensor, sensor_by_name
from lightning_tl.inputs.tiff_files import UnfitImageError

ValueRange = Sequence[float] | Mapping[str, Sequence[float]] | Literal["data"] | None


@dataclass(frozen=True)
class AskedBands:
    """What a user asks for.

    Args:
        bands: names, common names or wavelengths ("842nm"); None for all that files name; empty for none.
        indices: that become channels.
        keep_bands: whether bands are channels; false for indices alone.
        sensor: name of the sensor.
        band_names: of the bands of files that name none.
        value_range: lowest and highest physical value of bands, for all or by name; "data" for percentiles; None for
            the sensor's, or 0…255 of 8 bits.
        scale: see `ScalingOptions`.
        add_offset: see `ScalingOptions`.
        no_data: see `ReadingOptions`.
    """

    bands: tuple[str, ...] | None = None
    indices: tuple[Index, ...] = ()
    keep_bands: bool = True
    sensor: str | None = None
    band_names: tuple[str, ...] | None = None
    value_range: ValueRange = None
    scale: float | None = None
    add_offset: float | None = None
    no_data: float | None = None

    def __post_init__(self) -> None:
        if self.sensor is not None:
            sensor_by_name(self.sensor)
        plain = [normalised(name) for name in self.band_names or ()]
        if len(set(plain)) < len(plain) or "" in plain:
            raise ValueError(f"band_names must be different names, got {', '.join(self.band_names or ())}")
        for name in ("scale", "add_offset", "no_data"):
            value = getattr(self, name)
            if value is not None and (not np.isfinite(value) and name != "no_data"):
                raise ValueError(f"{name} must be a number, got {value}")
        if self.scale is not None and self.scale <= 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")
        if isinstance(self.value_range, str) and self.value_range != "data":
            raise ValueError(f"value_range must be a lowest and a highest value, or 'data', got '{self.value_range}'")
        ranges = self.value_range.values() if isinstance(self.value_range, Mapping) else [self.value_range]
        for given in ranges:
            if given is not None and not isinstance(given, str):
                _checked(given)
        if not self.keep_bands and not self.indices:
            raise ValueError("keep_bands is false and there are no indices, so there are no channels: give indices")

    def reading(self, path: Any) -> tuple[BandReading, tuple[Range | None, ...]]:
        """How rasters like this one are read, and the range of each channel; None where only the data can say.

        Args:
            path: of a raster.

        Raises:
            UnfitImageError: it lacks what is asked for, or says nothing of its bands.
            OSError: it cannot be opened.
        """
        asked = BandReading(("-",), ((0, 1),), sensor=self.sensor, band_names=self.band_names, **self._scaling())
        with open_raster(path, asked.options) as raster:
            chosen = self._bands(raster)
            sensor = None if raster.sensor is None else raster.sensor.name
            count = len(self.indices) + (len(chosen) if self.keep_bands else 0)
            reading = replace(
                asked,
                bands=chosen,
                indices=self.indices,
                keep_bands=self.keep_bands,
                ranges=((0.0, 1.0),) * count,
                sensor=sensor,
            )
            ranges = [self._range(raster.layers[raster.place(name)], raster.sensor) for name in chosen]
            self._check_ranges([raster.bands[raster.place(name)] for name in chosen], raster.path.name)
        with reading.open(path) as raster:  # says what the formulas lack
            reading = replace(reading, known=raster.known_values(reading.needed))
        kept = ranges if self.keep_bands else []
        return reading, (*kept, *((index.low, index.high) for index in self.indices))

    def _scaling(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("scale", "add_offset", "no_data")}

    def _bands(self, raster: Raster) -> tuple[str, ...]:
        if self.bands is not None:
            places = [raster.place(name) for name in self.bands]
        elif not self.keep_bands:
            places = []
        elif raster.hint and len(raster.band_names) > 0 and "EuroSAT" in raster.hint:
            raise UnfitImageError(
                f"which bands {raster.path.name} has is not known{raster.hint}; or choose some by name"
            )
        else:
            places = list(range(len(raster.band_names)))
        names = [raster.band_names[place] for place in places]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UnfitImageError(f"bands has {', '.join(twice)} more than once, by one name or another")
        return tuple(names)

    def _check_ranges(self, chosen: Sequence[Band], where: str) -> None:
        """Refuse a range for a band that is no channel."""
        for name in self.value_range if isinstance(self.value_range, Mapping) else ():
            find_band(name, chosen, f"value_range: what is read of {where}")

    def _range(self, layer: Layer, sensor: Sensor | None) -> Range | None:
        given = self.value_range
        if isinstance(given, Mapping):
            given = next((ends for name, ends in given.items() if places_called(name, [layer.band])), None)
        if given == "data":
            return None
        if given is not None:
            return _checked(given)
        if sensor is not None and layer.scaling.known:
            return layer.band.value_range or sensor.value_range
        if self.scale is not None:
            return 0.0, 1.0
        return (0.0, 255.0) if layer.dtype == "uint8" and not layer.scaling.known else None


def as_names(argument: str, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """A list of names as it was typed.

    Raises:
        ValueError: it is one text, whose letters would be taken for names.
    """
    if isinstance(given, str):
        raise ValueError(f"{argument} must be a list of names, such as [{given}], got '{given}'")
    return None if given is None else tuple(map(str, given))


def _checked(given: Any) -> Range:
    ends = [float(value) for value in given]
    if len(ends) != 2 or not (np.isfinite(ends).all() and ends[0] < ends[1]):
        raise ValueError(f"value_range must be a lowest and a higher highest value, got {list(given)}")
    return ends[0], ends[1]
