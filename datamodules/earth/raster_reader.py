"""`RasterReader`: rasters of a data set to channels, as the user asks or as a finished run had it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.channel_values import chip_statistics, completed_ranges, sampled_values
from datamodules.earth.seen_rasters import SeenRaster
from lightning_tl.earth.band_reading import BandReading, Chip, Range
from lightning_tl.earth.choosing_bands import AskedBands
from lightning_tl.earth.composites import COMPOSITES, SHOWN_PERCENTILES
from lightning_tl.earth.raster import Raster
from lightning_tl.inputs.tiff_files import UnfitImageError

_MOST_PIXELS = 4096 * 4096  # of a sample
_TRIED = 20  # rasters, until one opens that shows which bands there are


class RasterReader:
    """Which bands are read is settled by a first raster, or by a run; their ranges by the training rasters.

    Args:
        asked: bands, indices and what stored values mean.
        most_missing: largest share of a raster's pixels that may be without data, in 0…1.
    """

    def __init__(self, asked: AskedBands, most_missing: float = 0.5) -> None:
        if not 0 <= most_missing <= 1:
            raise ValueError(f"most_missing must be in [0, 1], a share of an image's pixels, got {most_missing}")
        self.asked, self.most_missing = asked, most_missing
        self._reading: BandReading | None = None
        self._ranges: tuple[Range | None, ...] = ()
        self.finished = False

    @property
    def reading(self) -> BandReading:
        """Everything that turns a raster into channels; its ranges and fill are final once `finished`."""
        if self._reading is None:
            raise RuntimeError("which channels there are is known once data are set up")
        return self._reading

    def settle(self, paths: Sequence[Path], run_input: Mapping[str, Any]) -> None:
        """Find out, once, which channels there are.

        Args:
            paths: of the rasters; the first that can be opened tells, where no run does.
            run_input: what a finished run says of its input; empty without one.

        Raises:
            UnfitImageError: it lacks a band, or says nothing of its bands.
            OSError: none of the first rasters can be opened.
        """
        if self._reading is not None:
            return
        if run_input.get("reading"):
            self.take(BandReading.from_json(run_input["reading"]))
            return
        first: Exception | None = None
        for path in paths[:_TRIED]:
            try:
                self._reading, self._ranges = self.asked.reading(path)
                return
            except (OSError, UnfitImageError) as error:
                first = first or error
        if first is not None:
            raise first

    def take(self, reading: BandReading) -> None:
        """Read as a finished run did; what the user says of new files goes before what was said of the run's.

        Raises:
            UnfitImageError: another sensor has none of the bands.
        """
        asked = self.asked
        files = {name: getattr(asked, name) for name in ("band_names", "scale", "add_offset", "no_data")}
        reading = replace(reading, **{name: value for name, value in files.items() if value is not None})
        self._reading = reading if asked.sensor is None else reading.for_sensor(asked.sensor)
        self._ranges, self.finished = self._reading.ranges, True

    def forget(self) -> None:
        """Begin anew, with other data."""
        self._reading, self._ranges, self.finished = None, (), False

    def finish(self, paths: Sequence[Path], threads: int) -> list[str]:
        """Settle the ranges by the training rasters; what to tell of them."""
        values = sampled_values(self._physical, paths, threads)
        ranges, notes = completed_ranges(self._ranges, values, self.reading.channels)
        low, high = np.array(ranges, np.float64).T
        black, white = np.percentile(((values - low) / (high - low)).clip(0, 1), SHOWN_PERCENTILES, axis=0).round(6)
        shown = tuple(zip(black.tolist(), white.tolist(), strict=True))
        self._reading, self.finished = replace(self.reading.with_ranges(ranges), shown=shown), True
        return notes

    def statistics(self, paths: Sequence[Path], threads: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel; pixels without data are filled with the mean from now on."""
        mean, deviation = chip_statistics(self.chip, paths, self.reading.channels, threads)
        self._reading = self.reading.with_ranges(self.reading.ranges, mean)
        return mean, deviation

    def fill_with(self, values: Sequence[float]) -> None:
        """What pixels without data are given, where it is not settled: the mean that channels are normalised with."""
        if not self.reading.fill:
            self._reading = self.reading.with_ranges(self.reading.ranges, values)

    def told(self, composite: str) -> list[str]:
        """Which channels are read of what, and what pictures of this kind lack."""
        reading = self.reading
        pairs = zip(reading.channels, reading.common_names, strict=True)
        names = ", ".join(name if name == common else f"{name} ({common})" for name, common in pairs)
        notes = [f"channels: {names}" + ("" if reading.sensor is None else f"; bands are those of {reading.sensor}")]
        if reading.shows(composite) is None:
            needs = ", ".join(wanted[0] for wanted in COMPOSITES[composite])
            notes.append(f"pictures show {reading.common_names[0]} in grey, as {composite} colours need {needs}")
        return notes

    # ---------------------------------------------------------------- reading

    def chip(self, path: Path) -> Chip:
        """The channels of one raster."""
        with self._opened(path) as raster:
            return self.reading.read(raster)

    def _opened(self, path: Path) -> Raster:
        """A raster of the size of a sample.

        Raises:
            UnfitImageError: it is a scene.
        """
        raster = self.reading.open(path)
        if raster.height * raster.width > _MOST_PIXELS:
            raster.close()
            raise UnfitImageError(
                f"{path.name} has {raster.height:,} × {raster.width:,} pixels, a scene and no sample (at most "
                f"{_MOST_PIXELS:,} pixels): cut it into chips first (lightning-tl chips)"
            )
        return raster

    def look(self, path: Path) -> tuple[NDArray[np.float32], SeenRaster]:
        """The physical values of one raster [height, width, channels], and what was seen of it.

        Raises:
            UnfitImageError: too many of its pixels have no data.
            OSError: it is damaged.
        """
        with self._opened(path) as raster:
            values, valid = self.reading.physical(raster)
            missing = int((~valid).sum())
            if missing > self.most_missing * valid.size or not valid.any():
                share = "all" if not valid.any() else f"{missing / valid.size:.1%}"
                raise UnfitImageError(
                    f"{path.name} has no data in {share} of its pixels, and most_missing allows "
                    f"{self.most_missing:.0%}: set on_bad_image to skip to leave such images out"
                )
            return values.transpose(1, 2, 0).astype(np.float32), _seen(raster, missing)

    def header(self, path: Path) -> SeenRaster:
        """What the head of a file tells, without its pixels."""
        with self.reading.open(path) as raster:
            return _seen(raster, 0)

    def _physical(self, path: Path) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with self._opened(path) as raster:
            return self.reading.physical(raster)


def _seen(raster: Raster, missing: int) -> SeenRaster:
    grid = raster.grid
    crs = raster.crs.to_string() if raster.georeferenced else None
    box = grid.bounds if raster.georeferenced else None
    size = raster.height, raster.width
    return SeenRaster(size, missing, grid.pixel, crs, box, raster.left_out, tuple(raster.notes()))
