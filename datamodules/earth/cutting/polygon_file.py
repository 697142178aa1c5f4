"""Polygons with a class each, read from GeoJSON, GeoPackage or another file of vectors by pyogrio."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.earth.needed_libraries import pyogrio_module, shapely_module

_USUAL = ("class", "class_name", "classname", "label", "landcover", "land_cover", "lulc", "category", "name", "type")


@dataclass(frozen=True)
class PolygonFile:
    """What a file of polygons holds.

    Args:
        shapes: [n] polygons, in the file's projection.
        classes: [n] names of classes.
        crs: of the file.
        field: which field the classes are from.
        left_out: how many had no class or no shape.
    """

    shapes: NDArray[np.object_]
    classes: NDArray[np.str_]
    crs: str
    field: str
    left_out: int


def read_polygons(path: Path, class_field: str | None = None, layer: str | None = None) -> PolygonFile:
    """Read polygons and their classes.

    Args:
        path: of the file.
        class_field: the field of classes; default the one with a usual name, or the only one.
        layer: of a file with several.

    Raises:
        ValueError: no such field or layer (nearest names), nothing but points or lines, or no projection.
        OSError: it cannot be opened.
    """
    pyogrio = pyogrio_module()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} of labels")
    try:
        chosen = _layer(path, [str(row[0]) for row in pyogrio.list_layers(path) if row[1] is not None], layer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of rings that are none, which are told below
            meta, _, shapes, columns = pyogrio.raw.read(path, layer=chosen)
    except pyogrio.errors.DataSourceError as error:
        raise OSError(f"{path} cannot be read as polygons, or is damaged: {str(error).splitlines()[0]}") from None
    if not meta["crs"]:
        raise ValueError(f"{path} does not say its projection, so that it cannot be laid over the scene: set it")
    if not len(shapes):
        raise ValueError(f"{path} holds no polygons: its layer '{chosen}' is empty")
    fields = [str(name) for name in meta["fields"]]
    field = _field(path, fields, columns, class_field)
    shapely = shapely_module()
    try:
        read = shapely.from_wkb(shapes)
    except shapely.errors.ShapelyError as error:
        raise ValueError(
            f"{path} has shapes that are none, such as rings of fewer than four points ({str(error).splitlines()[0]}): "
            "mend or remove them"
        ) from None
    return _polygons(path, read, columns[fields.index(field)], str(meta["crs"]), field)


def _polygons(path: Path, shapes: NDArray[Any], column: NDArray[Any], crs: str, field: str) -> PolygonFile:
    shapely = shapely_module()
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    areal = shapely.get_dimensions(shapes) == 2
    if not len(shapes) or not (there & areal).any():
        kinds = sorted({str(shape.geom_type) for shape in shapes[there]}) or ["nothing"]
        raise ValueError(f"{path} holds no polygons but {', '.join(kinds)}: chips are cut by areas")
    names = np.array([_class_name(value) for value in column], dtype=np.str_)
    kept = there & areal & (names != "")
    if not kept.any():
        raise ValueError(f"no polygon of {path} has a value in its field '{field}'")
    valid = shapely.make_valid(shapes[kept])
    return PolygonFile(np.asarray(valid, dtype=object), names[kept], crs, field, int((~kept).sum()))


def _class_name(value: Any) -> str:
    if value is None or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _layer(path: Path, layers: Sequence[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in layers:
        near = difflib.get_close_matches(wanted, layers, n=3, cutoff=0.5) or list(layers)
        raise ValueError(f"{path} has no layer '{wanted}' of shapes; nearest: {', '.join(near)}")
    if wanted is None and len(layers) != 1:
        told = (
            f"{len(layers)} layers of shapes: {', '.join(layers)}; choose one with --layer" if layers else "no shapes"
        )
        raise ValueError(f"{path} has {told}")
    return wanted if wanted is not None else layers[0]


def _field(path: Path, fields: Sequence[str], columns: Sequence[NDArray[Any]], wanted: str | None) -> str:
    if wanted is not None:
        if wanted in fields:
            return wanted
        near = difflib.get_close_matches(wanted, fields, n=3, cutoff=0.4) or list(fields)
        raise ValueError(
            f"the polygons of {path} have no field '{wanted}'"
            + (f"; nearest: {', '.join(near)}" if near else ": they have no fields at all")
        )
    usual = [name for name in fields if name.casefold() in _USUAL]
    texts = [name for name, column in zip(fields, columns, strict=True) if column.dtype == object]
    for found in (usual, texts, list(fields)):
        if len(found) == 1:
            return found[0]
    told = f"fields {', '.join(fields)}; choose the one of classes with --class_field" if fields else "no field"
    raise ValueError(f"the polygons of {path} have {told}")
