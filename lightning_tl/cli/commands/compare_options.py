"""What stands on the command line of `compare`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe

STRATEGIES = ("linear_probe", "fine_tune", "from_scratch")
_HELP = """\
usage: {program} compare --recipe NAME|PATH [--FIELD=VALUE …] [options]

Trains several strategies on a recipe's data under one budget, each at its best rate by validation, tests them once at
the end, and writes a report: what is ahead, what is not established, whether transfer helped. Every run is an ordinary
run folder in the study's. Interrupted, the same command goes on and repeats nothing.

options:
  --recipe NAME|PATH       whose data, backbone and trainer
  --FIELD=VALUE            change any field in all runs, for example --data.root=my_tiles
  --strategies A B …       {arms},
                           or recipe files of your own; default {default}.
                           On event logs: {variants},
                           recipes, or files that change this one; default the recipe itself
  --weights NAME=PLACE …   start each strategy from each of these: a folder that pretraining left, a name that the
                           backbone opens, CLASS:PLACE for another class of backbone, or none for fresh weights
  --labels_per_class N …   numbers of training labels a class, or all; default all
  --draws N                draws of the labels, each with its seed (of event logs seeds alone); default 3
  --budget LENGTH          of each run: recipe, 500steps, 90s, 30min; default recipe
  --search N               learning rates that each strategy tries at least; default 6; with 1 a recipe keeps its own
  --search_draws N         draws over which a rate's validation is averaged; default 1
  --no_baselines           leave out the simple baselines that come with the data: statistics of colours, TF-IDF;
                           of event logs popularity, EASE and the like
  --study FOLDER           where everything goes; default studies/<recipe>
  --ray ADDRESS            run on a Ray cluster, host:port, or auto for the one that this machine belongs to; the study
                           and the data must be on a file system that all its nodes see
  --source PLACE           say how much of what the backbone knew each strategy left: labelled samples of it, as the
                           command forget takes them: a folder, a table, or shipped, the data of this project
  --source.FIELD=VALUE     how they are read, such as --source.labels_per_class=50
  --skip_unfit             leave out strategies that do not fit, instead of stopping
  --retry                  run again what failed before
  --report                 write the report of what is finished, and run nothing; with --study alone, without a recipe
  --traceback              show where an error comes from"""


@dataclass(frozen=True)
class CompareOptions:
    """What was asked for.

    Args:
        name: of the recipe.
        recipe: its file; None for the report of a study by its folder alone.
        strategies: names, or paths of recipes; empty where none were named.
        labels: numbers of labels a class; None for all.
        draws: of each number.
        budget: of each run, as text.
        search: rates to try at least.
        search_draws: draws that a rate's loss is averaged over.
        study: folder.
        skip_unfit: leave out what does not fit.
        report_only: run nothing.
        baselines: add those that come with the kind of data.
        retry: run again what failed before.
        fields: that all runs have, as on a command line.
        source: place of labelled samples of what the backbone knew; None where nobody asks.
        source_fields: of the data module that reads them, as on a command line.
        ray: address of a Ray cluster; None for this machine.
        weights: that strategies start from, as NAME=PLACE; empty for the recipe's.
    """

    name: str
    recipe: Path | None
    strategies: tuple[str, ...]
    labels: tuple[int | None, ...]
    draws: int
    budget: str
    search: int
    search_draws: int
    study: Path
    skip_unfit: bool
    report_only: bool
    baselines: bool
    retry: bool
    fields: tuple[str, ...]
    source: str | None = None
    source_fields: tuple[str, ...] = ()
    ray: str | None = None
    weights: tuple[str, ...] = ()


def compare_help() -> str:
    """What `lightning-tl compare --help` prints."""
    folder = Path(__file__).resolve().parents[2] / "choosing" / "study" / "arms"
    names = ", ".join(path.stem for path in sorted(folder.glob("*.yaml")))
    variants = ", ".join(path.stem for path in sorted((folder / "two_tower").glob("*.yaml")))
    return _HELP.format(program=program(), arms=names, variants=variants, default=" ".join(STRATEGIES))


def read_compare_options(argv: Sequence[str]) -> CompareOptions:
    """Sort out what belongs to the comparison; the rest are fields of the recipe.

    Args:
        argv: the command line without the program's name and without `compare`.

    Raises:
        UserError: no recipe, or a number of labels that is none.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("--recipe")
    reader.add_argument("--strategies", nargs="+", default=[])
    reader.add_argument("--weights", nargs="+", default=[])
    reader.add_argument("--labels_per_class", nargs="+", default=["all"])
    for name, default in (("draws", 3), ("search", 6), ("search_draws", 1)):
        reader.add_argument(f"--{name}", type=int, default=default)
    reader.add_argument("--budget", default="recipe")
    reader.add_argument("--study")
    reader.add_argument("--source")
    reader.add_argument("--ray")
    reader.add_argument("--skip_unfit", action="store_true")
    reader.add_argument("--retry", action="store_true")
    reader.add_argument("--report", action="store_true")
    reader.add_argument("--no_baselines", action="store_true")
    known, fields = reader.parse_known_args(list(argv))
    alone = known.report and known.study and not known.recipe and not fields
    if not known.recipe and not alone:
        raise UserError("compare needs --recipe NAME|PATH, whose data and backbone the strategies share")
    stray = [word for word in fields if not word.startswith("--") or "=" not in word]
    if stray:
        raise UserError(f"compare does not know {stray[0]}; fields of the recipe are written as --FIELD=VALUE")
    for word in fields:
        if word.split("=")[0] in ("--run_folder", "--resume", "--test", "--seed_everything", "--data.labels_per_class"):
            raise UserError(f"{word.split('=')[0]} is set by the study itself; leave it out")
    of_source = tuple(word for word in fields if word.startswith("--source."))
    if of_source and not known.source:
        raise UserError(f"{of_source[0].split('=')[0]} says how a source is read: give --source PLACE as well")
    path = None if alone else find_recipe(known.recipe)
    if path is not None:
        check_recipe_file(path)
    name = "" if path is None else path.stem
    return CompareOptions(
        name,
        path,
        tuple(known.strategies),
        tuple(_labels(text) for text in known.labels_per_class),
        known.draws,
        known.budget,
        known.search,
        known.search_draws,
        Path(known.study or Path("studies") / name),
        known.skip_unfit,
        known.report,
        not known.no_baselines,
        known.retry,
        tuple(word for word in fields if word not in of_source),
        known.source,
        tuple(f"--data.{word.removeprefix('--source.')}" for word in of_source),
        known.ray,
        tuple(known.weights),
    )


def _labels(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"labels_per_class must be numbers of at least 1, or all, got {text}")
    return int(text)
