"""`MapSummary`: how much of a map each class has, as JSON, Markdown and a picture with a legend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_tl.contracts.mask_legend import Colour
from lightning_tl.earth.layers import Grid
from lightning_tl.earth.needed_libraries import rasterio_module
from lightning_tl.mapping.block_parts import BlockParts
from lightning_tl.mapping.painted_block import NO_CLASS
from lightning_tl.mapping.pixel_areas import PixelAreas
from lightning_tl.mapping.plans import Window
from lightning_tl.storage.partial_file import write_whole

_SHOWN = 1_600  # pixels along the longer side of the picture


@dataclass(frozen=True)
class MapSummary:
    """What a map shows.

    Args:
        class_names: in order.
        colours: of the classes.
        pixels: [classes] of each.
        km2: [classes] of ground; None without georeference.
        missing: pixels without a class.
        about: how the map was made, by name.
    """

    class_names: tuple[str, ...]
    colours: tuple[Colour, ...]
    pixels: NDArray[np.int64]
    km2: NDArray[np.float64] | None
    missing: int
    about: dict[str, Any]

    @classmethod
    def of(
        cls,
        parts: BlockParts,
        blocks: Sequence[Window],
        grid: Grid,
        classes: tuple[Sequence[str], Sequence[Colour]],
        about: dict[str, Any],
    ) -> MapSummary:
        """Count the blocks of a map whose classes have these names and colours."""
        names, colours = classes
        count = len(names)
        areas = PixelAreas(grid) if grid.georeferenced else None
        pixels, km2 = np.zeros(NO_CLASS + 1, np.int64), np.zeros(count)
        for number, place in enumerate(blocks):
            found = parts.block(number).classes
            pixels += np.bincount(found.ravel(), minlength=NO_CLASS + 1)
            if areas is not None:
                km2 += areas.of_classes(place, found, count)
        return cls(
            tuple(names), tuple(colours), pixels[:count], None if areas is None else km2, int(pixels[NO_CLASS]), about
        )

    def write(self, map_file: Path) -> None:
        """Write `NAME.json`, `NAME.md` and `NAME.png` beside `NAME.tif`."""
        write_whole(map_file.with_suffix(".json"), json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        write_whole(map_file.with_suffix(".md"), self.to_markdown(map_file.name))
        self._draw(map_file, map_file.with_suffix(".png"))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        total = max(1, int(self.pixels.sum()))
        rows = [
            {
                "number": number,
                "name": name,
                "colour": "#{:02x}{:02x}{:02x}".format(*colour),
                "pixels": int(self.pixels[number]),
                "share": int(self.pixels[number]) / total,
                **({} if self.km2 is None else {"km2": float(self.km2[number])}),
            }
            for number, (name, colour) in enumerate(zip(self.class_names, self.colours, strict=True))
        ]
        return {**self.about, "classes": rows, "pixels_without_class": self.missing}

    def table(self) -> list[tuple[str, str, str]]:
        """Name, area (or pixels) and share of each class, the largest first."""
        total = max(1, int(self.pixels.sum()))
        order = np.argsort(-self.pixels, kind="stable")
        return [
            (
                self.class_names[int(k)],
                f"{self.pixels[k]:,} pixels" if self.km2 is None else f"{self.km2[k]:,.2f} km²",
                f"{self.pixels[k] / total:.1%}",
            )
            for k in order
        ]

    def to_markdown(self, name: str) -> str:
        """A table for people."""
        lines = [f"# {name}", "", "| class | area | share |", "|---|---:|---:|"]
        lines += [f"| {_cell(row[0])} | {row[1]} | {row[2]} |" for row in self.table()]
        whole = self.missing + int(self.pixels.sum())
        share = f"{self.missing:,} of {whole:,} pixels ({self.missing / max(1, whole):.1%})"
        lines += ["", f"{share} have no class: no data in the scene, masked, or too few data around."]
        if self.km2 is not None:
            lines += ["", "Areas are on the ellipsoid."]
        told = [f"- {name.replace('_', ' ')}: {value}" for name, value in self.about.items()]
        return "\n".join([*lines, "", *told, ""])

    def _draw(self, map_file: Path, path: Path) -> None:
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        from lightning_tl.reports.display_text import short_names
        from lightning_tl.reports.pictures.picture_style import picture

        with rasterio_module().open(map_file) as file:
            smaller = max(1.0, max(file.height, file.width) / _SHOWN)
            shape = max(1, round(file.height / smaller)), max(1, round(file.width / smaller))
            shown = file.read(1, out_shape=shape)
        colours = [(r / 255, g / 255, b / 255) for r, g, b in self.colours]
        width = 8.0 * min(1.0, shape[1] / shape[0]) + 3.2
        height = max(2.0, 8.0 * min(1.0, shape[0] / shape[1])) + 0.6
        with picture(path, width, height) as figure:
            axes = figure.subplots()
            numbers = np.where(shown == NO_CLASS, len(colours), shown)
            axes.imshow(numbers, ListedColormap([*colours, (1.0, 1.0, 1.0)]), vmin=-0.5, vmax=len(colours) + 0.5,
                        interpolation="nearest")  # fmt: skip
            axes.set_axis_off()
            axes.set_title(map_file.name)
            short = dict(zip(self.class_names, short_names(self.class_names, 24), strict=True))
            patches = [
                Patch(color=colours[self.class_names.index(name)], label=f"{short[name]}  {area}  {share}")
                for name, area, share in self.table()[:40]
            ]
            if self.missing:
                patches.append(Patch(facecolor="white", edgecolor="grey", label="no class"))
            figure.legend(handles=patches, loc="outside right upper", frameon=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
