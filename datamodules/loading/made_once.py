"""Folders that are made once and kept, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def made_once(folder: Path, last_file: str, make: Callable[[Path], None]) -> Path:
    """The folder, made first if it is not there.

    It is made under another name beside its place and then renamed, so that what is found there is whole, also when
    several processes make it at the same time or one was stopped.

    Args:
        folder: named after what decides its content.
        last_file: in it once it is whole.
        make: writes the content into an empty folder.
    """
    if (folder / last_file).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        make(temporary)
        try:
            os.replace(temporary, folder)
        except OSError:  # another process was faster
            if not (folder / last_file).is_file():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def cache_folder() -> Path:
    """Where prepared data is kept: `lightning_tl` in the cache of Hugging Face datasets (`HF_HOME`)."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(home) / "datasets") / "lightning_tl"
