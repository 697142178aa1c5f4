"""Run folders: `runs/<recipe>/<time>`, one for each run, shared by all its processes."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from lightning_tl.cli.errors import UserError, nearest

RUN_FOLDER = "LIGHTNING_TL_RUN_FOLDER"
"""Environment variable through which the processes of one run, started one by another, share its folder."""

LAST = "last.ckpt"
"""The checkpoint to go on from."""


def check_run(folder: Path) -> Path:
    """`folder`, absolute, if a run was written there."""
    if not folder.is_dir():
        raise UserError(f"there is no run folder {folder}{nearest(str(folder), _runs())}")
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} is not the folder of a run: it has no config.yaml")
    return folder.resolve()


def _runs() -> list[str]:
    """The run folders below the current folder, as a user types them."""
    return [str(path.parent) for path in Path("runs").glob("*/*/config.yaml")]


def checkpoints_folder(run: Path) -> Path:
    """Where a run keeps its checkpoints: in its folder, or where its recipe said (`checkpoint.dirpath`)."""
    import yaml

    own, config = run / "checkpoints", run / "config.yaml"
    if (own / LAST).is_file() or not config.is_file():
        return own
    try:
        fields = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return own  # told where the file is read
    checkpoint = fields.get("checkpoint") if isinstance(fields, dict) else None
    elsewhere = checkpoint.get("dirpath") if isinstance(checkpoint, dict) else None
    return Path(elsewhere) if elsewhere else own


def can_go_on(run: Path) -> bool:
    """Whether there is a checkpoint to continue from."""
    return (checkpoints_folder(run) / LAST).is_file()


def last_checkpoint(run: Path) -> Path:
    """The checkpoint to continue from."""
    folder = checkpoints_folder(run)
    if not (folder / LAST).is_file():
        where = f"no {folder.name}/{LAST}" if folder.parent == run else f"no {folder / LAST}"
        raise UserError(f"{run} has {where} to go on from; start anew with --recipe {run}/config.yaml")
    return folder / LAST


def best_checkpoint(run: Path) -> Path:
    """The checkpoint with the best validation metric, or the last one where no validation took place.

    Raises:
        UserError: the best one is gone.
    """
    folder = checkpoints_folder(run)
    found = [path for path in folder.rglob("*.ckpt") if path.name != LAST and not path.name.startswith(".")]
    if len(found) == 1 and found[0].name.startswith("best"):
        return found[0]
    if not (folder / LAST).is_file() and found:
        raise UserError(
            f"{folder} has no {LAST}, which says which of its {len(found)} checkpoints is the best; name one with "
            f"--ckpt_path, such as --ckpt_path={sorted(found)[0]}"
        )
    last = last_checkpoint(run)
    best = _best_by(last)
    if best is not None and not best.is_file():
        raise UserError(f"the best checkpoint of {run}, {best}, is not there; --ckpt_path={last} takes the last one")
    return best or last


def _best_by(last: Path) -> Path | None:
    """The best checkpoint by what the last one has noted; None where none was kept."""
    from lightning_tl.callbacks import ResumableCheckpoint, SafeCheckpointIO
    from lightning_tl.callbacks.resuming.resumable_checkpoint import moved_here

    states = SafeCheckpointIO().load_checkpoint(last).get("callbacks", {})
    own = [state for key, state in states.items() if str(key).startswith(ResumableCheckpoint.__name__)]
    noted = moved_here(own[0], str(last.parent))["best_model_path"] if own else ""
    return Path(noted) if noted else None


def is_first_process() -> bool:
    """Whether this process is rank 0, judged by the environment: nothing distributed runs yet."""
    names = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def new_run_folder(recipe: str, wanted: Path | None) -> Path:
    """Make the folder of a new run; every process of the run gets the same one.

    Args:
        recipe: name of the recipe.
        wanted: where the user wants it; default `runs/<recipe>/<time>` in the current folder.

    Raises:
        UserError: the wanted folder exists and is not empty: runs are never overwritten.
    """
    if RUN_FOLDER in os.environ:  # this process was started by the first one
        return Path(os.environ[RUN_FOLDER])
    folder = wanted or Path("runs").resolve() / recipe / _agreed(time.strftime("%Y%m%d-%H%M%S"))
    if is_first_process():
        if wanted is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"the run folder {folder} exists; choose another, or continue it with --resume {folder}")
        if wanted is None:
            folder = unused(folder)
        folder.mkdir(parents=True, exist_ok=wanted is not None)
        os.environ[RUN_FOLDER] = str(folder)
    return folder


def take_back(folder: Path) -> None:
    """Remove the folder of a run that failed before it made anything, and folders above it that this leaves empty."""
    if not is_first_process() or not folder.is_dir() or {path.name for path in folder.iterdir()} - {"config.yaml"}:
        return
    (folder / "config.yaml").unlink(missing_ok=True)
    for path in (folder, folder.parent, folder.parent.parent):
        if any(path.iterdir()):
            return
        path.rmdir()


def unused(folder: Path) -> Path:
    """`folder`, or the same name with a number behind it that no folder has."""
    if _launched_elsewhere():
        return folder  # a name that all processes agreed on
    taken, number = folder, 1
    while taken.exists():
        number += 1
        taken = folder.with_name(f"{folder.name}-{number}")
    return taken


def _launched_elsewhere() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def _agreed(name: str) -> str:
    """The name that the first of several independently started processes proposed."""
    if not _launched_elsewhere():
        return name
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise UserError("several processes were started without torchrun; give them all the same --run_folder PATH")
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=60))
    key = f"lightning_tl/run/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    agreed: bytes = store.compare_set(key, "", name)
    return agreed.decode()
