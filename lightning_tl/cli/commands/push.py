"""`push`: a finished run on the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lightning_tl.bundling.hub_folder import Hub, stage
from lightning_tl.cli.commands.push_options import PushOptions
from lightning_tl.reports.summary import short_path


def run_push(options: PushOptions) -> None:
    """Write what is sent into a folder, and send it unless that is all that is wanted.

    Args:
        options: from `read_push_options`.

    Raises:
        ValueError, OSError: the run has nothing to send, nobody is logged in, or the hub is not reached or refuses.
    """
    if options.dry_run is not None:
        try:
            names = stage(options.run, options.repo, options.dry_run)
        except BaseException:
            shutil.rmtree(options.dry_run, ignore_errors=True)
            raise
        size = sum(path.stat().st_size for path in options.dry_run.rglob("*") if path.is_file()) / 2**20
        print(f"written  {short_path(options.dry_run)} ({len(names)} files, {size:.1f} MiB); nothing was sent")
        return
    hub = Hub()
    with tempfile.TemporaryDirectory() as folder:
        names = stage(options.run, options.repo, Path(folder))
        print(f"sending  {len(names)} files to {options.repo}", flush=True)
        print(f"pushed   {hub.push(Path(folder), options.repo, options.private)}")
