"""`BandReading`: everything that turns a raster into the channels that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.bands import Band, common_name_of, named
from lightning_tl.earth.composites import composite_channels, stretched
from lightning_tl.earth.grid import Window
from lightning_tl.earth.indices import Index
from lightning_tl.earth.raster import Raster, open_raster
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.scaling import ScalingOptions
from lightning_tl.earth.sensors import Sensor, sensor_by_name
from lightning_tl.inputs.tiff_files import UnfitImageError

Range = tuple[float, float]


@dataclass(frozen=True)
class Chip:
    """What was read of a raster.

    Args:
        pixels: [height, width, channels] float32 in 0…1; the fill where there are no data.
        valid: [height, width], whether there are data in every band.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class BandReading:
    """Which bands and indices become channels, and how their values are mapped to 0…1.

    A run keeps it in its description (`run.json`), so that what reads for the run's model later reads the same.

    Args:
        bands: names of the bands that are channels, in order, as the sensor or the files have them.
        indices: that are channels after them, or with `keep_bands` false instead of them.
        keep_bands: whether the bands are channels themselves.
        sensor: name of the sensor; None where files name their bands.
        band_names: of the bands of files that name none, in their order.
        ranges: for each channel the lowest and highest physical value, which become 0 and 1; what lies outside becomes
            the nearer end.
        fill: for each channel what pixels without data are given, in 0…1; empty for 0.
        shown: for each channel what is black and what is white in pictures, in 0…1; empty for each picture's own.
        scale: physical value of a stored 1; None for what file, product or sensor say.
        add_offset: added to stored values before that; see `ScalingOptions`.
        no_data: stored value of pixels without data; None for what the file or the sensor says.
        known: whether somebody said what stored values of the training images mean, so that ranges are physical; None
            for a run that did not note it. Files of the other kind are refused, unless `scale` says what theirs mean.
    """

    bands: tuple[str, ...]
    ranges: tuple[Range, ...]
    indices: tuple[Index, ...] = ()
    keep_bands: bool = True
    sensor: str | None = None
    band_names: tuple[str, ...] | None = None
    fill: tuple[float, ...] = ()
    scale: float | None = None
    add_offset: float | None = None
    no_data: float | None = None
    shown: tuple[Range, ...] = ()
    known: bool | None = None

    def __post_init__(self) -> None:
        if not self.channels:
            raise ValueError("a reading without channels: keep the bands, or give indices")
        if len(set(self.channels)) < len(self.channels) or len(set(self.common_names)) < len(self.channels):
            raise ValueError(f"channels must have different names, got {', '.join(self.common_names)}")
        for name, values in (("ranges", self.ranges), ("fill", self.fill), ("shown", self.shown)):
            if len(values) != len(self.channels) and (values or name == "ranges"):
                raise ValueError(
                    f"{name} must have one entry for each of {len(self.channels)} channels, got {len(values)}"
                )

    # ---------------------------------------------------------------- what the channels are

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels in order: bands ("B04"), then indices ("ndvi")."""
        return (*(self.bands if self.keep_bands else ()), *(index.name for index in self.indices))

    @cached_property
    def common_names(self) -> tuple[str, ...]:
        """The same with the common name of bands that have one ("red"): what weights are matched by."""
        kept = self.bands if self.keep_bands else ()
        return (*(self.band(name).channel_name for name in kept), *(index.name for index in self.indices))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Bands that must be read: those that are channels, and those of the formulas."""
        kept = list(self.bands) if self.keep_bands else []
        have = {self.band(name).channel_name for name in kept} | set(kept)
        for index in self.indices:
            for name in index.parsed.names:
                band = self.band(name)
                if not {band.name, band.channel_name} & have:
                    kept.append(band.name)
                    have |= {band.name, band.channel_name}
        return tuple(kept)

    def band(self, name: str) -> Band:
        """What is known of a band: the sensor's entry, or its name."""
        table = self._sensor
        return (table.knows(name) if table is not None else None) or named(name)

    @cached_property
    def _sensor(self) -> Sensor | None:
        return None if self.sensor is None else sensor_by_name(self.sensor)

    @property
    def options(self) -> ReadingOptions:
        """What files are opened with."""
        return ReadingOptions(self._sensor, self.band_names, ScalingOptions(self.scale, self.add_offset), self.no_data)

    # ---------------------------------------------------------------- reading

    def open(self, path: str | Path) -> Raster:
        """A raster with the bands that are needed, on the grid of the finest of them.

        Raises:
            UnfitImageError: it lacks a band, with the nearest names; or says nothing of its bands.
            OSError: it cannot be opened.
        """
        raster = open_raster(path, self.options, bands=self.needed)
        try:
            self._check_known(raster)
        except UnfitImageError:
            raster.close()
            raise
        strict = [index.name for index in self.indices if index.needs_reflectance]
        if strict and not raster.known_values(self.needed):
            raster.close()
            raise UnfitImageError(
                f"{', '.join(strict)} needs reflectance, and nothing says what the values of {raster.path.name} mean: "
                "give sensor or scale, or choose indices that are ratios of differences, such as ndvi"
            )
        return raster

    def _check_known(self, raster: Raster) -> None:
        known = raster.known_values(self.needed)
        if self.known is None or self.scale is not None or known == self.known:
            return
        if known:
            raise UnfitImageError(
                f"{raster.path.name} says what its stored values mean, by tags or metadata, and the images that the "
                "reading was settled by do not: give scale (1 for stored values as they are)"
            )
        raise UnfitImageError(
            f"nothing says what the stored values of {raster.path.name} mean, and those of the images that the reading "
            "was settled by are known: give scale (reflectance × 10,000: 0.0001), or sensor"
        )

    def read(self, source: Raster | str | Path, window: Window | None = None) -> Chip:
        """The channels of a raster, or of a window of it.

        Args:
            source: a raster that `open` gave, or a path.
            window: (first row, first column, height, width); default all.
        """
        if not isinstance(source, Raster):
            with self.open(source) as raster:
                return self.read(raster, window)
        values, valid = self.physical(source, window)
        low, high = np.array(self.ranges, np.float64).T[:, :, None, None]
        scaled = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
        pixels = np.ascontiguousarray(scaled.transpose(1, 2, 0))
        pixels[~valid] = np.array(self.fill or (0.0,) * len(self.channels), np.float32)
        return Chip(pixels, valid)

    def physical(self, source: Raster, window: Window | None = None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The channels before they are mapped to 0…1: [channels, height, width], and where there are data."""
        read, valid = source.read(self.needed, window)
        if not self.indices:
            return read, valid
        planes = dict(zip(self.needed, read, strict=True))
        planes = {self.band(name).channel_name: plane for name, plane in planes.items()} | planes
        indices = [
            index.values({name: _plane(name, planes, self.band(name)) for name in index.parsed.names})
            for index in self.indices
        ]
        kept = [planes[name] for name in self.bands] if self.keep_bands else []
        return np.stack([*kept, *indices]), valid

    # ---------------------------------------------------------------- pictures

    def composite(
        self, pixels: NDArray[np.float32], kind: str = "true", valid: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
        """A picture of channels: [height, width, 3], black and white as in the training images.

        Where those show nothing, as in scenes of another light, by the picture's own values. Where the bands of this
        kind are lacking, the first channel in grey (see `shows`).

        Args:
            pixels: [height, width, channels] in 0…1.
            kind: "true", "false" or "swir".
            valid: [height, width], where there are data; the rest is black.
        """
        places = self.shows(kind) or (0, 0, 0)
        ends = [self.shown[place] for place in places] if self.shown else None
        return stretched(pixels[:, :, list(places)], valid, ends)

    def shows(self, kind: str) -> tuple[int, int, int] | None:
        """The channels that a kind of picture shows as red, green and blue; None where it has not all of them."""
        return composite_channels(self.common_names, kind)

    # ---------------------------------------------------------------- being kept

    def with_ranges(self, ranges: Sequence[Range], fill: Sequence[float] = ()) -> BandReading:
        """The same with other ranges and fill."""
        return replace(self, ranges=tuple((float(a), float(b)) for a, b in ranges), fill=tuple(map(float, fill)))

    def for_sensor(self, name: str) -> BandReading:
        """The same channels from another sensor's bands, matched by common name.

        Raises:
            UnfitImageError: it lacks one, or a formula names bands of this sensor.
        """
        new = sensor_by_name(name)
        if self.sensor in (None, new.name) or self._sensor is None or self._sensor.bands == new.bands:
            return replace(self, sensor=new.name)
        for index in self.indices:
            for part in index.parsed.names:
                if self._sensor.knows(part) != new.knows(part) and not common_name_of(part):
                    raise UnfitImageError(f"the formula of {index.name} names {part}, a band of {self.sensor} alone")
        bands = tuple(new.band(self.band(band).channel_name).name for band in self.bands)
        return replace(self, sensor=new.name, bands=bands)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        told = asdict(self)
        told["indices"] = [asdict(index) for index in self.indices]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> BandReading:
        """From what `to_json` wrote.

        Raises:
            ValueError: it is damaged.
        """
        try:
            names = told.get("band_names")
            return cls(
                bands=tuple(told["bands"]),
                ranges=tuple((float(low), float(high)) for low, high in told["ranges"]),
                indices=tuple(Index(**index) for index in told["indices"]),
                keep_bands=bool(told["keep_bands"]),
                sensor=told.get("sensor"),
                band_names=None if names is None else tuple(names),
                fill=tuple(float(value) for value in told.get("fill", ())),
                shown=tuple((float(low), float(high)) for low, high in told.get("shown", ())),
                **{name: told.get(name) for name in ("scale", "add_offset", "no_data", "known")},
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the reading of bands that a run describes is damaged: {error}") from None


def _plane(name: str, planes: Mapping[str, NDArray[Any]], band: Band) -> NDArray[Any]:
    for key in (name, band.name, band.channel_name):
        if key in planes:
            return planes[key]
    raise UnfitImageError(f"the formula's band '{name}' was not read")
