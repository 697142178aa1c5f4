"""The bands of one raster file: what they are called, how they are stored and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_tl.earth.bands import Band, common_name_of, named, normalised, wavelength_in
from lightning_tl.earth.needed_libraries import gdal_settings, rasterio_module
from lightning_tl.earth.product_names import band_of_file, sensor_of_product
from lightning_tl.earth.scaling import Scaling, ScalingOptions, scaling_of
from lightning_tl.earth.sensors import Sensor
from lightning_tl.inputs.tiff_files import UnfitImageError

_ORDER_UNSURE = (
    "; the other bands of a file of 13 without names may be in EuroSAT's order, band 8A last (sensor: eurosat), or in "
    "that of wavelength (band_names: [{order}])"
)


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says of files.

    Args:
        sensor: whose bands they hold; None where the files say.
        band_names: of the bands in their order, for files that name none.
        scaling: scale and offset.
        no_data: stored value of pixels without data; default what the file says, else the sensor.
    """

    sensor: Sensor | None = None
    band_names: tuple[str, ...] | None = None
    scaling: ScalingOptions = field(default_factory=ScalingOptions)
    no_data: float | None = None


@dataclass(frozen=True)
class Grid:
    """Where pixels lie.

    Args:
        height: rows.
        width: columns.
        crs: coordinate reference system, of rasterio; None where nobody says.
        transform: from column and row to x and y, an affine map.
    """

    height: int
    width: int
    crs: Any
    transform: Any

    @property
    def pixel(self) -> float:
        """Side of a pixel, in units of the coordinate reference system."""
        t = self.transform
        return float(max(abs(t.a) + abs(t.d), abs(t.e) + abs(t.b)))

    @property
    def georeferenced(self) -> bool:
        """Whether it is known where on Earth it lies."""
        return self.crs is not None and not self.transform.is_identity

    def place(self, column: float, row: float) -> tuple[float, float]:
        """Where a corner of a pixel lies: x and y."""
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Lowest x and y, highest x and y."""
        corners = [self.place(x, y) for x in (0, self.width) for y in (0, self.height)]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)


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
    """

    layers: list[Layer]
    sensor: Sensor | None
    hint: str = ""


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
    return (str(error).splitlines() or [type(error).__name__])[0]


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
    with opened(path) as file:
        _check_kind(file, path)
        alpha = _opacity(file, options)
        numbers = [k for k in range(file.count) if k not in alpha]
        sensor = options.sensor or sensor_of_product(path.name)
        if only is None and len(numbers) == 1 and not file.descriptions[numbers[0]] and options.band_names is None:
            only = (band_of_file(path.stem, sensor) or (None, None))[0]
        names: list[Band | None] = [only]
        hint = ""
        if only is None or len(numbers) > 1:
            names, hint = _names(
                [file.descriptions[k] for k in numbers], _colours(file, numbers), options, sensor, path
            )
        grid = Grid(file.height, file.width, file.crs, file.transform)
        layers = []
        for k, band in zip(numbers, names, strict=True):
            if band is None:
                continue
            tags = (float(file.scales[k]), float(file.offsets[k]))
            scaling = scaling_of(band, sensor, options.scaling, tags, file.dtypes[k], f"{within}{path.name}", product)
            own = file.nodatavals[k] if options.no_data is None else options.no_data
            shared = (
                sensor.no_data if own is None and sensor is not None and not file.dtypes[k].startswith("f") else None
            )
            flags = {flag.name for flag in file.mask_flag_enums[k]}
            masked = bool(alpha) if "alpha" in flags else "per_dataset" in flags
            layers.append(Layer(path, k + 1, band, scaling, grid, own, shared, masked, file.dtypes[k]))
    return FoundLayers(layers, sensor, hint)


def _check_kind(file: Any, path: Path) -> None:
    if file.subdatasets:
        raise UnfitImageError(
            f"{path.name} has {len(file.subdatasets)} pages or data sets, and one raster is wanted: bands belong into "
            "one page, as samples of each pixel (gdal_translate, or tifffile with planarconfig)"
        )
    if file.count == 0:
        raise UnfitImageError(f"{path.name} has no bands")
    odd = [kind for kind in file.dtypes if kind.startswith("complex")]
    if odd:
        raise UnfitImageError(f"{path.name} holds {odd[0]} values: write amplitudes or intensities, as real numbers")
    if file.colorinterp[0].name == "palette":
        raise UnfitImageError(f"{path.name} holds numbers of a colour table, such as classes of a map, and no bands")


def _opacity(file: Any, options: ReadingOptions) -> list[int]:
    """Bands of opacity; what is marked so by habit, as a fourth band of 8 bits is, is none where it has a band's name.

    The file's description, the user's list and the sensor's order name it.
    """
    named_all = options.band_names is not None and len(options.band_names) == file.count
    ordered = options.sensor is not None and bool(options.sensor.order(file.count)) and not any(file.descriptions)
    if named_all or ordered:
        return []
    marked = [k for k, meaning in enumerate(file.colorinterp) if meaning.name == "alpha"]
    return [k for k in marked if (file.descriptions[k] or "alpha").casefold() in ("alpha", "opacity", "mask")]


def _colours(file: Any, numbers: Sequence[int]) -> list[str]:
    """Common names by the colours that a file gives; of none unless it has red, green and blue."""
    found = [file.colorinterp[k].name for k in numbers]
    return [name if name in ("red", "green", "blue") else "" for name in found] if "green" in found else []


def _names(
    descriptions: Sequence[str | None],
    colours: Sequence[str],
    options: ReadingOptions,
    sensor: Sensor | None,
    path: Path,
) -> tuple[list[Band | None], str]:
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
            return band
    return Band(head or text, common_name_of(head), wavelength_in(text))


def _check_different(names: Sequence[str], path: Path) -> None:
    plain = [normalised(name) for name in names]
    twice = sorted({name for name in names if plain.count(normalised(name)) > 1})
    if twice:
        raise UnfitImageError(
            f"{path.name} has several bands called {', '.join(twice)}: name them, in order, with band_names"
        )
