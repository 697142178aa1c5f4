"""What stands on the command line of `forget` beside fields: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.commands.backbones_options import FEATURES, features_folder
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import best_checkpoint, check_run, checkpoints_folder

_HELP = """\
usage: {command} --run RUN --source FOLDER_OR_TABLE [--data.FIELD=VALUE …]

What an adaptation left of what the pretrained backbone could do: an exact linear head on labelled samples of the
source, with the features before and after, in pairs on the same folds; and how alike the features of each layer are
(centred kernel alignment). Training and validation samples are read, never test samples.

options:
  --run RUN                 the run that adapted the backbone (best checkpoint)
  --source PATH             labelled samples of what the backbone knew: for images a folder of class folders, or a
                            table of paths and labels; for texts a table; shipped: the data of this project
  --data.FIELD=VALUE        how it is read, such as --data.text=body --data.label=topic or --data.labels_per_class=50;
                            --data=CLASS in place of --source takes any data module
  --ckpt_path FILE          another checkpoint of the run
  --features FOLDER         where features are kept; default {features}
  --output FILE.json        write the comparison there as well
  --trainer.accelerator=cpu use no GPU
  --traceback               show where an error comes from"""


@dataclass(frozen=True)
class ForgetOptions:
    """What was asked for.

    Args:
        run: folder of the run.
        checkpoint: of the adapted weights.
        source: folder or table, or `shipped`; None where a data module was named.
        rest: fields, as they were typed.
        features: the folder of kept features.
        output: file of the comparison, or None.
    """

    run: Path
    checkpoint: Path
    source: str | None
    rest: tuple[str, ...]
    features: Path
    output: Path | None


def forget_help() -> str:
    """What `lightning-tl forget --help` prints."""
    return _HELP.format(command=f"{program()} forget", features=FEATURES)


def read_forget_options(argv: Sequence[str]) -> ForgetOptions:
    """Sort out what belongs to the comparison; the rest are fields.

    Args:
        argv: the command line without the program's name and without `forget`.

    Raises:
        UserError: no run, one that is not there or has no checkpoint, no source, or a file that cannot be.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("run", "source", "ckpt_path", "output"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--features", default=FEATURES)
    known, rest = reader.parse_known_args(list(argv))
    if not known.run:
        raise UserError("forget needs --run RUN, the folder of the run that adapted the backbone")
    run = check_run(Path(known.run))
    own = any(word.split("=")[0] == "--data" for word in rest)
    if own == bool(known.source):
        both = "does not go with --data: one of them says what is read" if own else "is needed: FOLDER_OR_TABLE"
        raise UserError(f"--source {both} of labelled samples of what the backbone knew before")
    if not known.ckpt_path and not any(checkpoints_folder(run).rglob("*.ckpt")):
        raise UserError(f"the run {known.run} has no checkpoint, so there is nothing adapted to compare")
    output = Path(known.output).expanduser() if known.output else None
    if output is not None and (output.suffix.lower() != ".json" or not output.parent.is_dir() or output.is_dir()):
        raise UserError(f"the output must be a .json file in a folder that is there, got {output}")
    if wrong := [word for word in rest if word.startswith("--model")]:
        raise UserError(f"{wrong[0]} would change the run's model, which is to be compared as it is: leave it out")
    checkpoint = Path(known.ckpt_path) if known.ckpt_path else best_checkpoint(run)
    return ForgetOptions(run, checkpoint, known.source, tuple(rest), features_folder(known.features), output)
