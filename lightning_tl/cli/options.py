"""The options that stand outside a recipe: read before anything heavy is imported."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from lightning_tl.cli.errors import UserError, nearest
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipe_file import check_recipe_file
from lightning_tl.cli.reading.recipes import find_recipe, first_line, recipes
from lightning_tl.cli.run_folder import best_checkpoint, check_run, last_checkpoint

SUBCOMMANDS = {
    "fit": "train, test the best checkpoint, and report",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split, and report",
    "predict": "write predictions as Parquet: id, label, probabilities",
}
ALL_COMMANDS = {
    **SUBCOMMANDS,
    "compare": "train several strategies under one budget and say which is ahead; `compare --help` lists its options",
    "advise": "which strategy to try first, and what it takes here; `advise --help` lists its options",
    "sweep": "search values of a recipe's fields by validation; `sweep --help` lists its options",
    "lr_find": "suggest learning rates by a short run whose rates grow; `lr_find --help` lists its options",
    "embed": "write the embeddings of all samples; `embed --help` lists its options",
    "backbones": "compare candidates for a backbone on your data; `backbones --help` lists its options",
    "distance": "measure how far your data lie from others; `distance --help` lists its options",
    "forget": "what an adaptation left of what its backbone knew; `forget --help` lists its options",
    "chips": "cut chips for training from a scene by its labels; `chips --help` lists its options",
    "attention": "draw what a vision transformer looks at; `attention --help` lists its options",
    "export": "write a finished run as a bundle that answers without torch; `export --help` lists its options",
    "map": "map a whole scene by a run, as GeoTIFF; `map --help` lists its options",
    "push": "put a run on the Hugging Face hub, with its card; `push --help` lists its options",
    "index": "make or refresh the index of a run's items; `index --help` lists its options",
    "recommend": "print what a two-tower model would show to a user; `recommend --help` lists its options",
    "serve": "answer over HTTP, with a page for people; `serve --help` lists its options",
}

_HELP = """\
usage: {program} [{commands}] --recipe NAME|PATH [--FIELD=VALUE …]

{subcommands}

options:
  --recipe NAME|PATH   what to run: a recipe from the list below, or your own YAML file
  --FIELD=VALUE        change any field of the recipe, for example --trainer.max_epochs=3
                       or --model.backbone.pretrained=google/vit-base-patch16-224
  --run_folder PATH    where to write; default runs/<recipe>/<time>
  --resume RUN         continue the interrupted run in this folder
  --run RUN            validate, test, predict: the run whose best checkpoint to use
  --priors SHARES      predict: also probabilities corrected for other shares of classes; SHARES is estimated, or
                       name:share,… for every class
  --calibrated         predict: probabilities at the temperature that the run fitted on validation
  --output FILE        predict: many rows to a .parquet file, in the order of the data; interrupted, the same command
                       goes on, and processes of torchrun share it. With --save_every=ROWS (10,000) and --overwrite
  --ray ADDRESS        predict --output: share the rows among the processors or GPUs of a Ray cluster: host:port, auto
                       for the one that this machine belongs to, or local for this machine
  --against RUN        fit, test: say which is ahead of the other on the same test samples, with an interval; where
                       RUN trained from scratch, whether transfer helped
  --test=false         fit: stop after training
  --wandb              log to Weights & Biases as well
  --traceback          show where an error comes from
  --print_config       print the whole configuration and stop
  --version            print the versions of this and of what it stands on

fields: `{program} fit --help` lists all; `--model.help=lightning_tl.strategies.FineTune` those of one class.

recipes:
{recipes}"""


@dataclass(frozen=True)
class Options:
    """What was asked for, apart from the fields of the recipe.

    Args:
        subcommand: fit, validate, test or predict.
        name: of the recipe; the run folder is called after it.
        arguments: what LightningCLI reads, the subcommand first.
        run: an existing run folder to go on in, or None for a new one.
        run_folder: where the user wants a new run to be written.
        calibrated: predict at the temperature of the run.
        priors: shares of classes to correct predictions for, as typed; None for none.
    """

    subcommand: str
    name: str
    arguments: list[str] = field(default_factory=list)
    run: Path | None = None
    run_folder: Path | None = None
    calibrated: bool = False
    priors: str | None = None


class Reader(argparse.ArgumentParser):
    """Takes whole names only, leaves what it does not know, and reports mistakes as `UserError`."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage."""
        raise UserError(message)


