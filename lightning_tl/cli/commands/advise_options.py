"""What stands on the command line of `advise`: read before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe

_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_HELP = """\
usage: {program} advise --recipe NAME|PATH [--FIELD=VALUE …] [options]
       {program} advise --study FOLDER … [--write FILE]

Which strategy to try first on your data: by the number of labels, by how far they are from what the backbone was
trained on, and by what a run takes on this machine, told from some steps of real runs. Writes a recipe that is ready to
run. With --study it says where this advice was right in a finished comparison.

options:
  --recipe NAME|PATH    whose data, backbone and trainer
  --FIELD=VALUE         change any field, for example --data.root=my_tiles
  --budget LENGTH       of training: 90s, 30min, 2h; default none
  --source PLACE        what the backbone was trained on, or data like it: measures how far yours are (see distance);
                        default the features that came with its weights, where some did
  --no_pretrained       no pretrained weights may be used
  --max_size MIB        the most that the network's weights may take, in MiB (float32)
  --max_latency MS      the most that one sample may take on this machine, in milliseconds
  --output FILE.yaml    the recipe to write; default advised.yaml
  --thresholds FILE     at how many labels the advice changes; default the project's
  --study FOLDER …      in place of --recipe: finished comparisons
  --write FILE          with --study: thresholds that would have been better there
  --traceback           show where an error comes from"""


@dataclass(frozen=True)
class AdviseOptions:
    """What was asked for.

    Args:
        name: of the recipe.
        recipe: its file; None where studies are judged.
        budget_s: of training, in seconds; None for none.
        source: of the backbone's weights; None where the distance is not to be measured.
        pretrained: whether pretrained weights may be used.
        max_size_mib: of the weights; None for any.
        max_latency_ms: of one sample; None for any.
        output: the recipe to write.
        thresholds: file; None for the project's.
        studies: folders of comparisons; empty where a recipe is given.
        write: file for thresholds fitted to them, or None.
        fields: of the recipe, as on a command line.
    """

    name: str
    recipe: Path | None
    budget_s: float | None
    source: str | None
    pretrained: bool
    max_size_mib: float | None
    max_latency_ms: float | None
    output: Path
    thresholds: Path | None
    studies: tuple[Path, ...]
    write: Path | None
    fields: tuple[str, ...]


def advise_help() -> str:
    """What `lightning-tl advise --help` prints."""
    return _HELP.format(program=program())


def read_advise_options(argv: Sequence[str]) -> AdviseOptions:
    """Sort out what belongs to the advice; the rest are fields of the recipe.

    Args:
        argv: the command line without the program's name and without `advise`.

    Raises:
        UserError: neither a recipe nor a study, or a limit that is none.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    names = ("recipe", "budget", "source", "max_size", "max_latency", "output", "thresholds", "write")
    for name in names:
        reader.add_argument(f"--{name}")
    reader.add_argument("--study", nargs="+")
    reader.add_argument("--no_pretrained", action="store_true")
    known, fields = reader.parse_known_args(list(argv))
    if bool(known.recipe) == bool(known.study):
        raise UserError("advise needs --recipe NAME|PATH, or --study FOLDER of a finished comparison, and not both")
    if known.write and not known.study:
        raise UserError("--write keeps thresholds that are fitted to a study: name it with --study")
    stray = [word for word in fields if not word.startswith("--") or "=" not in word or known.study]
    if stray:
        raise UserError(f"advise does not know {stray[0]}; fields of the recipe are written as --FIELD=VALUE")
    for word in fields:
        if word.split("=")[0] in ("--run_folder", "--resume", "--test"):
            raise UserError(f"{word.split('=')[0]} is set by the trials themselves; leave it out")
    path = None if known.study else find_recipe(known.recipe)
    if path is not None:
        check_recipe_file(path)
    output = Path(known.output or "advised.yaml")
    if not output.name.endswith((".yaml", ".yml")) or not output.absolute().parent.is_dir():
        raise UserError(f"output must be a .yaml file in a folder that is there, got {output}")
    return AdviseOptions(
        "" if path is None else path.stem,
        path,
        _seconds(known.budget),
        known.source,
        not known.no_pretrained,
        _positive("max_size", known.max_size),
        _positive("max_latency", known.max_latency),
        output,
        Path(known.thresholds) if known.thresholds else None,
        tuple(Path(study) for study in known.study or ()),
        Path(known.write) if known.write else None,
        tuple(fields),
    )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise UserError(f"budget must be a positive length such as 90s, 30min or 2h, got {text}")
    return float(found[1]) * _UNITS_S[found[2]]


def _positive(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{name} must be a number above 0, got {text}")
    return value
