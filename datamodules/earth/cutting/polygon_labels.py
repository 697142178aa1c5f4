"""`PolygonLabels`: polygons laid over a scene, whatever projection they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.earth.cutting.laid_labels import NONE, check_count
from datamodules.earth.cutting.polygon_file import PolygonFile
from datamodules.earth.cutting.scene import Scene, Window
from lightning_tl.earth.needed_libraries import pyproj_module, shapely_module


class PolygonLabels:
    """A pixel has the class of the polygon in which its middle lies.

    Args:
        scene: over which they are laid.
        polygons: with their classes.
        where: the file, for messages.

    Raises:
        ValueError: none lies over the scene, or some of different classes overlap by more than a pixel.
    """

    def __init__(self, scene: Scene, polygons: PolygonFile, where: str) -> None:
        shapely = shapely_module()
        self.scene = scene
        self.notes: list[str] = []
        self.class_names = tuple(sorted(set(polygons.classes.tolist()), key=_in_order))
        plain = [name.casefold() for name in self.class_names]
        if alike := [name for name in self.class_names if plain.count(name.casefold()) > 1]:
            self.notes.append(f"{', '.join(alike)} are classes of their own, though they differ in case alone")
        check_count(self.class_names, f"the field '{polygons.field}' of {where}")
        shapes = self._projected(polygons, where)
        box = shapely.box(*scene.box((0, 0, scene.height, scene.width)))
        inside = shapely.intersects(shapes, box) & ~shapely.touches(shapes, box)
        if not inside.any():
            raise ValueError(
                f"no polygon of {where} lies over the scene: they lie in {_told(shapely.total_bounds(shapes))}, the "
                f"scene in {_told(box.bounds)} ({scene.crs}): are they of another place, or in another projection?"
            )
        if polygons.left_out:
            self.notes.append(f"{polygons.left_out:,} features of {where} have no area or no class and are left out")
        if not inside.all():
            self.notes.append(f"{int((~inside).sum()):,} of {len(inside):,} polygons of {where} lie outside the scene")
        self.shapes = shapes[inside]
        names = {name: number for number, name in enumerate(self.class_names)}
        self.numbers = np.array([names[name] for name in polygons.classes[inside].tolist()], np.int64)
        self.tree = shapely.STRtree(self.shapes)
        self._check_overlaps(where)

    def _projected(self, polygons: PolygonFile, where: str) -> NDArray[np.object_]:
        pyproj, shapely = pyproj_module(), shapely_module()
        theirs, ours = pyproj.CRS.from_user_input(polygons.crs), pyproj.CRS.from_user_input(self.scene.crs)
        if theirs.equals(ours, ignore_axis_order=True):
            return polygons.shapes
        self.notes.append(
            f"{where} is in {theirs.name}, the scene in {ours.name}: its polygons are reprojected to that of the scene"
        )
        change = pyproj.Transformer.from_crs(theirs, ours, always_xy=True).transform
        moved = shapely.transform(polygons.shapes, lambda at: np.stack(change(at[:, 0], at[:, 1]), 1))
        usable = np.isfinite(shapely.bounds(moved)).all(1)
        if not usable.any():
            raise ValueError(
                f"no polygon of {where} ({theirs.name}) can be brought to {ours.name}: is it another place?"
            )
        return np.asarray(np.where(usable, shapely.make_valid(np.where(usable, moved, None)), shapely.Point()), object)

    def _check_overlaps(self, where: str) -> None:
        shapely = shapely_module()
        pixel = self.scene.pixel_area
        first, second = self.tree.query(self.shapes, predicate="intersects")
        other = (first < second) & (self.numbers[first] != self.numbers[second])
        first, second = first[other], second[other]
        areas = shapely.area(shapely.intersection(self.shapes[first], self.shapes[second]))
        wide = np.flatnonzero(areas > pixel)
        if len(wide):
            worst = wide[int(np.argmax(areas[wide]))]
            a, b = (self.class_names[int(self.numbers[side[worst]])] for side in (first, second))
            raise ValueError(
                f"{len(wide):,} pairs of polygons of different classes overlap in {where}, the most '{a}' and '{b}' by "
                f"{areas[worst] / pixel:,.0f} pixels: a pixel has one class, so cut one from the other first"
            )

    def mask(self, window: Window) -> NDArray[np.uint8]:
        """See `LaidLabels`."""
        from rasterio.features import rasterize

        shapely = shapely_module()
        hit = np.sort(self.tree.query(shapely.box(*self.scene.box(window))))
        shape = window[2], window[3]
        if not len(hit):
            return np.full(shape, NONE, np.uint8)
        drawn: NDArray[np.uint8] = rasterize(
            [(areal(self.shapes[k]), int(self.numbers[k])) for k in hit],
            out_shape=shape,
            fill=NONE,
            transform=self.scene.transform(window),
            dtype="uint8",
        )
        return drawn


def _in_order(name: str) -> tuple[float, str]:
    """Numbers by their value, then names."""
    try:
        return (float(name), name) if np.isfinite(float(name)) else (np.inf, name)
    except ValueError:
        return np.inf, name


def areal(shape: Any) -> Any:
    """The polygons of a shape: what making it valid may have left of lines and points has no area."""
    if shape.geom_type != "GeometryCollection":
        return shape
    shapely = shapely_module()
    parts = [part for part in shapely.get_parts(shape) if shapely.get_dimensions(part) == 2]
    return shapely.union_all(parts)


def _told(bounds: Any) -> str:
    west, south, east, north = (float(value) for value in bounds)
    return f"x {west:,.6g} to {east:,.6g}, y {south:,.6g} to {north:,.6g}"
