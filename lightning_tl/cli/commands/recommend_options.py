"""What stands on the command line of `recommend`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

_HELP = """\
usage: {program} recommend --run RUN --user ID [--k 20] [--FIELD=VALUE …]

Prints the items that a trained two-tower model would show to a user now, without those that the user took.

options:
  --run RUN        folder of a run of a retrieval recipe
  --user ID        as in the event log; a stranger gets what is popular of late
  --k N            how many; default 20
  --FIELD=VALUE    change a field of the run, for example --data.events=newer.parquet
  --traceback      show where an error comes from"""


@dataclass(frozen=True)
class RecommendOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        user: id.
        k: how many items.
    """

    run: Options
    user: str
    k: int


def recommend_help() -> str:
    """What `lightning-tl recommend --help` prints."""
    return _HELP.format(program=program())


def read_recommend_options(argv: Sequence[str]) -> RecommendOptions:
    """Sort out what belongs to recommending; the rest is the run's.

    Args:
        argv: the command line without the program's name and without `recommend`.

    Raises:
        UserError: no run, no user, or a number of items below 1.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("--run")
    reader.add_argument("--user")
    reader.add_argument("--k", type=int, default=20)
    known, rest = reader.parse_known_args(list(argv))
    if not known.run:
        raise UserError("recommend needs --run RUN_FOLDER, the run of a retrieval recipe")
    if known.user is None:
        raise UserError("recommend needs --user ID, as in the event log")
    if known.k < 1:
        raise UserError(f"k must be at least 1, got {known.k}")
    return RecommendOptions(read_options(["predict", f"--run={known.run}", *rest]), known.user, known.k)