def help_text() -> str:
    """What `lightning-tl --help` prints, with the program's name as it was called."""
    width = max(map(len, recipes()), default=0)
    return _HELP.format(
        program=program(),
        commands="|".join(ALL_COMMANDS),
        subcommands="\n".join(f"  {name:<10} {text}" for name, text in ALL_COMMANDS.items()),
        recipes="\n".join(f"  {name:<{width}}  {first_line(path)}" for name, path in recipes().items()),
    )


def read_options(argv: Sequence[str]) -> Options:
    """Sort out subcommand, recipe and run folder.

    Args:
        argv: the command line without the program's name.

    Raises:
        UserError: an unknown subcommand or recipe, a folder that is no run, or options that exclude each other.
    """
    arguments = list(argv)
    subcommand = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "fit"
    if subcommand not in SUBCOMMANDS:
        near = nearest(subcommand, ALL_COMMANDS) or f" (there are: {', '.join(ALL_COMMANDS)})"
        recipe = f"; did you mean --recipe {subcommand}?" if subcommand in recipes() else ""
        raise UserError(f"there is no command '{subcommand}'{near}{recipe}")
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("recipe", "resume", "run", "run_folder", "against", "priors"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--calibrated", action="store_true")
    known, rest = reader.parse_known_args(arguments)
    if known.against is not None:
        if subcommand not in ("fit", "test"):
            raise UserError(f"--against compares tests, and {subcommand} makes none")
        rival = Path(known.against).expanduser().absolute()
        if not (rival / "predictions" / "test.parquet").is_file():
            near = nearest(
                str(known.against), [str(path.parents[1]) for path in Path("runs").glob("*/*/*/test.parquet")]
            )
            raise UserError(f"--against needs the folder of a run that was tested; {known.against} has no test{near}")
        rest.append(f"--report.against={rival}")
    if known.calibrated and subcommand != "predict":
        raise UserError(f"--calibrated is for predict, not for {subcommand}: leave it out")
    if known.priors is not None and (subcommand != "predict" or not known.run):
        raise UserError("--priors corrects the predictions of a run: it goes with predict --run RUN_FOLDER")
    if known.priors == "estimated" and any(word.split("=")[0] == "--ckpt_path" for word in rest):
        raise UserError(
            "--priors=estimated goes by the run's own test, which is of its best checkpoint: leave --ckpt_path out"
        )
    rest = [f"{flag}=true" if flag in ("--wandb", "--test") else flag for flag in rest]
    run = _existing_run(subcommand, known.resume, known.run)
    if run is not None and (known.recipe or known.run_folder):
        other = "--recipe" if known.recipe else "--run_folder"
        raise UserError(f"{other} does not go with --{'resume' if known.resume else 'run'}: the run has its own")
    if run is None and subcommand == "fit" and not known.recipe and not _has_config(rest):
        raise UserError(f"fit needs --recipe NAME|PATH; there are: {', '.join(recipes())}")
    if run is None and subcommand != "fit" and not known.recipe and not _has_config(rest):
        raise UserError(f"{subcommand} needs --run RUN_FOLDER, the run whose best checkpoint to use")
    if run is not None:
        check_recipe_file(run / "config.yaml")
        named = any(word.split("=")[0] == "--ckpt_path" for word in rest)
        found = [] if named else [last_checkpoint(run) if subcommand == "fit" else best_checkpoint(run)]
        rest = ["--config", str(run / "config.yaml"), *(f"--ckpt_path={path}" for path in found), *rest]
        name = run.name
    elif known.recipe:
        path = find_recipe(known.recipe)
        check_recipe_file(path)
        rest, name = ["--config", str(path), *rest], path.stem
    else:
        name = "run"
    folder = Path(known.run_folder).resolve() if known.run_folder else None
    return Options(subcommand, name, [subcommand, *rest], run, folder, known.calibrated, known.priors)


def _has_config(arguments: Sequence[str]) -> bool:
    starts = ("--config", "-c", "--model", "--print_config", "--help", "-h")
    return any(argument.startswith(starts) for argument in arguments)


def _existing_run(subcommand: str, resume: str | None, run: str | None) -> Path | None:
    if resume and subcommand != "fit":
        raise UserError(f"--resume continues training; {subcommand} takes --run {resume}")
    if run and subcommand == "fit":
        raise UserError(f"fit starts a new run; --resume {run} continues that one")
    given = resume or run
    return check_run(Path(given)) if given else None
