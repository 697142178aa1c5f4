"""`ChipCutter`: a scene and its labels become chips, masks and a manifest."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.earth.cutting.chip_files import write_chip, write_mask
from datamodules.earth.cutting.chip_grid import ChipGrid
from datamodules.earth.cutting.laid_labels import NONE, GivenNumbers, LaidLabels
from datamodules.earth.cutting.polygon_file import read_polygons
from datamodules.earth.cutting.polygon_labels import PolygonLabels
from datamodules.earth.cutting.raster_labels import RasterLabels
from datamodules.earth.cutting.scene import Window
from datamodules.earth.cutting.scene_of_product import open_scene
from datamodules.earth.space import DROPPED, SplitInSpace
from lightning_tl.contracts.class_colours import class_colours
from lightning_tl.earth.looks_of_files import looks_of
from lightning_tl.storage.partial_file import write_whole

MANIFEST, CLASSES = "chips.parquet", "classes.json"
_RASTERS = (".tif", ".tiff", ".vrt", ".jp2", ".img")


@dataclass(frozen=True)
class CuttingOptions:
    """How chips are cut.

    Args:
        size: side of a chip in pixels.
        stride: pixels from one chip to the next; None for the size, so that none overlap.
        class_field: of polygons, the field of classes; None finds it.
        layer: of a file of polygons with several layers.
        least_labelled: smallest share of a chip's pixels that must have a label.
        most_missing: largest share of a chip's pixels that may have no data.
        split: into blocks; None writes no splits.
        classes: names in the order of their numbers; None for those of the labels, sorted.
    """

    size: int = 64
    stride: int | None = None
    class_field: str | None = None
    layer: str | None = None
    least_labelled: float = 0.0
    most_missing: float = 0.5
    split: SplitInSpace | None = None
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("least_labelled", "most_missing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is a share of a chip's pixels and must be in [0, 1], got {getattr(self, name)}"
                )


class ChipCutter:
    """Cuts chips into a folder beside the output, which becomes the output when all are there.

    An interrupted cut goes on where it was: chips that were written stay.

    Args:
        scene: the file, or the folder of a product.
        labels: polygons, or a raster of classes.
        output: folder to make.
        options: how.
        overwrite: replace the output.

    Raises:
        ValueError: no georeference, a scene smaller than a chip, labels that do not fit, an output that is there.
        OSError: a file cannot be opened.
    """

    def __init__(
        self, scene: Path, labels: Path, output: Path, options: CuttingOptions, overwrite: bool = False
    ) -> None:
        if output.exists() and not overwrite and (not output.is_dir() or any(output.iterdir())):
            raise ValueError(f"the output {output} is there already: take another name, or add --overwrite")
        if output.exists() and not output.is_dir():
            raise ValueError(f"the output {output} is a file, and chips go to a folder")
        if overwrite and output.is_dir() and any(output.iterdir()) and not (output / MANIFEST).is_file():
            raise ValueError(
                f"{output} holds no {MANIFEST}, so it is no folder of chips and is not replaced: remove it"
            )
        for what, path in (("scene", scene), ("labels", labels)):
            if overwrite and output.resolve() in (path.resolve(), *path.resolve().parents):
                raise ValueError(f"the {what} {path} lies in {output}, which would be replaced: take another output")
        self.output, self.options, self.overwrite = output, options, overwrite
        self.scene, self.label_file = open_scene(scene), labels
        self.grid = ChipGrid(self.scene.height, self.scene.width, options.size, options.stride or options.size)
        self.labels: LaidLabels = self._laid()
        if options.classes is not None:
            self.labels = GivenNumbers(self.labels, options.classes, str(labels))
        self.notes = [*self.labels.notes]
        if options.split is not None:
            boxes = np.array([self.scene.box(window) for window in self.grid.windows()])
            options.split.check(boxes, self.scene.crs)
            if self.grid.stride < self.grid.size and not options.split.gap:
                self.notes.append(
                    "chips overlap, across the edges of blocks too, so that test chips show what training chips show: "
                    "add --gap, or leave --stride out"
                )
        if any(self.grid.rest):
            self.notes.append(
                f"the last {self.grid.rest[0]} rows and {self.grid.rest[1]} columns of the scene are in no chip"
            )

    def _laid(self) -> LaidLabels:
        if not self.label_file.exists():
            raise FileNotFoundError(f"there is no file {self.label_file} of labels")
        if self.label_file.suffix.lower() in _RASTERS:
            if self.options.class_field or self.options.layer:
                raise ValueError(f"{self.label_file} is a raster of classes: --class_field and --layer are of polygons")
            return RasterLabels(self.scene, self.label_file)
        polygons = read_polygons(self.label_file, self.options.class_field, self.options.layer)
        return PolygonLabels(self.scene, polygons, str(self.label_file))

    def cut(self, progress: Callable[[int], None] = lambda count: None) -> pd.DataFrame:
        """Cut all chips; their manifest.

        Args:
            progress: told of each window that is done.

        Raises:
            ValueError: no chip has labels and data, or the split leaves one with one class.
            OSError: the scene is damaged, or the disk is full.
        """
        folder = self._begin()
        rows = []
        unlabelled = missing = 0
        for window in self.grid.windows():
            row = self._chip(folder, window)
            unlabelled += row == "unlabelled"
            missing += row == "missing"
            if isinstance(row, dict):
                rows.append(row)
            progress(1)
        if not rows:
            raise ValueError(
                f"of {unlabelled + missing:,} windows of {self.options.size} pixels {unlabelled:,} have too few labels "
                f"(least_labelled {self.options.least_labelled:g}) and {missing:,} too few data (most_missing "
                f"{self.options.most_missing:g}): there is no chip to cut"
            )
        self.notes += [f"{unlabelled:,} windows without labels are left out"] if unlabelled else []
        self.notes += [f"{missing:,} windows without data are left out"] if missing else []
        table = self._with_splits(pd.DataFrame(rows))
        self._finish(folder, table)
        return table

    def _chip(self, folder: Path, window: Window) -> dict[str, Any] | str:
        mask = self.labels.mask(window)
        if not (mask != NONE).any():
            return "unlabelled"
        stored, there = self.scene.read(window)
        mask = np.where(there, mask, NONE).astype(np.uint8)
        labelled = mask != NONE
        if (~there).mean() > self.options.most_missing or not there.any():
            return "missing"
        if not labelled.any() or labelled.mean() < self.options.least_labelled:
            return "unlabelled"
        name = f"{self.scene.name}_r{window[0]:06}_c{window[1]:06}.tif"
        image, target = folder / "images" / name, folder / "masks" / name
        if not target.is_file():  # it is written last, so that both are there
            write_chip(image, self.scene, window, stored)
            write_mask(target, self.scene, window, mask)
        counts = np.bincount(mask[labelled], minlength=len(self.labels.class_names))
        west, south, east, north = self.scene.box(window)
        most = int(counts.argmax())
        return {
            "path": f"images/{name}",
            "mask": f"masks/{name}",
            "label": self.labels.class_names[most],
            "share": float(counts[most]) / mask.size,
            "labelled": float(labelled.mean()),
            "missing": float((~there).mean()),
            "x": (west + east) / 2,
            "y": (south + north) / 2,
            "crs": self.scene.crs,
            "west": west,
            "south": south,
            "east": east,
            "north": north,
            "row": window[0],
            "column": window[1],
            "_classes": (counts > 0).astype(np.int64),
        }

    def _with_splits(self, table: pd.DataFrame) -> pd.DataFrame:
        there = np.stack(table.pop("_classes").to_list())
        if self.options.split is None:
            return table
        boxes = table[["west", "south", "east", "north"]].to_numpy(np.float64)
        splits, blocks = self.options.split.split(boxes, self.scene.crs, there, self.labels.class_names, self.notes)
        table.insert(4, "split", splits)
        table.insert(5, "block", blocks)
        return table[table["split"] != DROPPED].reset_index(drop=True)

    def _job(self) -> str:
        labels = self.label_file.resolve()
        raster = labels.suffix.lower() in _RASTERS
        beside = [] if raster else sorted(labels.parent.glob(f"{glob.escape(labels.stem)}.*"))  # of a shapefile, say
        looks = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in beside if path.is_file()]
        files = looks_of([*self.scene.files, *([labels] if raster else [])])
        options = asdict(replace(self.options, split=None))  # chips are the same in any split
        told = json.dumps([files, looks, asdict(self.scene.bands), options], default=str)
        return hashlib.sha256(told.encode()).hexdigest()

    def _begin(self) -> Path:
        folder, job = self.output.with_name(f"{self.output.name}.part"), self._job()
        card = folder / "job"
        if folder.is_dir() and (not card.is_file() or card.read_text(encoding="utf-8") != job):
            if not self.overwrite:
                raise ValueError(
                    f"{folder} holds the unfinished chips of another scene, labels or options: finish those, or add "
                    "--overwrite to drop them"
                )
            shutil.rmtree(folder)
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_whole(card, job)
        return folder

    def _finish(self, folder: Path, table: pd.DataFrame) -> None:
        kept = {Path(path).name for path in table["path"]}
        for name in ("images", "masks"):  # those that a gap leaves out
            for file in (folder / name).iterdir():
                if file.name not in kept:
                    file.unlink()
        table.to_parquet(folder / MANIFEST, index=False)
        colours = class_colours(self.labels.class_names)
        classes = [
            {"number": number, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colours[number])}
            for number, name in enumerate(self.labels.class_names)
        ]
        told = {"classes": classes, "none": NONE, "scene": self.scene.path.name, "labels": self.label_file.name}
        told["notes"] = self.notes
        write_whole(folder / CLASSES, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        (folder / "job").unlink()
        if self.output.is_dir():
            shutil.rmtree(self.output)
        os.replace(folder, self.output)

    def close(self) -> None:
        """Close the scene."""
        self.scene.close()
