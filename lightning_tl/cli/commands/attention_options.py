"""What stands on the command line of `attention`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program

FOLDER = "attention"
_HELP = """\
usage: {program} attention --run RUN|--model FOLDER --images FOLDER [--output FOLDER] [--FIELD=VALUE …]

Draws what the class token of a vision transformer (ViT, DINOv2, CLIP's image tower) looks at: for each image a picture
with the image, the attention to its patches in the last block, the mean of the heads and each head.

options:
  --run RUN        a finished run: its best weights, with what its adaptation added; of a pretraining run its folder
  --model FOLDER   in place of --run: a folder of weights, or the name of a pretrained model
  --images FOLDER  images, at any depth
  --output FOLDER  default {folder} in the folder of the run; of a model {folder} in the current folder
  --count N        of how many images at most, evenly over the folder; default 100
  --arrays         also write the numbers: NAME.npz with patches [heads, rows, columns] and others [heads]
  --FIELD=VALUE    of a run: change a field, for example --ckpt_path=RUN/checkpoints/last.ckpt
  --traceback      show where an error comes from"""


@dataclass(frozen=True)
class AttentionOptions:
    """What was asked for.

    Args:
        run: folder of a run; None where there is a model.
        model: folder or name of weights; None where there is a run.
        images: folder of images.
        output: folder to write into.
        count: most images.
        arrays: also write the numbers.
        fields: of the run, changed.
    """

    run: Path | None
    model: str | None
    images: Path
    output: Path
    count: int = 100
    arrays: bool = False
    fields: tuple[str, ...] = ()


def attention_help() -> str:
    """What `lightning-tl attention --help` prints."""
    return _HELP.format(program=program(), folder=FOLDER)


def read_attention_options(argv: Sequence[str]) -> AttentionOptions:
    """Read the command line.

    Args:
        argv: without the program's name and without `attention`.

    Raises:
        UserError: neither a run nor a model, or both; no images; fields for a model.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "model", "images", "output"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--count", type=int, default=100)
    reader.add_argument("--arrays", action="store_true")
    known, rest = reader.parse_known_args(list(argv))
    if bool(known.run) == bool(known.model):
        raise UserError("attention needs --run RUN_FOLDER, or --model FOLDER with weights, and not both")
    if not known.images:
        raise UserError("attention needs --images FOLDER")
    if known.count < 1:
        raise UserError(f"--count must be at least 1 image, got {known.count}")
    if known.model and rest:
        raise UserError(f"{rest[0]} is a field of a run, and --model has none: leave it out, or give --run")
    images = Path(known.images).expanduser()
    if not images.is_dir():
        problem = f"{images} is not a folder" if images.exists() else f"there is no folder {images}"
        raise UserError(f"images: {problem}")
    run = Path(known.run).expanduser() if known.run else None
    output = Path(known.output).expanduser() if known.output else (run or Path()) / FOLDER
    if output.exists() and not output.is_dir():
        raise UserError(f"the output must be a folder, and {output} is a file")
    return AttentionOptions(run, known.model, images, output, known.count, known.arrays, tuple(rest))
