"""The bands of one raster file: what they are called, how they are stored and where they lie."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_tl.earth.band_naming import colours_of, names_of, opacity_bands
from lightning_tl.earth.bands import Band
from lightning_tl.earth.grid import Grid
from lightning_tl.earth.needed_libraries import gdal_settings, rasterio_module
from lightning_tl.earth.platforms import sensor_in_file
from lightning_tl.earth.product_names import band_of_file, sensor_of_product
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.earth.scaling import Scaling, scaling_of
from lightning_tl.earth.sensors import Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError


@dataclass(frozen=True)
class Layer:
    """One band in a file.

    Args:
        file: that holds it.
        number: its number there, from 1.
        band: what it is.
        scaling: from stored to physical values.
        grid: of the file.
        no_data: stored value of pixels without data.
        shared_no_data: a pixel has no data where all bands that are read have this value, since the sensor's table and
            not the file says so: single bands may well hold it.
        masked: whether the file has a mask of its own, or a band of opacity.
        dtype: of stored values.
    """

    file: Path
    number: int
    band: Band
    scaling: Scaling
    grid: Grid
    no_data: float | None
    shared_no_data: float | None
    masked: bool
    dtype: str


@dataclass
class FoundLayers:
    """The bands of a file or product.

    Args:
        layers: those with a name.
        sensor: whose they are; None where nobody says.
        hint: why others have none, for messages.
        files: that are open already, for who reads them.
        left_out: how many other bands there are.
    """

    layers: list[Layer]
    sensor: Sensor | None
    hint: str = ""
    files: dict[Path, Any] = field(default_factory=dict)
    left_out: int = 0

    def close(self) -> None:
        """Close the files that are open, where nobody will read them."""
        for file in self.files.values():
            file.close()


def opened(path: Path) -> Any:
    """A raster file, open for reading.

    Raises:
        OSError: naming the file.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():  # a pipe would be waited for without end
        raise OSError(f"{path} is no file")
    rasterio = rasterio_module()
    try:
        with gdal_settings():
            return rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise OSError(f"{path} cannot be opened as a raster, or is damaged: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def file_layers(
    path: Path,
    options: ReadingOptions,
    only: Band | None = None,
    product: dict[str, tuple[float, float]] | None = None,
    within: str = "",
) -> FoundLayers:
    """The bands of a file, by the names that it gives, or the user's list, or the sensor's order.

    Args:
        path: of the file.
        options: what the user says.
        only: what the band of a file of one is, where its name says so.
        product: scale and offset by name of band, from a product's metadata.
        within: name of the product's folder, whose date may tell of an offset.

    Raises:
        UnfitImageError: its bands have no names, or it is no raster of one page of numbers.
        OSError: it cannot be opened.
    """
    file = opened(path)
    with ExitStack() as stack:
        stack.callback(file.close)
        check_kind(file, path)
        alpha = opacity_bands(file, options)
        numbers = [k for k in range(file.count) if k not in alpha]
        sensor = sensor_in_file(options.sensor, f"{within or _folder(path)}{path.name}", file)
        descriptions = [file.descriptions[k] for k in numbers]
        if only is None and len(numbers) == 1 and not descriptions[0] and options.band_names is None:
            only = (band_of_file(path.stem, sensor) or (None, None))[0]
        names: list[Band | None] = [only]
        hint = ""
        if only is None or len(numbers) > 1:
            names, hint = names_of(descriptions, colours_of(file, numbers), options, sensor, path)
        layers = _layers(file, path, zip(numbers, names, strict=True), bool(alpha), options, sensor, product, within)
        stack.pop_all()  # it stays open to be read
    return FoundLayers(layers, sensor, hint, {path: file})


def _layers(
    file: Any,
    path: Path,
    named: Iterable[tuple[int, Band | None]],
    alpha: bool,
    options: ReadingOptions,
    sensor: Sensor | None,
    product: dict[str, tuple[float, float]] | None,
    within: str,
) -> list[Layer]:
    """How each band with a name is stored; `alpha` is whether the file has a band of opacity."""
    grid = Grid(file.height, file.width, file.crs, file.transform)
    kept = zip(file.scales, file.offsets, file.dtypes, file.nodatavals, file.mask_flag_enums, strict=True)
    every = list(kept)  # rasterio works out those of all bands whenever one is asked for
    layers = []
    for k, band in named:
        if band is None:
            continue
        scale, offset, dtype, marked, flags = every[k]
        tags = float(scale), float(offset)
        scaling = scaling_of(band, sensor, options.scaling, tags, dtype, f"{within}{path.name}", product)
        own = marked if options.no_data is None else options.no_data
        shared = sensor.no_data if own is None and sensor is not None and not dtype.startswith("f") else None
        kinds = {flag.name for flag in flags}
        masked = alpha if "alpha" in kinds else "per_dataset" in kinds
        layers.append(Layer(path, k + 1, band, scaling, grid, own, shared, masked, dtype))
    return layers


def _folder(path: Path) -> str:
    """The name of a file's folder, where it is that of a product."""
    name = path.absolute().parent.name
    return f"{name}/" if sensor_of_product(name) else ""


def check_kind(file: Any, path: Path, classes: bool = False) -> None:
    """Refuse what is no raster of one page of real numbers.

    Args:
        file: opened by rasterio.
        path: of it, for messages.
        classes: whether it is to hold numbers of classes, which may have a colour table.

    Raises:
        UnfitImageError: naming what it is, and what to do.
    """
    if file.subdatasets:
        remedy = "bands belong into one page, as samples of each pixel (gdal_translate, or tifffile with planarconfig)"
        if path.name.upper().startswith("MTD_"):
            remedy = f"give the folder of the product, {path.absolute().parent.name}"
        raise UnfitImageError(
            f"{path.name} has {len(file.subdatasets)} pages or data sets, and one raster is wanted: {remedy}"
        )
    if file.count == 0:
        raise UnfitImageError(f"{path.name} has no bands")
    odd = [kind for kind in file.dtypes if kind.startswith("complex")]
    if odd:
        raise UnfitImageError(f"{path.name} holds {odd[0]} values: write amplitudes or intensities, as real numbers")
    if file.colorinterp[0].name == "palette" and not classes:
        raise UnfitImageError(f"{path.name} holds numbers of a colour table, such as classes of a map, and no bands")


__all__ = ["FoundLayers", "Grid", "Layer", "ReadingOptions", "file_layers", "opened"]
