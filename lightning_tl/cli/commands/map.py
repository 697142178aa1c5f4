"""`map`: a class map of a whole scene by a finished run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from datamodules.earth.earth_data import EarthDataModule
from datamodules.earth.raster_reader import RasterReader
from lightning_tl.bundling.trained_module import trained_module
from lightning_tl.cli.commands.finished_run import FinishedRunCLI
from lightning_tl.cli.commands.map_notes import colours_of_run, pixel_m, scale_notes, told_of
from lightning_tl.cli.commands.map_options import MapOptions, default_processes
from lightning_tl.cli.errors import UserError, message_of
from lightning_tl.cli.process.preloaded import PRELOADED
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.earth import BandReading
from lightning_tl.earth.choosing_bands import AskedBands
from lightning_tl.earth.looks_of_files import looks_of
from lightning_tl.embedding import Ranks
from lightning_tl.mapping.block_parts import BlockParts
from lightning_tl.mapping.map_files import MapFiles
from lightning_tl.mapping.map_processes import made_blocks
from lightning_tl.mapping.map_summary import MapSummary
from lightning_tl.mapping.mask_band import MaskBand
from lightning_tl.mapping.painted_block import NO_CLASS, BlockPainter
from lightning_tl.mapping.pixel_mask import PixelMask
from lightning_tl.mapping.plans import DensePlan, MapPlan, TilePlan, blocks
from lightning_tl.mapping.scene_map import SceneMap, Spent
from lightning_tl.mapping.scene_source import BandScene, RgbScene, SceneSource
from lightning_tl.mapping.unlike_training import unlike_training
from lightning_tl.mapping.window_scorer import WindowScorer
from lightning_tl.reports.progress import progress_bar
from lightning_tl.reports.resources import duration_text
from lightning_tl.serving.bundle.manifest import file_sha256
from lightning_tl.tasks import OneLabel, PixelLabels
from lightning_tl.training.transfer_module import TransferModule

_ROOM = 256 * 2**20  # bytes of a block while it is read and painted
_BESIDE = (".confidence.tif", ".probabilities.tif", ".json", ".md", ".png")  # what is written beside a map
_LINES_S = 30.0  # between two lines where there is no terminal


class MapCLI(FinishedRunCLI):
    """Reads a run as `predict` does, builds its model, and maps a scene; its data are not read.

    Args:
        options: from `read_map_options`.
        only_open: open the job, and make nothing.
    """

    def __init__(self, options: MapOptions, only_open: bool = False) -> None:
        self.wanted, self.only_open = options, only_open
        os.environ.setdefault("GDAL_CACHEMAX", "64")  # MiB; the default is a share of the machine's memory
        super().__init__(options.run)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        description = self.description()
        source, self.device = self._source(description), self._device()
        spec = description.image_spec
        assert spec is not None, "a run that has a source reads images"
        plan = self._plan(source, spec, description)
        mask = self._mask(source)
        temperature = self._temperature(description) if self.wanted.calibrated else None
        job = self._job(plan, spec, temperature)
        parts = BlockParts(self.wanted.output, job, len(blocks(plan)), self._stamp(source, mask))
        if not self.only_open:
            self._check_output(source, mask)
        module = trained_module(self.model, description, self.checkpoint, dense=True)
        if temperature is not None:
            module.calibration_temperature = temperature
        scorer = WindowScorer(module, spec, self.device, self.wanted.batch_size)
        options = self.wanted.most_missing, self.wanted.probabilities
        painter = BlockPainter(plan, scorer, len(description.class_names), *options)
        self.job = SceneMap(source, mask, painter, parts)
        if not self.only_open:
            self._map(description)

    # ---------------------------------------------------------------- what is opened

    def _source(self, description: RunDescription) -> SceneSource:
        if description.task not in (OneLabel.name, PixelLabels.name) or not isinstance(self.model, TransferModule):
            raise UserError(
                f"map is for runs that give a tile or a pixel one of several classes; the task of {self.folder} is "
                f"{description.task or 'not known'}"
            )
        if len(description.class_names) > NO_CLASS:
            raise UserError(f"a map holds at most {NO_CLASS} classes, and the run has {len(description.class_names)}")
        spec = description.image_spec
        if spec is None:
            raise UserError(f"{self.folder} was not trained on images, so it cannot read a scene")
        told = description.input.get("reading")
        if told is not None:
            if self.wanted.value_range is not None:
                raise UserError("--value_range is for runs on pictures of 8 bits; this run has ranges of its bands")
            source: SceneSource = BandScene(self.wanted.scene, self._reading(told))
        elif spec.channels == 3:
            source = RgbScene(self.wanted.scene, self.wanted.value_range or self.value_range())
        else:
            raise UserError(
                f"{self.folder} reads images of {spec.channels} channels and does not say which bands they are: train "
                "it on rasters, whose bands have names"
            )
        if not source.raster.georeferenced and not self.wanted.no_georeference:
            raise UserError(
                f"{self.wanted.scene} has no georeference, so the map would have no place; --no_georeference maps it, "
                "with areas in pixels"
            )
        return source

    def _reading(self, told: dict[str, Any]) -> BandReading:
        """As the run read; what `--data.sensor`, `--data.add_offset` and the like say of the scene goes before it."""
        self.value_range()  # images that are read in a way of the user's own are no scene
        reader = RasterReader(self.datamodule.asked if isinstance(self.datamodule, EarthDataModule) else AskedBands())
        reader.take(BandReading.from_json(told))
        return reader.reading

    def _plan(self, source: SceneSource, spec: ImageSpec, description: RunDescription) -> MapPlan:
        height, width = source.raster.height, source.raster.width
        window = self.wanted.window or int(description.input.get("tile_size", spec.image_size))
        bands = len(source.raster.layers)
        pixel = bands * 24 + spec.channels * 12 + len(description.class_names) * 12
        most = max(256, int((_ROOM / pixel) ** 0.5))
        if description.task == PixelLabels.name:
            if self.wanted.stride is not None:
                raise UserError("--stride is for runs on tiles; this run labels pixels, whose windows have --overlap")
            overlap = window // 4 if self.wanted.overlap is None else self.wanted.overlap
            return DensePlan(height, width, window, overlap, most)
        if self.wanted.overlap is not None:
            raise UserError("--overlap is for runs that label pixels; this run classifies tiles: choose --stride")
        return TilePlan(height, width, window, self.wanted.stride or max(1, window // 2), most)

    def _mask(self, source: SceneSource) -> PixelMask | None:
        if self.wanted.mask is None:
            return None
        band = MaskBand.of(self.wanted.mask, self.wanted.scene, source.options)
        return PixelMask(source.raster, band, self.wanted.mask_values)

    def _temperature(self, description: RunDescription) -> float:
        found = self.temperature(description)
        if found is None:
            why = description.calibration.get("why", "it has none for this checkpoint")
            raise UserError(f"--calibrated needs a temperature of the run: {why}")
        return found

    def _device(self) -> torch.device:
        return Ranks().device(str(self.field(self.config, "trainer").accelerator))

    def _job(self, plan: MapPlan, spec: ImageSpec, temperature: float | None) -> dict[str, object]:
        """What the blocks depend on, apart from the pixels of the scene."""
        told: list[object] = [file_sha256(self.checkpoint), repr(plan), repr(spec), temperature]
        told += [self.wanted.mask_values, self.wanted.most_missing, self.device.type]
        told += [self.wanted.probabilities, self.wanted.calibrated, self.wanted.value_range, self.wanted.batch_size]
        return {"sha256": hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()}

    def _stamp(self, source: SceneSource, mask: PixelMask | None) -> dict[str, object]:
        """How files are read and what they look like from outside; where that changed, pixels are compared."""
        files = {layer.file for layer in source.raster.layers} | ({mask.path} if mask else set())
        return {
            "read": hashlib.sha256(repr([source.options, source.raster.layers]).encode()).hexdigest(),
            "mask": None if mask is None else [mask.band, mask.values],
            "files": looks_of(files),
        }

    def _check_output(self, source: SceneSource, mask: PixelMask | None) -> None:
        output = self.wanted.output
        beside = [output.with_suffix(suffix) for suffix in _BESIDE]
        inputs = {layer.file.resolve() for layer in source.raster.layers} | ({mask.path.resolve()} if mask else set())
        if same := [path for path in (output, *beside) if path.resolve() in inputs]:
            raise UserError(f"{same[0]} is what the map is made from, and would be replaced: take another name for it")
        there = [path for path in beside if path.exists()]
        if there and not self.wanted.overwrite:
            raise UserError(f"{there[0]} is there already: take another name for the map, or add --overwrite")

    # ---------------------------------------------------------------- what is made

    def _map(self, description: RunDescription) -> None:
        plan, parts, source = self.job.painter.plan, self.job.parts, self.job.source
        parts.begin(self.wanted.overwrite)
        about = self._about(plan, source)
        print(about["resolution"], flush=True)
        notes = [*source.raster.notes(), *(self.job.mask.notes if self.job.mask else [])]
        notes += scale_notes(description, source, plan, self.wanted.window is not None)
        notes += unlike_training(source, self.job.mask)
        for note in dict.fromkeys(notes):
            print(note, flush=True)
        started = time.perf_counter()
        spent, processes = self._make()
        print(told_of(spent, processes, time.perf_counter() - started), flush=True)
        places = blocks(plan)
        grid = source.raster.grid if source.raster.georeferenced else replace(source.raster.grid, crs=None)
        classes = description.class_names, colours_of_run(description)
        summary = MapSummary.of(parts, places, grid, classes, about)
        if not summary.pixels.any():
            raise UserError(
                f"no pixel of {self.wanted.scene} could be mapped: it has no data, all is masked, or no window has "
                f"enough of them (--most_missing {self.wanted.most_missing:g}); {parts.folder} can be removed"
            )
        tags = {name.upper(): str(value) for name, value in about.items()}
        files = MapFiles(self.wanted.output, grid, *classes, self.wanted.probabilities, tags)
        files.write(parts, places)
        summary.write(self.wanted.output)
        shutil.rmtree(parts.folder)
        for name, area, share in summary.table()[:20]:
            print(f"  {name}: {area}, {share}")
        beside = [self.wanted.output, files.confidence, *([files.probabilities] if files.probabilities else [])]
        shown = self.wanted.output.with_suffix(".png")
        print(f"map: {', '.join(map(str, beside))}; picture: {shown}; areas: {shown.with_suffix('.md')}")

    def _make(self) -> tuple[Spent, int]:
        parts = self.job.parts
        left = [number for number in range(parts.count) if not parts.fresh(number)]
        count = len(left)
        if count < parts.count:
            print(f"going on: {parts.count - count:,} of {parts.count:,} blocks were done before", flush=True)
        gpu = self.device.type != "cpu"
        processes = max(1, min(self.wanted.processes or (1 if gpu else default_processes()), count))
        opener = partial(_opened, replace(self.wanted, overwrite=False))
        preload = (__name__, *PRELOADED)
        bar = progress_bar(count, "Mapping", "blocks")
        spent, last, began = Spent(), time.monotonic(), time.monotonic()
        try:
            for ready, (_, more) in enumerate(made_blocks(left, self.job, processes, opener, preload), 1):
                spent += more
                bar.update(1)
                if bar.disable and time.monotonic() - last >= _LINES_S:
                    last = time.monotonic()
                    rest = duration_text((last - began) / ready * (count - ready))
                    print(f"mapped {ready:,} of {count:,} blocks, about {rest} left", flush=True)
        except OSError as error:
            kept = sum(parts.has(number) for number in range(parts.count))
            raise OSError(
                f"{message_of(error)}. {kept:,} of {parts.count:,} blocks of the map are done and stay in "
                f"{parts.folder}; the same command goes on"
            ) from None
        finally:
            bar.close()
        if spent.made_again:
            print(f"{spent.made_again:,} blocks were made again, as the scene changed meanwhile", flush=True)
        return spent, processes

    def _about(self, plan: MapPlan, source: SceneSource) -> dict[str, Any]:
        """How the map is made, for its files."""
        return {
            "scene": self.wanted.scene.name,
            "run": str(self.folder),
            "checkpoint": self.checkpoint.name,
            "resolution": plan.told(pixel_m(source)),
            "window": plan.window,
            **({"stride": plan.stride} if isinstance(plan, TilePlan) else {}),
            **({"overlap": plan.overlap} if isinstance(plan, DensePlan) else {}),
            "most_missing": self.wanted.most_missing,
            **self._about_mask(),
            "calibrated": self.wanted.calibrated,
        }

    def _about_mask(self) -> dict[str, Any]:
        mask = self.job.mask
        if mask is None:
            return {}
        return {"mask": mask.called, "mask_values": "all but 0" if mask.values is None else list(mask.values)}


def _opened(options: MapOptions) -> SceneMap:
    return MapCLI(options, only_open=True).job
