"""What stands on the command line of `distance` beside a recipe's fields: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import check_run

FEATURES, OWN, BESIDE, LOG = "backbone_features", "recipe", "backbone", "log"
KEPT = ".safetensors"
_HELP = """\
usage: {command} --recipe NAME|PATH --source FOLDER|TABLE|FILE|{own}|{beside} [--FIELD=VALUE …]

How far your data lie from others, by the features of a backbone: how well a classifier tells the two apart (proxy
A-distance), whether their distributions differ (MMD), the Fréchet distance, all samples and class by class, and what
that says of a model's error. No labels are needed.

options:
  --recipe NAME|PATH   whose backbone, and whose data are the target
  --run RUN            in place of --recipe: the backbone as this run trained it (best checkpoint)
  --source PLACE       the other data, read as the target is, with the same fields; {own} for the recipe's own data;
                       {beside} for what the backbone was pretrained on, where its features came with the weights; or a
                       file from --keep_source
  --keep_source FILE   keep the source's features in FILE{kept}, to be the source of later calls without the data
  --source.FIELD=VALUE a field of the source's data alone, for example --source.text=body
  --FIELD=VALUE        change any field, for example --data.root=my_tiles
  --folds N            of the classifier's cross-validation; default 5
  --permutations N     of the test; default 500
  --most N             samples to draw from each side, where there are more; default 20000
  --features FOLDER    where features are kept; default {features}
  --output FILE.json   write the result there as well
  --precision NAME     32, bf16 or auto, of the features; default 32
  --traceback          show where an error comes from

how a finished run's accuracy on its test goes with time (concept drift), in place of a distance:
  --times TABLE|{log}    with --run: a table with the time of each sample; {log} for those of an event log's test
  --time COLUMN        of dates, or of seconds since 1970
  --id COLUMN          of the samples' names, as in predictions/test.parquet; default the rows' numbers
  --windows N          at most; default 10"""


@dataclass(frozen=True)
class DistanceOptions:
    """What was asked for.

    Args:
        run: recipe or run and fields, as LightningCLI reads them.
        typed: the fields, as they were typed.
        source: a folder, a table, or `OWN`.
        source_fields: fields of the source's data alone, as `--data.FIELD=VALUE`.
        folds: of the cross-validation.
        permutations: of the test.
        most: samples of each side.
        features: the folder of kept features.
        output: file of the result, or None.
        precision: of the features.
        keep_source: file for the source's features, or None.
    """

    run: Options
    typed: tuple[str, ...]
    source: str
    source_fields: tuple[str, ...]
    folds: int
    permutations: int
    most: int
    features: Path
    output: Path | None
    precision: str
    keep_source: Path | None

    @property
    def kept(self) -> bool:
        """Whether the source is a file of features, and not data."""
        return self.source == BESIDE or self.source.lower().endswith(KEPT)


@dataclass(frozen=True)
class DriftOptions:
    """What was asked for, of a run's accuracy in time.

    Args:
        run: a finished run.
        table: with the time of each sample; None for the times that the test of an event log has.
        time: its column of times; empty without a table.
        id: its column of names, or None for the rows' numbers.
        windows: at most.
        output: file of the result, or None.
    """

    run: Path
    table: Path | None
    time: str
    id: str | None
    windows: int
    output: Path | None


def distance_help() -> str:
    """What `lightning-tl distance --help` prints."""
    return _HELP.format(command=f"{program()} distance", features=FEATURES, own=OWN, beside=BESIDE, kept=KEPT, log=LOG)


def read_distance_options(argv: Sequence[str]) -> DistanceOptions | DriftOptions:
    """Sort out what belongs to the distance; the rest is the recipe's.

    Args:
        argv: the command line without the program's name and without `distance`.

    Raises:
        UserError: no recipe, no source or one that is not there, and numbers and files that cannot be.
    """
    words = list(argv)
    own = [f"--data.{word.removeprefix('--source.')}" for word in words if word.startswith("--source.")]
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("recipe", "run", "source", "output", "times", "time", "id", "keep_source"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--folds", type=int, default=5)
    reader.add_argument("--windows", type=int, default=10)
    reader.add_argument("--permutations", type=int, default=500)
    reader.add_argument("--most", type=int, default=20_000)
    reader.add_argument("--features", default=FEATURES)
    reader.add_argument("--precision", default="32")
    known, rest = reader.parse_known_args([word for word in words if not word.startswith("--source.")])
    if not known.recipe and not known.run:
        raise UserError("distance needs --recipe NAME|PATH, or --run RUN_FOLDER for trained weights")
    output = _output(known.output)
    if known.times or known.time:
        if not (known.run and known.times) or (not known.time and known.times != LOG):
            raise UserError(
                f"accuracy in time needs --run RUN_FOLDER, --times TABLE and --time COLUMN; of a log --times {LOG}"
            )
        if known.times == LOG and (known.time or known.id):
            raise UserError(f"--times {LOG} takes the times of the run's own test: leave out --time and --id")
        if rest or known.source:
            raise UserError(f"{rest[0] if rest else '--source'} does not go with --times: no distance is measured")
        run = check_run(Path(known.run))
        table = None if known.times == LOG else Path(known.times).expanduser()
        return DriftOptions(run, table, known.time or "", known.id, known.windows, output)
    if not known.source:
        raise UserError("distance needs --source FOLDER or TABLE, the data to measure from")
    if bad := [word for word in own if "=" not in word]:
        raise UserError(f"a field of the source is written --source.FIELD=VALUE, got --source.{bad[0][7:]}")
    keep = Path(known.keep_source).expanduser() if known.keep_source else None
    if keep is not None and (keep.suffix.lower() != KEPT or not keep.parent.is_dir() or keep.is_dir()):
        raise UserError(f"keep_source must be a {KEPT} file in a folder that is there, got {keep}")
    for name, least in (("folds", 3), ("permutations", 1)):
        if (value := getattr(known, name)) < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    if known.most < known.folds:
        raise UserError(f"most must be at least the number of folds, {known.folds}, got {known.most}")
    if (known.source == BESIDE or known.source.lower().endswith(KEPT)) and (own or keep is not None):
        said = f"--source.{own[0][7:]}" if own else "--keep_source"
        raise UserError(f"{said} is for a source that is read; {known.source} is features that are kept already")
    source = [f"--{name}={value}" for name in ("recipe", "run") if (value := getattr(known, name))]
    return DistanceOptions(
        run=read_options(["predict", *source, *rest]),
        typed=tuple(rest),
        source=known.source,
        source_fields=tuple(own),
        folds=known.folds,
        permutations=known.permutations,
        most=known.most,
        features=Path(known.features).expanduser(),
        output=output,
        precision=known.precision,
        keep_source=keep,
    )


def _output(given: str | None) -> Path | None:
    output = Path(given).expanduser() if given else None
    if output is not None and (output.suffix.lower() != ".json" or not output.parent.is_dir() or output.is_dir()):
        raise UserError(f"the output must be a .json file in a folder that is there, got {output}")
    return output
