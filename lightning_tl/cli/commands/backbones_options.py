"""What stands on the command line of `backbones` beside a recipe's fields: read before anything heavy is imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program

FEATURES = "backbone_features"
_HELP = """\
usage: {command} --recipe NAME|PATH --candidates NAME [NAME …] [--FIELD=VALUE …]

Which backbone suits your data, without training one: features of the training and validation samples by each
candidate, what an exact linear head, nearest neighbours and LogME make of them, what the weights cost on this machine,
and what is written about them. Ends with the line to type. Interrupted, the same command goes on where it was.

options:
  --recipe NAME|PATH       whose data, and whose backbone is exchanged
  --candidates NAME …      as --model.backbone.pretrained takes them; CLASS:NAME opens one with another class, such as
                           TorchvisionResNet:resnet18; options of the class follow: efficientnet-lite0,image_size=64
  --FIELD=VALUE            change any field, for example --data.root=my_tiles or --data.labels_per_class=100
  --layers                 judge the output of every layer group as well
  --neighbours K           how many neighbours vote; default 5
  --features FOLDER        where features are kept; default {features}
  --output FILE.json       write the comparison there as well
  --offline                ask no hub for model cards
  --precision NAME         32, bf16 or auto, of the features; default 32
  --traceback              show where an error comes from"""


@dataclass(frozen=True)
class BackbonesOptions:
    """What was asked for.

    Args:
        run: recipe and fields, as LightningCLI reads them.
        candidates: as they were typed.
        typed: the recipe and its fields, as they were typed.
        layers: judge every layer.
        neighbours: that vote.
        features: the folder of kept features.
        output: file of the comparison, or None.
        offline: ask no hub.
        precision: of the features.
    """

    run: Options
    candidates: tuple[str, ...]
    typed: tuple[str, ...]
    layers: bool
    neighbours: int
    features: Path
    output: Path | None
    offline: bool
    precision: str


def backbones_help() -> str:
    """What `lightning-tl backbones --help` prints."""
    return _HELP.format(command=f"{program()} backbones", features=FEATURES)


def features_folder(given: str) -> Path:
    """Where features are kept.

    Raises:
        UserError: a file is there, or nothing can be made there.
    """
    folder = Path(given).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder of features {given} cannot be made ({error.strerror}); name another with --features"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"the folder of features {given} cannot be written to; name another with --features")
    return folder


def read_backbones_options(argv: Sequence[str]) -> BackbonesOptions:
    """Sort out what belongs to the comparison; the rest is the recipe's.

    Args:
        argv: the command line without the program's name and without `backbones`.

    Raises:
        UserError: no recipe or one that is not there, no candidates, or numbers and files that cannot be.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("--recipe")
    reader.add_argument("--candidates", nargs="+", action="extend", default=[])
    reader.add_argument("--layers", action="store_true")
    reader.add_argument("--neighbours", type=int, default=5)
    reader.add_argument("--features", default=FEATURES)
    reader.add_argument("--output")
    reader.add_argument("--offline", action="store_true")
    reader.add_argument("--precision", default="32")
    known, rest = reader.parse_known_args(list(argv))
    if not known.recipe:
        raise UserError("backbones needs --recipe NAME|PATH, whose data are read and whose backbone is exchanged")
    if not known.candidates:
        raise UserError(
            "backbones needs --candidates NAME [NAME …], such as lightning_tl/satellite-vit-tiny efficientnet-lite0 "
            "facebook/dinov2-small"
        )
    if known.neighbours < 1:
        raise UserError(f"neighbours must be at least 1, got {known.neighbours}")
    output = Path(known.output).expanduser() if known.output else None
    if output is not None and (output.suffix.lower() != ".json" or not output.parent.is_dir() or output.is_dir()):
        raise UserError(f"the output must be a .json file in a folder that is there, got {output}")
    if any(word.split("=")[0] == "--model.backbone.pretrained" for word in rest):
        raise UserError("--model.backbone.pretrained is what candidates stand for: name it among --candidates")
    return BackbonesOptions(
        run=read_options(["predict", f"--recipe={known.recipe}", *rest]),
        candidates=tuple(known.candidates),
        typed=("--recipe", known.recipe, *rest),
        layers=known.layers,
        neighbours=known.neighbours,
        features=features_folder(known.features),
        output=output,
        offline=known.offline,
        precision=known.precision,
    )
