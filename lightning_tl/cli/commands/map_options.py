"""What stands on the command line of `map`: read before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

_MOST_PROCESSES = 4  # where nobody says how many: each holds a model
Number = TypeVar("Number", int, float)
_SUFFIXES = (".tif", ".tiff")
_HELP = """\
usage: {program} map --run RUN --scene SCENE.tif --output MAP.tif [options]

Maps a whole scene by a finished run: the class of every pixel and its confidence as cloud-optimised GeoTIFF
(MAP.tif, MAP.confidence.tif), a picture with legend (MAP.png), and the area of each class (MAP.json, MAP.md).
A run that classifies tiles is slid over the scene, and paints its class in the middle of each window: the map is then
as fine as --stride. A run that labels pixels gives every pixel its own class. The scene is read as the run's data
were; a run on ordinary pictures takes its bands red, green and blue. Interrupted, the same command goes on.

options:
  --run RUN              folder of a finished run
  --scene SCENE          a raster file, or the folder of a product with a file for each band
  --output MAP.tif       the map
  --stride N             of a run on tiles: pixels from one window to the next; default half a window
  --window N             side of a window in pixels of the scene; default that of the run's training
                         images, where it is known, else the model's
  --overlap N            of a run on pixels: pixels that windows share, blended; default a quarter of a window
  --probabilities        write the probabilities of all classes, too (MAP.probabilities.tif)
  --mask BAND|FILE[:BAND]  clouds or the like, which stay without a class: a band of the scene by name, such as SCL,
                         or a raster on any grid and its band by number or name
  --mask_values N,N,…    which of its values are masked; default all but 0, of a band called SCL (SCL.tif,
                         T33UUP_SCL_20m.jp2) {scl}: Sentinel-2's clouds, shadows and defects
  --most_missing SHARE   largest share of a window's pixels that may be without data or masked; default 0.5
  --value_range LOW,HIGH of a run on pictures of 8 bits: values of the scene that are black and white
  --no_georeference      map a scene without a place on the Earth; its areas are in pixels
  --calibrated           confidence at the temperature that the run fitted on validation
  --batch_size N         windows that are scored at once; default 64
  --processes N          that share the work; default one a core, at most {most}, and one where there is a GPU
  --overwrite            replace the output, and drop what an interrupted map of another kind left
  --FIELD=VALUE          change a field of the run, for example --ckpt_path=RUN/checkpoints/last.ckpt or
                         --trainer.accelerator=cpu
  --traceback            show where an error comes from"""

_SCL = "0, 1, 3, 8, 9, 10"  # as `lightning_tl.mapping.mask_band` has them


@dataclass(frozen=True)
class MapOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        scene: file or folder.
        output: the map.
        stride: pixels; None for half a window.
        window: pixels; None for the size of the run's images.
        overlap: pixels; None for a quarter of a window.
        probabilities: write all of them.
        mask: band of the scene, or file and band, of pixels that stay without a class; see `MaskBand.of`.
        mask_values: None for those that the mask's name tells, else all but 0.
        most_missing: share of a window's pixels.
        value_range: of a run on pictures.
        no_georeference: map a scene without one.
        calibrated: at the run's temperature.
        batch_size: windows at once.
        processes: None for as many as fit.
        overwrite: replace the output.
    """

    run: Options
    scene: Path
    output: Path
    stride: int | None = None
    window: int | None = None
    overlap: int | None = None
    probabilities: bool = False
    mask: str | None = None
    mask_values: tuple[int, ...] | None = None
    most_missing: float = 0.5
    value_range: tuple[float, float] | None = None
    no_georeference: bool = False
    calibrated: bool = False
    batch_size: int = 64
    processes: int | None = None
    overwrite: bool = False


def map_help() -> str:
    """What `lightning-tl map --help` prints."""
    return _HELP.format(program=program(), most=_MOST_PROCESSES, scl=_SCL)


def default_processes() -> int:
    """One a core that this process may use, and not many."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_PROCESSES, cores)


def read_map_options(argv: Sequence[str]) -> MapOptions:
    """Sort out what belongs to the map; the rest is the run's.

    Args:
        argv: the command line without the program's name and without `map`.

    Raises:
        UserError: something is missing, out of range, or not known.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "scene", "output", "mask", "mask_values", "value_range"):
        reader.add_argument(f"--{name}")
    for name in ("stride", "window", "overlap", "processes"):
        reader.add_argument(f"--{name}", type=int)
    reader.add_argument("--batch_size", type=int, default=64)
    reader.add_argument("--most_missing", type=float, default=0.5)
    for name in ("probabilities", "no_georeference", "calibrated", "overwrite"):
        reader.add_argument(f"--{name}", action="store_true")
    known, rest = reader.parse_known_args(list(argv))
    for name, what in (("run", "RUN_FOLDER, a finished run"), ("scene", "SCENE.tif"), ("output", "MAP.tif")):
        if not getattr(known, name):
            raise UserError(f"map needs --{name} {what}")
    output = Path(known.output).expanduser()
    if output.suffix.lower() not in _SUFFIXES:
        raise UserError(f"the output is a GeoTIFF and must end in .tif, got {output}")
    if not output.absolute().parent.is_dir():
        raise UserError(f"there is no folder {output.absolute().parent} for the output; make it first")
    for name, least in (("stride", 1), ("window", 1), ("overlap", 0), ("processes", 1), ("batch_size", 1)):
        value = getattr(known, name)
        if value is not None and value < least:
            raise UserError(f"--{name} must be at least {least}, got {value}")
    if not 0 <= known.most_missing <= 1:
        raise UserError(f"--most_missing is a share and must be in [0, 1], got {known.most_missing:g}")
    if known.mask_values is not None and known.mask is None:
        raise UserError("--mask_values are of a --mask: name it")
    values = None if known.mask_values is None else tuple(_numbers("mask_values", known.mask_values, int))
    ends = None if known.value_range is None else tuple(_numbers("value_range", known.value_range, float))
    if ends is not None and (len(ends) != 2 or not ends[0] < ends[1]):
        raise UserError(f"--value_range must be LOW,HIGH with LOW below HIGH, got {known.value_range}")
    return MapOptions(
        run=read_options(["predict", f"--run={known.run}", *rest]),
        scene=Path(known.scene).expanduser(),
        output=output,
        mask=known.mask,
        mask_values=values,
        value_range=None if ends is None else (ends[0], ends[1]),
        **{name: getattr(known, name) for name in ("stride", "window", "overlap", "probabilities", "most_missing")},
        **{name: getattr(known, name) for name in ("no_georeference", "calibrated", "batch_size", "processes")},
        overwrite=known.overwrite,
    )


def _numbers(name: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    try:
        return [kind(part) for part in text.strip("[]()").split(",")]
    except ValueError:
        raise UserError(f"--{name} must be numbers with commas between them, got {text}") from None
