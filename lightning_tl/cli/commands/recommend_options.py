"""What stands on the command line of `recommend`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

USERS = 1_000  # the same for any number of processes, so that the rows are the same

_HELP = """\
usage: {program} recommend --run RUN --user ID [--k 20] [--FIELD=VALUE …]
       {program} recommend --run RUN --users FILE --output FILE.parquet [--k 20] [--FIELD=VALUE …]

Prints the items that a trained two-tower model would show to a user now, without those that the user took;
for a table of users it writes user, rank, item, score and by to Parquet, in the order of the table. Interrupted, the
same command goes on where it was; several processes: torchrun --nproc-per-node=N -- scripts/fit.py recommend …

options:
  --run RUN        folder of a run of a retrieval recipe
  --user ID        as in the event log; a stranger gets what is popular of late
  --users FILE     Parquet or CSV with the run's column of user ids
  --output FILE    .parquet
  --overwrite      replace the output, and drop what an interrupted job of another kind left
  --save_every N   users whose rows are kept at once; default 1,000
  --ray ADDRESS    share the users among the processors of a Ray cluster: host:port, auto for the one that this machine
                   belongs to, or local for this machine
  --k N            how many; default 20
  --boost C=W      add W times the column C of the index to each score, or C=multiply:W to multiply it by C ** W; may
                   stand several times; the index has columns after: {program} index build
  --diversity D    from 0, by score alone, to below 1: how unlike each other the items are (maximal marginal relevance)
  --FIELD=VALUE    change a field of the run, for example --data.events=newer.parquet
  --traceback      show where an error comes from"""


@dataclass(frozen=True)
class RecommendOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        user: id; empty where there is a table of users.
        k: how many items.
        users: table; None for one user.
        output: file to write.
        overwrite: replace it.
        boost: by column, see `boosts_of`.
        diversity: see `ItemRules`.
        save_every: users whose rows are kept at once.
        ray: address of a Ray cluster; None for this process.
    """

    run: Options
    user: str
    k: int
    users: Path | None = None
    output: Path | None = None
    overwrite: bool = False
    boost: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    diversity: float = 0.0
    save_every: int = USERS
    ray: str | None = None


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
    reader.add_argument("--users")
    reader.add_argument("--output")
    reader.add_argument("--overwrite", action="store_true")
    reader.add_argument("--save_every", type=int, default=None)
    reader.add_argument("--ray")
    reader.add_argument("--k", type=int, default=20)
    reader.add_argument("--boost", action="append", default=[])
    reader.add_argument("--diversity", type=float, default=0.0)
    known, rest = reader.parse_known_args(list(argv))
    if not known.run:
        raise UserError("recommend needs --run RUN_FOLDER, the run of a retrieval recipe")
    if known.user is not None and known.users is not None:
        raise UserError("recommend takes --user ID or --users FILE, not both")
    if known.user is None and known.users is None:
        raise UserError("recommend needs --user ID, as in the event log, or --users FILE")
    if (known.users is None) != (known.output is None):
        raise UserError("recommend writes for --users FILE to --output FILE.parquet: name both, or --user alone")
    if known.output is not None and not known.output.endswith(".parquet"):
        raise UserError(f"--output must end in .parquet, got {known.output}")
    for name in ("ray", "save_every"):
        if known.users is None and getattr(known, name) is not None:
            raise UserError(f"--{name} is for --users FILE with --output FILE.parquet: leave it out for one user")
    save_every = USERS if known.save_every is None else known.save_every
    if save_every < 1:
        raise UserError(f"save_every must be at least 1, got {save_every}")
    if known.k < 1:
        raise UserError(f"k must be at least 1, got {known.k}")
    boost = _boosts(known.boost)
    if not 0 <= known.diversity < 1:
        raise UserError(f"diversity must be in [0, 1), got {known.diversity}")
    users, output = (None if path is None else Path(path).expanduser() for path in (known.users, known.output))
    run = read_options(["predict", f"--run={known.run}", *rest])
    rules, kept = (boost, known.diversity), (save_every, known.ray)
    return RecommendOptions(run, known.user or "", known.k, users, output, known.overwrite, *rules, *kept)


def _boosts(texts: Sequence[str]) -> dict[str, dict[str, object]]:
    """Boosts from COLUMN=WEIGHT and COLUMN=multiply:WEIGHT.

    Raises:
        UserError: something else, or one column twice.
    """
    wanted: dict[str, dict[str, object]] = {}
    for text in texts:
        column, equals, how = text.rpartition("=")
        kind, colon, weight = how.rpartition(":")
        try:
            number = float(weight)
        except ValueError:
            equals = ""
        if not equals or not column or (colon and kind not in ("add", "multiply")):
            raise UserError(f"--boost is COLUMN=WEIGHT or COLUMN=multiply:WEIGHT with a number, got '{text}'")
        if column in wanted:
            raise UserError(f"--boost names the column '{column}' twice; give one weight")
        wanted[column] = {"how": kind or "add", "weight": number}
    return wanted
