"""What stands on the command line of `export`: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

BUNDLE = "bundle"  # in the folder of a run
_HELP = """\
usage: {program} export --run RUN [--output FOLDER] [--FIELD=VALUE …]

Writes a finished run as a bundle: an ONNX graph, what feeds it, class names, temperature and a model card; of two
towers the user tower, the index, and what is known of users. It answers
without torch and without the run's data: {program} serve --bundle FOLDER, or lightning_tl.serving.open_bundle.

options:
  --run RUN        folder of a finished run on images, texts or an event log
  --output FOLDER  default {bundle} in the folder of the run; a bundle that is there is replaced
  --format onnx    the one there is
  --int8           keep weights in 8 bits; what that costs is measured on the run's validation samples
  --no_pictures    leave out the small pictures of items, which a two-tower bundle takes where the run's data has some
  --FIELD=VALUE    change a field of the run, for example --ckpt_path=RUN/checkpoints/last.ckpt
  --traceback      show where an error comes from"""


@dataclass(frozen=True)
class ExportOptions:
    """What was asked for.

    Args:
        run: the run, and what LightningCLI reads.
        output: the folder to write.
        int8: keep weights in 8 bits.
        pictures: small pictures of items go with the bundle.
    """

    run: Options
    output: Path
    int8: bool = False
    pictures: bool = True


def export_help() -> str:
    """What `lightning-tl export --help` prints."""
    return _HELP.format(program=program(), bundle=BUNDLE)


def read_export_options(argv: Sequence[str]) -> ExportOptions:
    """Sort out what belongs to exporting; the rest is the run's.

    Args:
        argv: the command line without the program's name and without `export`.

    Raises:
        UserError: no run, an output that cannot be, or another format.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "output"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--format", default="onnx")
    reader.add_argument("--int8", action="store_true")
    reader.add_argument("--no_pictures", action="store_true")
    known, rest = reader.parse_known_args(list(argv))
    if not known.run:
        raise UserError("export needs --run RUN_FOLDER, a finished run")
    if known.format != "onnx":
        raise UserError(f"format must be onnx, got {known.format}; the run's model/ is its export for other libraries")
    run = read_options(["predict", f"--run={known.run}", *rest])
    assert run.run is not None, "predict --run has a run"
    output = Path(known.output).expanduser() if known.output else run.run / BUNDLE
    if output.exists() and not output.is_dir():
        raise UserError(f"the output must be a folder, and {output} is a file")
    return ExportOptions(run, output, known.int8, not known.no_pictures)
