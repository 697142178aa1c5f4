"""Products: a folder with one file for each band, such as Sentinel-2's `.SAFE`, BigEarthNet's patches or Landsat's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lightning_tl.earth.bands import Band, find_band, normalised
from lightning_tl.earth.layers import FoundLayers, file_layers
from lightning_tl.earth.product_names import band_of_file, sample_of_file, sensor_of_product
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.sensors import SENTINEL_2, Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError

SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".j2k", ".img", ".vrt", ".nc"})  # of rasters that may hold bands
_METADATA = "MTD_MSIL*.xml"
_LEVELS_UP = 4  # from a granule's IMG_DATA/R10m to the product


def is_raster(name: str) -> bool:
    """Whether a file's name tells that it is a raster of any number of bands."""
    return Path(name).suffix.lower() in SUFFIXES


def band_files(folder: Path, sensor: Sensor | None) -> tuple[dict[str, tuple[Band, Path]], list[str]]:
    """The file of each band in a product, the finest where there are several, and the files that are no bands.

    Raises:
        UnfitImageError: two files of one band.
    """
    files = sorted(path for path in folder.rglob("*") if is_raster(path.name) and not path.name.startswith("."))
    images = [path for path in files if "IMG_DATA" in path.parts]  # of a SAFE folder, where masks lie elsewhere
    found: dict[str, list[tuple[int, Band, Path]]] = {}
    others = []
    for path in images or files:
        read = band_of_file(path.stem, sensor)
        if read is None:
            others.append(path.name)
            continue
        band, metres = read
        found.setdefault(normalised(band.name), []).append((metres or 0, band, path))
    chosen = {}
    for several in found.values():
        several.sort(key=lambda each: each[0])
        if len(several) > 1 and several[0][0] == several[1][0]:
            names = ", ".join(path.name for _, _, path in several[:3])
            raise UnfitImageError(f"{folder.name} has several files of the band {several[0][1].name}: {names}")
        _, band, path = several[0]
        chosen[band.name] = (band, path)
    return chosen, others


def looks_like_product(names: list[str]) -> bool:
    """Whether files that lie in one folder are the bands of one sample: two or more bands of one, and of no other."""
    stems = [Path(name).stem for name in names]
    samples = [sample for stem in stems if (sample := sample_of_file(stem)) is not None]
    return len(samples) > 1 and len(set(samples)) == 1


def product_layers(folder: Path, options: ReadingOptions, wanted: Sequence[str] | None = None) -> FoundLayers:
    """The bands of a product.

    Args:
        folder: of its files.
        options: what the user says.
        wanted: names of the bands that will be read, whose files alone are opened; None for all.

    Raises:
        UnfitImageError: no files that are called after bands, or bands in several files.
        OSError: a file cannot be opened.
    """
    sensor = options.sensor or sensor_of_product(folder.name) or _sensor_of_files(folder)
    files, others = band_files(folder, sensor)
    if not files:
        some = f"; it has {', '.join(others[:5])}" if others else ""
        raise UnfitImageError(f"no file in {folder} is called after a band (…_B04.tif, red.tif, …){some}")
    if options.band_names is not None:
        raise UnfitImageError(f"{folder.name} is a folder of bands, which its files name: leave band_names out")
    metadata = product_scalings(folder) if sensor is SENTINEL_2 else None
    hint = f"; not bands by their names: {', '.join(others[:5])}" if others else ""
    there = list(files.values())
    if wanted is not None:
        bands = [band for band, _ in there]
        there = [there[place] for place in dict.fromkeys(find_band(name, bands, folder.name, hint) for name in wanted)]
    found = FoundLayers([], sensor, hint, left_out=len(files) - len(there))
    try:
        for band, path in there:
            each = file_layers(path, _with(options, sensor), band, metadata, f"{folder.name}/")
            found.layers += each.layers
            found.files |= each.files
    except (OSError, ValueError):
        found.close()
        raise
    return found


def _with(options: ReadingOptions, sensor: Sensor | None) -> ReadingOptions:
    return ReadingOptions(sensor, None, options.scaling, options.no_data)


def _sensor_of_files(folder: Path) -> Sensor | None:
    names = (path.name for path in sorted(folder.rglob("*")) if is_raster(path.name))
    return next((sensor for name in names if (sensor := sensor_of_product(name))), None)


def product_scalings(path: Path) -> dict[str, tuple[float, float]] | None:
    """Scale and offset by band, from the metadata of the Sentinel-2 product that a folder or file lies in.

    `MTD_MSIL1C.xml` and `MTD_MSIL2A.xml` name the quantification value and, since baseline 04.00, what is to be added
    to the values of each band.

    Returns:
        None where there are no metadata.
    """
    places = [path, *list(path.parents)[:_LEVELS_UP]]
    file = next((found for place in places if place.is_dir() for found in sorted(place.glob(_METADATA))), None)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    divisor = re.search(r"<(?:BOA_)?QUANTIFICATION_VALUE[^>]*>\s*([\d.]+)", text)
    if divisor is None:
        return None
    offsets = re.findall(r"<(?:BOA|RADIO)_ADD_OFFSET\s+band_id=\"(\d+)\">\s*(-?[\d.]+)", text)
    by_band = {SENTINEL_2.bands[int(number)].name: float(value) for number, value in offsets if int(number) < 13}
    scale = 1 / float(divisor[1])
    return {band.name: (scale, by_band.get(band.name, 0.0) * scale) for band in SENTINEL_2.bands}
