"""What stands on the command line of `lr_find`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe

_HELP = """\
usage: {program} lr_find --recipe NAME|PATH [--FIELD=VALUE …] [options]

Finds learning rates by a range test: one short run in which every layer group's own rate is multiplied by the same
growing factor, so that the ratios between groups stay. Suggests the factor at which the smoothed training loss falls
fastest, and prints the fields to type. Nothing of the run is kept but the picture and its numbers.

options:
  --recipe NAME|PATH   whose model, data and trainer; groups that its unfreezing freezes at the start stay frozen
  --FIELD=VALUE        change any field, for example --data.root=my_tiles
  --low FACTOR         the first factor; default 0.001
  --high FACTOR        the last; default 1000
  --steps N            optimizer steps, within one epoch; default 100, or an epoch if that has fewer
  --output FILE.png    the picture; default lr_find/<recipe>.png; the numbers go beside it as .json
  --traceback          show where an error comes from"""
_OWN = ("run_folder", "resume", "run", "test", "ckpt_path", "against", "wandb")


@dataclass(frozen=True)
class LrFindOptions:
    """What was asked for.

    Args:
        options: recipe and fields, as `fit` reads them.
        recipe: as it was typed.
        fields: as they were typed.
        low: the first factor.
        high: the last.
        steps: optimizer steps; None for the usual number.
        output: PNG file.
    """

    options: Options
    recipe: str
    fields: tuple[str, ...]
    low: float
    high: float
    steps: int | None
    output: Path


def lr_find_help() -> str:
    """What `lightning-tl lr_find --help` prints."""
    return _HELP.format(program=program())


def read_lr_find_options(argv: Sequence[str]) -> LrFindOptions:
    """Sort out what belongs to the test; the rest are fields of the recipe.

    Args:
        argv: the command line without the program's name and without `lr_find`.

    Raises:
        UserError: no recipe, fields of a run, or an output that cannot be.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("recipe", "output"):
        reader.add_argument(f"--{name}")
    for name, default in (("low", 1e-3), ("high", 1e3)):
        reader.add_argument(f"--{name}", type=float, default=default)
    reader.add_argument("--steps", type=int)
    known, fields = reader.parse_known_args(list(argv))
    if not known.recipe:
        raise UserError("lr_find needs --recipe NAME|PATH, whose learning rates are to be found")
    for word in fields:
        if word.split("=")[0].removeprefix("--") in _OWN:
            raise UserError(f"{word.split('=')[0]} is for runs, and a range test is none: leave it out")
    path = find_recipe(known.recipe)
    check_recipe_file(path)
    output = Path(known.output or Path("lr_find") / f"{path.stem}.png").expanduser()
    if output.suffix.lower() != ".png" or output.is_dir() or (known.output and not output.parent.is_dir()):
        raise UserError(f"the output must be a .png file in a folder that is there, got {output}")
    options = Options("fit", path.stem, ["fit", "--config", str(path), *fields])
    return LrFindOptions(options, known.recipe, tuple(fields), known.low, known.high, known.steps, output)
