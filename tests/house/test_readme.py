"""What the README says is true: its commands parse, its examples run, its names exist."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import ROOT, start, start_command

from lightning_tl.cli import main
from lightning_tl.cli.reading.recipes import recipes

README = (ROOT / "README.md").read_text(encoding="utf-8")
NEW_TASK = README.split("## A new task in under 30 lines")[1].split("\n## ")[0]
QUICK = ["--trainer.max_epochs=1", "--data.batch_size=16", "--data.num_workers=0"]


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The arguments of every command line for this program that stands in a block of its own."""
    lines = [line.split(" > ")[0] for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(re.split(r"^lightning-tl|scripts/fit\.py", line)[1]) for line in lines]


@pytest.fixture(scope="module")
def new_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the README's new task, made from its text alone in an empty folder."""
    folder = tmp_path_factory.mktemp("user")
    (tasks,), (recipe,), (command,) = (blocks(language, NEW_TASK) for language in ("python", "yaml", "bash"))
    (folder / "tasks.py").write_text(tasks)
    (folder / "multilabel.yaml").write_text(recipe)
    program, *arguments = shlex.split(command)
    assert program == "lightning-tl"
    process = start([*arguments, *QUICK], folder)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    (run,) = (folder / "runs" / "multilabel").iterdir()
    assert (run / "summary.txt").read_text() in output
    return run


def test_the_new_task_is_short() -> None:
    (tasks,), (recipe,) = blocks("python", NEW_TASK), blocks("yaml", NEW_TASK)
    assert len((tasks + recipe).splitlines()) < 30


def test_the_new_task_predicts_six_classes(new_task: Path) -> None:
    table = pq.read_table(new_task / "predictions" / "test.parquet").to_pandas()
    probabilities = np.stack(table["probabilities"].to_list())
    assert probabilities.shape == (len(table), 6) and len(table) > 1000
    assert probabilities.min() >= 0 and probabilities.max() <= 1 and np.abs(probabilities.sum(1) - 1).max() > 0.1
    assert max(map(len, table["label"])) > 1, "some tile has several classes"


def test_the_new_task_learns(new_task: Path) -> None:
    test = json.loads((new_task / "summary.json").read_text())["test"]
    assert test["task"] == "several labels"
    assert test["logged"]["test_macro_f1"] == pytest.approx(test["macro_f1"], abs=1e-4)
    share = np.array([row["support"] for row in test["classes"]]) / test["samples"]
    everything = float(np.mean(2 * share / (1 + share)))  # macro-F1 of naming all six classes for every tile
    assert test["macro_f1"] > everything
    assert test["accuracy"] > 1 - share.mean(), "more labels right than by naming none"


def test_the_new_task_has_a_table_of_classes(new_task: Path) -> None:
    text = (new_task / "summary.txt").read_text()
    for name in ("class", "forest", "cropland", "urban", "water", "barren", "wetland"):
        assert re.search(rf"^  {name} .*\d|^  class +recall +precision +F1", text, flags=re.MULTILINE), name


def test_the_exported_model_opens(new_task: Path) -> None:
    (example,) = [block for block in blocks("python") if "AutoImageProcessor" in block]
    names: dict[str, object] = {}
    exec(example.replace("RUN_FOLDER", str(new_task)), names)
    assert names["model"].config.num_labels == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("example", blocks("python"))
def test_examples_compile(example: str) -> None:
    compile(example, "README.md", "exec")


@pytest.mark.parametrize("example", [block for block in blocks("python") if "print(" in block])
def test_examples_run(example: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(example)
    process = start_command([sys.executable, "example.py"], tmp_path, PYTHONPATH=str(ROOT))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "head" in output.splitlines()[-1]


@pytest.mark.parametrize("recipe", [block for block in blocks("yaml") if "tasks." not in block])
def test_recipes_of_your_own_parse(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(recipe)
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", "mine.yaml", "--print_config"])
    assert exit_.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("arguments", [a for a in commands() if "RUN_FOLDER" not in a], ids=" ".join)
def test_commands_parse(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "multilabel.yaml"):
        Path(name).write_text(recipes()["satellite_vit"].read_text())
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, *([] if "--print_config" in arguments else ["--print_config"])])
    assert exit_.value.code == 0, capsys.readouterr().err


def test_recipes_exist() -> None:
    named = set(re.findall(r"--recipe[ =](\w+)(?![\w.])", README))
    assert named - {"mine", "multilabel"} <= set(recipes())
    assert set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)) >= set(recipes()), "the table lists them all"


def test_files_exist() -> None:
    scripts = set(re.findall(r"scripts/\w+\.py|tests/\w+\.py", README))
    links = set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert [name for name in sorted(scripts | links) if not (ROOT / name).exists()] == []
