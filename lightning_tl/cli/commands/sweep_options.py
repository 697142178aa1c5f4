"""What stands on the command line of `sweep`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe

_HELP = """\
usage: {program} sweep --recipe NAME|PATH --search FIELD=SPACE … [--trials N] [--FIELD=VALUE …]

Searches values of a recipe's fields with Optuna, by the lowest validation loss; no test data are read. Writes the best
recipe. Interrupted, the same command goes on; with more --trials a finished sweep goes on, too.

options:
  --recipe NAME|PATH     what to run
  --search FIELD=SPACE … log:LOW:HIGH, float:LOW:HIGH, int:LOW:HIGH or choice:A,B,…
                         for example model.lr=log:1e-5:1e-2
  --FIELD=VALUE          change any other field in all runs
  --trials N             that have a value or were pruned at the end, on all machines together; default 20
  --pruner NAME          end trials early that are behind others: none, median, hyperband; default none
  --seed N               of the sampler and of all runs; default 0
  --study FOLDER         where everything goes; default sweeps/<recipe>
  --storage ADDRESS      what several machines share: a database (sqlite:///…, postgresql://…) or the path of a file;
                         default a file in the folder
  --traceback            show where an error comes from"""


@dataclass(frozen=True)
class SweepOptions:
    """What was asked for.

    Args:
        name: of the recipe.
        recipe: its file.
        search: fields with their spaces, as text.
        trials: that have ended at the end.
        seed: of the sampler and of all runs.
        study: folder.
        storage: address of a database or path of a file; None for a file in the folder.
        fields: that all runs have, as on a command line.
        pruner: what ends trials early.
    """

    name: str
    recipe: Path
    search: tuple[str, ...]
    trials: int
    seed: int
    study: Path
    storage: str | None
    fields: tuple[str, ...]
    pruner: Literal["none", "median", "hyperband"] = "none"


def sweep_help() -> str:
    """What `lightning-tl sweep --help` prints."""
    return _HELP.format(program=program())


def read_sweep_options(argv: Sequence[str]) -> SweepOptions:
    """Sort out what belongs to the sweep; the rest are fields of the recipe.

    Args:
        argv: the command line without the program's name and without `sweep`.

    Raises:
        UserError: no recipe, nothing to search, or a field that the sweep sets itself.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("recipe", "study", "storage"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--search", nargs="+", default=[])
    reader.add_argument("--pruner", choices=("none", "median", "hyperband"), default="none")
    reader.add_argument("--trials", type=int, default=20)
    reader.add_argument("--seed", type=int, default=0)
    known, fields = reader.parse_known_args(list(argv))
    if not known.recipe:
        raise UserError("sweep needs --recipe NAME|PATH")
    if not known.search:
        raise UserError("sweep needs --search FIELD=SPACE, such as --search model.lr=log:1e-5:1e-2")
    stray = [word for word in fields if not word.startswith("--") or "=" not in word]
    if stray:
        raise UserError(f"sweep does not know {stray[0]}; fields of the recipe are written as --FIELD=VALUE")
    for word in fields:
        if word.split("=")[0] in ("--run_folder", "--resume", "--test", "--seed_everything"):
            raise UserError(f"{word.split('=')[0]} is set by the sweep itself; leave it out")
    if known.trials < 1:
        raise UserError(f"trials must be at least 1, got {known.trials}")
    path = find_recipe(known.recipe)
    check_recipe_file(path)
    folder = Path(known.study or Path("sweeps") / path.stem)
    return SweepOptions(
        path.stem,
        path,
        tuple(known.search),
        known.trials,
        known.seed,
        folder,
        known.storage,
        tuple(fields),
        known.pruner,
    )
