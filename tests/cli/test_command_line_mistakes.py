"""Files that are no recipes, numbers that no run can have, pipes that close, links that were planted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_runs import ROOT, error_of, make_job, start_command
from warm_python import warm_executable

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.reading.recipe_file import SECTIONS, check_recipe_file
from lightning_tl.storage.partial_file import fresh_file, write_whole

SOUND = "model: {class_path: a.B}\ndata: datamodules.TextDataModule\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93\xfa\x00\x01", r"is no text in UTF-8 \(byte 1\)"),
        (b"model: {a: [1, {b: 2}", r"r.yaml is no YAML: expected ',' or ']', .* in line 1, column"),
        (b"a: \tb\n\tc", "r.yaml is no YAML"),
        (b"", "r.yaml is empty"),
        (b"# nothing\n", "r.yaml is empty"),
        (b"- model\n", "must hold sections such as model: and data:"),
        (b"model: " + b"[" * 5000, "nested too deeply"),
        (b"model: " + b"{a: " * 100 + b"1" + b"}" * 100, "nested too deeply, in line 1"),
        (
            SOUND.encode() + b"trainer: {}\ntrainer: {max_epochs: 1}\n",
            "'trainer' stands twice, in lines 3 and 4",
        ),
        (b"model:\n  init_args:\n    lr: 1\n    lr: 2\n", "'lr' stands twice, in lines 3 and 4"),
        (SOUND.encode() + b"unfreezng: {}\n", r"line 3: there is no field 'unfreezng' \(nearest: unfreezing"),
        (
            b"a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + b"".join(
                f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n".encode() for a, b in zip("abcdef", "bcdefg", strict=True)
            ),
            "unfolds to more than 100,000 values by its aliases",
        ),
        (b"model: x\n" + b"#" * 2**20, "1,048,585 bytes"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_files_that_are_no_recipes(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        check_recipe_file(path)


def test_a_folder_is_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").mkdir()
    assert "is a folder; name a .yaml file in it" in error_of(["--recipe", str(tmp_path / "x.yaml")], capsys)


def test_recipes_that_ship_are_sound_and_their_sections_known() -> None:
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        check_recipe_file(path)
    assert {"model", "data", "trainer", "checkpoint", "report"} <= set(SECTIONS)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches must be at least 1, got 0"),
        ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch must be at least 1, got 0"),
        ("--seed_everything=-3", "seed_everything must be from 0 to 4294967295, got -3"),
        ("--seed_everything=99999999999", "seed_everything must be from 0 to 4294967295, got 99999999999"),
        ("--model.backbone.channels=0", "channels must be at least 1, got 0"),
        ("--model.backbone.image_size=0", "image_size must be at least 1, got 0"),
        ("--model.optimizer=torch.optim.AdamWW", "torch.optim has no 'AdamWW' (nearest: AdamW"),
        (
            "--model.schedule=lightning_tl.training.schedules.OneCicle",
            "lightning_tl.training.schedules has no 'OneCicle' (nearest",
        ),
        ("--model=lightning_tl.callbacks.ProgressiveUnfreezing", "is not a subclass of LightningModule"),
    ],
)
def test_numbers_and_names(option: str, message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error_of(["--recipe", "satellite_vit", option], capsys)
    assert not Path("runs").exists()


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    return [python, str(ROOT / "scripts" / "fit.py"), *arguments]


def test_help_into_a_closed_pipe_and_without_unicode() -> None:
    piped = f"{sys.executable} {ROOT}/scripts/fit.py --help | head -1"
    found = subprocess.run(["bash", "-c", f"set -o pipefail; {piped}"], capture_output=True, text=True)
    assert found.stdout.startswith("usage:") and "Traceback" not in found.stderr and "Exception" not in found.stderr
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    found = subprocess.run(command("--help"), capture_output=True, text=True, env=plain)
    assert found.returncode == 0 and "recipes:" in found.stdout and not found.stderr


def test_a_closed_pipe_loses_no_model(tmp_path: Path) -> None:
    recipe = make_job(tmp_path)
    options = ["--trainer.max_epochs=2", "--unfreezing=null", "--trainer.enable_progress_bar=true"]
    line = f"{' '.join(command('--recipe', str(recipe), *options, python=warm_executable()))} | head -1"
    found = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert (run / "model" / "config.json").is_file() and (run / "summary.txt").is_file()
    assert "pipe was closed" in found.stderr and "Traceback" not in found.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_while_a_run_is_set_up(number: int, code: int, tmp_path: Path) -> None:
    process = start_command(command("--recipe", "satellite_vit"), tmp_path)
    time.sleep(2.5)  # imports take longer
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code and len(errors.strip().splitlines()) == 1, errors


def test_partial_files_are_never_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("a.part", "b.json.part"):
        (tmp_path / name).symlink_to(victim)
    with fresh_file(tmp_path / "a.part") as file:
        file.write(b"x")
    write_whole(tmp_path / "b.json", "y")
    assert victim.read_text() == "mine" and not (tmp_path / "a.part").is_symlink()
    assert (tmp_path / "b.json").read_text() == "y" and not (tmp_path / "b.json").is_symlink()


@pytest.mark.parametrize("field", ["max_epochs", "max_steps", "limit_train_batches"])
def test_a_training_of_nothing_is_refused(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(["--recipe", "satellite_vit", f"--trainer.{field}=0"], capsys)
    assert message == f"trainer.{field} is 0, so that nothing would be trained; take at least 1"
