"""What stands on the command line of `embed` beside a recipe's fields: read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError, nearest
from lightning_tl.cli.options import Options, Reader, read_options
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipes import first_line, recipes
from lightning_tl.cli.run_folder import checkpoints_folder

SPLITS = ("all", "train", "validation", "test", "predict")
_HELP = """\
usage: {command} --recipe NAME|PATH --output FILE.parquet|FILE.npy [--FIELD=VALUE …]

Writes the embedding of every sample of a recipe's data, in the order of the data; labels are not needed.
Interrupted, the same command goes on where it was. Several GPUs: torchrun --nproc-per-node=N {script} …

options:
  --recipe NAME|PATH   whose backbone, with its pretrained weights, and whose data
  --run RUN            in place of --recipe: the backbone as this run trained it (best checkpoint)
  --FIELD=VALUE        change any field, for example --data.path=my.csv --data.text=body
                       or --model.backbone.pretrained=intfloat/e5-small or --trainer.accelerator=cpu
  --output FILE        .parquet: columns id and embedding; .npy: an array, its ids in NAME.ids.parquet
  --overwrite          replace the output, and drop what an interrupted job of another kind left
  --split NAME         {splits}; default all
  --precision NAME     32, bf16 or auto (bf16 where the machine computes with it); default auto
  --batch_tokens N     most tokens in a batch of texts; default 8192
  --batch_size N       most samples in a batch; default 64 images, 1024 texts
  --save_every SECONDS how much work an interruption may cost; default 30
  --traceback          show where an error comes from

recipes:
{recipes}"""


@dataclass(frozen=True)
class EmbedOptions:
    """What was asked for.

    Args:
        run: recipe or run, and what LightningCLI reads.
        output: file to write.
        overwrite: replace it.
        split: "all", or a split of the data.
        precision: "auto", "32" or "bf16".
        batch_size: most samples in a batch; None for the default.
        batch_tokens: most tokens in a batch of texts.
        save_every: seconds between two parts that are kept.
    """

    run: Options
    output: Path
    overwrite: bool
    split: str
    precision: str
    batch_size: int | None
    batch_tokens: int
    save_every: float


def embed_help() -> str:
    """What `lightning-tl embed --help` prints."""
    called = program()
    width = max(map(len, recipes()), default=0)
    return _HELP.format(
        command=called if called.endswith("embed.py") else f"{called} embed",
        script=called.rpartition(" ")[2] if called.endswith("embed.py") else "scripts/embed.py",
        splits=", ".join(SPLITS),
        recipes="\n".join(f"  {name:<{width}}  {first_line(path)}" for name, path in recipes().items()),
    )


def read_embed_options(argv: Sequence[str]) -> EmbedOptions:
    """Sort out what belongs to embedding; the rest is the recipe's.

    Args:
        argv: the command line without the program's name and without `embed`.

    Raises:
        UserError: neither a recipe nor a run, or one that is not there; a run without checkpoints; no output.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    for name in ("recipe", "run", "output"):
        reader.add_argument(f"--{name}")
    reader.add_argument("--overwrite", action="store_true")
    reader.add_argument("--split", default="all")
    reader.add_argument("--precision", default="auto")
    reader.add_argument("--batch_size", type=int)
    reader.add_argument("--batch_tokens", type=int, default=8192)
    reader.add_argument("--save_every", type=float, default=30.0)
    known, rest = reader.parse_known_args(list(argv))
    if not known.recipe and not known.run:
        raise UserError("embed needs --recipe NAME|PATH, or --run RUN_FOLDER for trained weights")
    if not known.output:
        raise UserError("embed needs --output FILE.parquet or FILE.npy")
    if known.split not in SPLITS:
        near = nearest(known.split, SPLITS)
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {known.split}{near}")
    source = [f"--{name}={value}" for name in ("recipe", "run") if (value := getattr(known, name))]
    run = Path(known.run or "")
    if known.run and (run / "config.yaml").is_file() and not any(checkpoints_folder(run).rglob("*.ckpt")):
        raise UserError(
            f"the run {known.run} has no checkpoint, so there are no trained weights; the pretrained ones are embedded "
            f"with --recipe {known.run}/config.yaml"
        )
    return EmbedOptions(
        run=read_options(["predict", *source, *rest]),
        output=Path(known.output).expanduser(),
        overwrite=known.overwrite,
        split=known.split,
        precision=known.precision,
        batch_size=known.batch_size,
        batch_tokens=known.batch_tokens,
        save_every=known.save_every,
    )
