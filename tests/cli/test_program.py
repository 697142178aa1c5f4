"""Commands that are printed can be pasted: they call this program as the user called it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import help_text
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import check_run


@pytest.mark.parametrize(
    ("typed", "script", "printed"),
    [
        (["python", "scripts/fit.py"], "scripts/fit.py", "python scripts/fit.py"),
        (["python3", "-u", "scripts/fit.py"], "scripts/fit.py", "python3 scripts/fit.py"),
        ([".venv/bin/python", "scripts/fit.py"], "scripts/fit.py", ".venv/bin/python scripts/fit.py"),
        (["python", "my code/fit.py"], "my code/fit.py", "python 'my code/fit.py'"),
        (["python", "-m", "lightning_tl"], "/site/lightning_tl/__main__.py", "python -m lightning_tl"),
        (["/env/bin/python", "/env/bin/lightning-tl"], "/env/bin/lightning-tl", "lightning-tl"),
        (["python", "-m", "pytest"], "/site/pytest/__main__.py", "lightning-tl"),
        (["ipython"], "", "lightning-tl"),
    ],
)
def test_program_is_named_as_it_was_called(
    typed: list[str], script: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scripts/fit.py", "my code/fit.py"):
        Path(name).parent.mkdir()
        Path(name).touch()
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", [script])
    assert program() == printed
    assert help_text().startswith(f"usage: {printed} [fit|")
    assert shlex.split(printed)[-1] in (script, "lightning_tl", "lightning-tl")


def test_a_run_folder_that_is_not_there_has_near_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs/satellite_vit/20260102-030405")
    run.mkdir(parents=True)
    with pytest.raises(UserError, match=r"it has no config\.yaml"):
        check_run(run)
    (run / "config.yaml").touch()
    assert check_run(run) == run.resolve()
    with pytest.raises(UserError, match=rf"no run folder runs/satelite_vit/20260102-030405 \(nearest: {run}\)"):
        check_run(Path("runs/satelite_vit/20260102-030405"))
