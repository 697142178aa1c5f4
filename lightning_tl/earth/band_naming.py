"""The names of a file's bands: the user's, the file's own, or those of the sensor's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_tl.earth.bands import Band, common_name_of, named, normalised, wavelength_in
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.sensors import Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError

_FAR = 0.08  # share of a wavelength; those of one band on sisters of a satellite differ by less
_ORDER_UNSURE = (
    "; the other bands of a file of 13 without names may be in EuroSAT's order, band 8A last (sensor: eurosat), or in "
    "that of wavelength (band_names: [{order}])"
)


def opacity_bands(file: Any, options: ReadingOptions) -> list[int]:
    """Bands of opacity; what is marked so by habit, as a fourth band of 8 bits is, is none where it has a band's name.

    The file's description, the user's list and the sensor's order name it.
    """
    named_all = options.band_names is not None and len(options.band_names) == file.count
    ordered = options.sensor is not None and bool(options.sensor.order(file.count)) and not any(file.descriptions)
    if named_all or ordered:
        return []
    marked = [k for k, meaning in enumerate(file.colorinterp) if meaning.name == "alpha"]
    return [k for k in marked if (file.descriptions[k] or "alpha").casefold() in ("alpha", "opacity", "mask")]


def colours_of(file: Any, numbers: Sequence[int]) -> list[str]:
    """Common names by the colours that a file gives; of none unless it has red, green and blue."""
    meanings = file.colorinterp
    found = [meanings[k].name for k in numbers]
    return [name if name in ("red", "green", "blue") else "" for name in found] if "green" in found else []


def names_of(
    descriptions: Sequence[str | None],
    colours: Sequence[str],
    options: ReadingOptions,
    sensor: Sensor | None,
    path: Path,
) -> tuple[list[Band | None], str]:
    """What each band is, None where that is not known, and why it is not, for messages.

    Args:
        descriptions: of the file's bands.
        colours: common names by the file's colours, see `colours_of`.
        options: what the user says.
        sensor: whose bands they are; None where nobody says.
        path: of the file.

    Raises:
        UnfitImageError: they have no names.
    """
    count, given = len(descriptions), options.band_names
    if given is not None:
        if len(given) != count:
            raise UnfitImageError(
                f"band_names has {len(given)} names ({', '.join(given[:15])}), and {path.name} has {count} bands"
            )
        return [_known(name, sensor) for name in given], ""
    if any(descriptions):
        found = [_described(text, sensor) if text else None for text in descriptions]
        _check_different([band.name for band in found if band], path)
        if options.sensor is not None and not any(band in options.sensor.bands for band in found):
            raise UnfitImageError(
                f"no band of {path.name} ({', '.join(band.name for band in found[:5] if band)}) is one of "
                f"{options.sensor.name}: set sensor to theirs, or to null"
            )
        missing = sum(band is None for band in found)
        return found, f"; {missing} more have no name in the file" if missing else ""
    if options.sensor is not None or (sensor is not None and sensor.order(count)):
        assert sensor is not None
        if order := sensor.order(count):
            unsure = _ORDER_UNSURE.format(order=", ".join(b.name for b in sensor.bands)) if None in order else ""
            return order, unsure
        known = " or ".join(sorted({str(len(order)) for order in sensor.orders}, key=int))
        raise UnfitImageError(
            f"the {count} bands of {path.name} have no names, and {sensor.name}'s order is known of files with {known} "
            f"bands: say which they are, in order, with band_names (--data.band_names=[{_example(sensor, count)}])"
        )
    if colours:
        return [named(name) if name else None for name in colours], "; its other bands have no names"
    raise UnfitImageError(
        f"the {count} bands of {path.name} have no names: say which they are, in order, with band_names "
        "(--data.band_names=[blue,green,red,nir]), or whose they are with sensor (sentinel2, eurosat, landsat8, naip)"
    )


def _example(sensor: Sensor, count: int) -> str:
    return ",".join(band.name for band in sensor.bands[:count]) + ("" if count <= len(sensor.bands) else ",…")


def _known(name: str, sensor: Sensor | None) -> Band:
    return (sensor.knows(name) if sensor is not None else None) or named(name)


def _described(text: str, sensor: Sensor | None) -> Band:
    """What a description says: "B04", "Red", "B4, central wavelength 665 nm"."""
    head = text.split(",")[0].strip()
    for part in (text.strip(), head, *head.split()):
        if sensor is not None and (band := sensor.knows(part)):
            _check_same(text, part, band, sensor)
            return band
    return Band(head or text, common_name_of(head), wavelength_in(text))


def _check_same(text: str, part: str, band: Band, sensor: Sensor) -> None:
    """Refuse a description of which the rest tells of another band than its name does: "B5, nir" of Landsat.

    Raises:
        UnfitImageError: with what the sensor's band of this name sees.
    """
    told, wavelength = common_name_of(text.replace(part, "", 1)), wavelength_in(text)
    far = wavelength is not None and band.wavelength_nm is not None and abs(wavelength / band.wavelength_nm - 1) > _FAR
    if far or (told and band.common_name and told[:3] != band.common_name[:3]):
        raise UnfitImageError(
            f"the band '{text}' is none of {sensor.name}, whose {band.name} is {band.common_name} at "
            f"{band.wavelength_nm:g} nm: set sensor to its own, or to null"
        )


def _check_different(names: Sequence[str], path: Path) -> None:
    plain = [normalised(name) for name in names]
    twice = sorted({name for name in names if plain.count(normalised(name)) > 1})
    if twice:
        raise UnfitImageError(
            f"{path.name} has several bands called {', '.join(twice)}: name them, in order, with band_names"
        )
