"""The bundle of a run: the one that lies there, or a new one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.run_folder import checkpoints_folder
from lightning_tl.serving.bundle.manifest import FILE, Manifest, file_sha256

_EXPORT = "import sys; from lightning_tl.cli import main; main(['export', *sys.argv[1:]])"


def bundle_of_run(run: Path, say: Callable[[str], None]) -> Path:
    """The folder of a bundle that answers as the run's weights do.

    It is made in a process of its own, by what `export` does, so that torch never comes into this one.

    Args:
        run: folder of a finished run.
        say: told what is done.

    Raises:
        UserError: the run cannot become a bundle.
    """
    folder = run / "bundle"
    why = _why_stale(folder, checkpoints_folder(run), run / "index" / "index.json")
    if not why:
        return folder
    say(f"bundle   {folder} is made, as {why}; this takes a while, once")
    done = subprocess.run(
        [sys.executable, "-c", _EXPORT, "--run", str(run)], capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "it ended at once")
        raise UserError(f"{run} cannot be made a bundle: {said.removeprefix('error: ')}")
    return folder


def _why_stale(folder: Path, checkpoints: Path, index: Path) -> str:
    """Why a bundle is not that of the run's weights and index; empty where it is, or where no better can be made."""
    try:
        manifest = Manifest.read(folder)
    except FileNotFoundError:
        return "there is none that is whole"
    except (ValueError, OSError) as error:
        return f"the one there cannot be opened ({error})"
    found = {path.name: path for path in checkpoints.rglob("*.ckpt")}
    if not found:
        return ""  # a run that was copied without its checkpoints
    noted = manifest.card.get("checkpoint")
    if isinstance(noted, dict):
        best = found.get(str(noted.get("name")))
        same = best is not None and file_sha256(best) == noted.get("sha256")
    else:
        same = max(path.stat().st_mtime for path in found.values()) <= (folder / FILE).stat().st_mtime
    if not same:
        return "the one there is of other weights than the run's"
    noted = manifest.card.get("run_index")
    other = noted is not None and index.is_file() and file_sha256(index) != noted
    return "the one there has another index than the run's" if other else ""
