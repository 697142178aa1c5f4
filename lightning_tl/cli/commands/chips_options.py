"""What stands on the command line of `chips`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program

_HELP = """\
usage: {program} chips --scene SCENE.tif --labels POLYGONS.gpkg|LABELS.tif --output FOLDER [options]

Cuts chips for training from a scene: GeoTIFF with all bands, a mask of class numbers for each (255: no label), and a
manifest chips.parquet with path, mask, majority label and its share, split, block and place; classes.json names the
classes. Polygons and label rasters in another projection are reprojected. Interrupted, the same command goes on.

options:
  --scene SCENE          a georeferenced raster, or the folder of a product with a file for each band
  --labels FILE          polygons (GeoPackage, GeoJSON, …), or a raster of class numbers
  --output FOLDER        where chips go; it is there when all of them are
  --size N               side of a chip in pixels; default 64
  --stride N             pixels from one chip to the next; default the size, so that none overlap
  --class_field NAME     of polygons, the field of classes
  --classes A,B,…        all classes in the order of their numbers, from 0 on, so that chips of several scenes have the
                         same numbers; default those of the labels, sorted
  --layer NAME           of a file of polygons with several layers
  --least_labelled SHARE smallest share of a chip's pixels that must have a label; default 0, any pixel
  --most_missing SHARE   largest share of a chip's pixels that may have no data; default 0.5
  --block_km KM          side of the blocks of which each lies in one split; default 16 chips, in small
                         scenes fewer; 0 writes no split
  --validation SHARE     of the blocks; default 0.15
  --test SHARE           of the blocks; default 0.15
  --gap                  leave out training chips that touch one of validation or test
  --seed N               of the split; default 0
  --overwrite            replace the output
  --traceback            show where an error comes from"""


@dataclass(frozen=True)
class ChipsOptions:
    """What was asked for.

    Args:
        scene: file or folder.
        labels: polygons or a raster of classes.
        output: folder to make.
        size: side of a chip in pixels.
        stride: pixels from one chip to the next; None for the size.
        class_field: of polygons.
        layer: of polygons.
        classes: in the order of their numbers; None for those of the labels.
        least_labelled: share of a chip's pixels.
        most_missing: share of a chip's pixels.
        block_km: None for 16 chips, 0 for no split.
        validation: share of the blocks.
        test: share of the blocks.
        gap: leave out training chips that touch others.
        seed: of the split.
        overwrite: replace the output.
    """

    scene: Path
    labels: Path
    output: Path
    size: int = 64
    stride: int | None = None
    class_field: str | None = None
    layer: str | None = None
    classes: tuple[str, ...] | None = None
    least_labelled: float = 0.0
    most_missing: float = 0.5
    block_km: float | None = None
    validation: float = 0.15
    test: float = 0.15
    gap: bool = False
    seed: int = 0
    overwrite: bool = False


def chips_help() -> str:
    """What `lightning-tl chips --help` prints."""
    return _HELP.format(program=program())


def read_chips_options(argv: Sequence[str]) -> ChipsOptions:
    """Read the command line.

    Args:
        argv: without the program's name and without `chips`.

    Raises:
        UserError: something is missing or is not known.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("scene", "labels", "output"):
        reader.add_argument(f"--{name}", type=Path, required=True)
    for name, kind in (("size", int), ("stride", int), ("class_field", str), ("layer", str), ("block_km", float),
                       ("classes", str)):  # fmt: skip
        reader.add_argument(f"--{name}", type=kind, default=64 if name == "size" else None)
    for name, share in (("least_labelled", 0.0), ("most_missing", 0.5), ("validation", 0.15), ("test", 0.15)):
        reader.add_argument(f"--{name}", type=float, default=share)
    reader.add_argument("--seed", type=int, default=0)
    for name in ("gap", "overwrite"):
        reader.add_argument(f"--{name}", action="store_true")
    known = vars(reader.parse_args(list(argv)))
    paths = {name: known[name].expanduser() for name in ("scene", "labels", "output")}
    for name in ("size", "stride"):
        if known[name] is not None and known[name] < 1:
            raise UserError(f"--{name} must be at least 1 pixel, got {known[name]}")
    if known["block_km"] is not None and not known["block_km"] >= 0:
        raise UserError(f"--block_km must be above 0, or 0 for no split, got {known['block_km']:g}")
    if known["classes"] is not None:
        known["classes"] = tuple(name.strip() for name in known["classes"].strip("[]").split(","))
        if not all(known["classes"]):
            raise UserError("--classes must be names with commas between them, and one is empty")
    return ChipsOptions(**{**known, **paths})
