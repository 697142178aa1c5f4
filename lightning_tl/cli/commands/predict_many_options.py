"""What stands on the command line of `predict --output`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options

ROWS = 10_000  # the same for any number of processes, so that the rows are the same


@dataclass(frozen=True)
class PredictManyOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        output: file to write.
        save_every: rows that are kept at once.
        overwrite: replace the output.
        ray: address of a Ray cluster; None for this process.
    """

    run: Options
    output: Path
    save_every: int = ROWS
    overwrite: bool = False
    ray: str | None = None


def wants_output(argv: Sequence[str]) -> bool:
    """Whether predictions go to a file of the user's own, in parts."""
    return any(word.split("=")[0] in ("--output", "--ray") for word in argv)


def read_predict_many_options(argv: Sequence[str]) -> PredictManyOptions:
    """Sort out what belongs to the output; the rest is the run's.

    Args:
        argv: the command line without the program's name and without `predict`.

    Raises:
        UserError: no run, no Parquet file, or a number of rows below 1.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("--output")
    reader.add_argument("--overwrite", action="store_true")
    reader.add_argument("--save_every", type=int, default=ROWS)
    reader.add_argument("--ray")
    known, rest = reader.parse_known_args(list(argv))
    if known.output is None:
        raise UserError("predict --ray writes to --output FILE.parquet: name it")
    if not known.output.endswith(".parquet"):
        raise UserError(f"--output must end in .parquet, got {known.output}")
    if known.save_every < 1:
        raise UserError(f"save_every must be at least 1, got {known.save_every}")
    run = read_options(["predict", *rest])
    if run.run is None:
        raise UserError("predict --output needs --run RUN_FOLDER, a finished run")
    if run.priors is not None:
        raise UserError("--priors corrects the predictions of a whole run: leave --output out, or --priors")
    output = Path(known.output).expanduser()
    return PredictManyOptions(run, output, known.save_every, known.overwrite, known.ray)
