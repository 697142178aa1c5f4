"""What stands on the command line of `push`: read before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Reader
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import check_run

DRY_RUN = "push"  # in the folder of a run
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_HELP = """\
usage: {program} push --run RUN --repo OWNER/NAME [--private] [--dry_run [FOLDER]]

Puts a finished run on the Hugging Face hub with its model card: the files of its model/ for other libraries, and its
bundle/, which answers without torch, where there is one ({program} export makes it). The token is that of
`hf auth login`, or HF_TOKEN.

options:
  --run RUN           folder of a finished run
  --repo OWNER/NAME   where to; it is made where it is not there
  --private           make it so that others do not see it
  --dry_run [FOLDER]  write what would be sent into a folder, default {folder} in that of the run; send nothing
  --traceback         show where an error comes from"""


@dataclass(frozen=True)
class PushOptions:
    """What was asked for.

    Args:
        run: folder of the run.
        repo: `owner/name`.
        private: whether a new repository is private.
        dry_run: folder to write into in place of sending.
    """

    run: Path
    repo: str
    private: bool = False
    dry_run: Path | None = None


def push_help() -> str:
    """What `lightning-tl push --help` prints."""
    return _HELP.format(program=program(), folder=DRY_RUN)


def read_push_options(argv: Sequence[str]) -> PushOptions:
    """Check what belongs to pushing.

    Args:
        argv: the command line without the program's name and without `push`.

    Raises:
        UserError: no run, a name that no repository can have, or unknown words.
    """
    reader = Reader(add_help=False, allow_abbrev=False)
    reader.add_argument("--run")
    reader.add_argument("--repo")
    reader.add_argument("--private", action="store_true")
    reader.add_argument("--dry_run", nargs="?", const="")
    known, rest = reader.parse_known_args(list(argv))
    if rest:
        raise UserError(f"push has no option {rest[0]}; `push --help` lists its options")
    if not known.run:
        raise UserError("push needs --run RUN_FOLDER, a finished run")
    if not known.repo:
        raise UserError("push needs --repo OWNER/NAME, where to put the run on the hub")
    parts = known.repo.split("/")
    if len(parts) != 2 or not all(map(_NAME.fullmatch, parts)) or "--" in known.repo or ".." in known.repo:
        raise UserError(
            f"--repo must be OWNER/NAME, of letters, digits, '-', '_' and '.', each of at most 96, got '{known.repo}'"
        )
    run = check_run(Path(known.run).expanduser())
    if known.dry_run is None:
        return PushOptions(run, known.repo, known.private)
    folder = Path(known.dry_run).expanduser() if known.dry_run else run / DRY_RUN
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: name another folder with --dry_run FOLDER, or remove it")
    return PushOptions(run, known.repo, known.private, folder)
