"""A user's own folder `datamodules/` beside ours: both are importable, whoever comes first."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from warm_python import warm_python

MODULE = "class Mine:\n    pass\n"
OURS = "from datamodules import ImageFolderDataModule, SatelliteDataModule\nimport datamodules.images.image_data\n"
THEIRS = "from datamodules.mine import Mine\nassert Mine.__module__ == 'datamodules.mine'\n"
NAME = "from datamodules import Mine, SatelliteDataModule\n"
PROGRAMS = {  # what a program says first, and whether their folder has an __init__.py
    "ours first": ("import lightning_tl\n" + OURS + THEIRS, False),
    "ours first, package": ("import lightning_tl\n" + OURS + THEIRS + NAME, True),
    "theirs first": (THEIRS + "import lightning_tl\n" + OURS, False),
    "theirs first, package": (THEIRS + "import lightning_tl\n" + OURS + NAME, True),
    "both in a line": ("import lightning_tl, datamodules\nfrom datamodules.mine import Mine\n" + OURS, True),
}


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return warm_python(["-c", code], folder)


def project(folder: Path, package: bool, module: str = MODULE) -> Path:
    (folder / "datamodules").mkdir()
    (folder / "datamodules" / "mine.py").write_text(module)
    if package:
        (folder / "datamodules" / "__init__.py").write_text("from datamodules.mine import Mine\n")
    return folder


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_are_importable(name: str, tmp_path: Path) -> None:
    code, package = PROGRAMS[name]
    done = python(project(tmp_path, package), code)
    assert done.returncode == 0, done.stderr
    assert "cannot be imported" not in done.stderr


def test_theirs_that_builds_on_ours_while_it_is_imported(tmp_path: Path) -> None:
    module = "import lightning_tl\nfrom datamodules import SatelliteDataModule\nclass Mine(SatelliteDataModule): ...\n"
    done = python(project(tmp_path, True, module), NAME + "assert issubclass(Mine, SatelliteDataModule)\n")
    assert done.returncode == 0, done.stderr


def test_modules_of_the_same_name_are_told(tmp_path: Path) -> None:
    folder = project(tmp_path, False)
    (folder / "datamodules" / "images.py").write_text(MODULE)
    ours_first = python(folder, "import lightning_tl\n" + OURS)
    assert ours_first.returncode == 0, ours_first.stderr
    assert f"images in {folder / 'datamodules'} cannot be imported" in ours_first.stderr
    theirs_first = python(folder, "import datamodules.images, lightning_tl\nfrom datamodules import ImageDataModule")
    message = theirs_first.stderr.splitlines()[-1]
    assert str(folder / "datamodules") in message and "import lightning_tl first" in message
