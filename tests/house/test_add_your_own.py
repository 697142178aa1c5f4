"""The pages on adding one's own: what they print is run exactly as it is printed, in an empty folder, briefly."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import ROOT
from doc_pages import ADD_YOUR_OWN, PAGES, blocks, titled
from warm_python import warm_python

from lightning_tl.cli import main

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")

LONGEST = 40  # lines of code
TASK = "docs/add_your_own/task.md"
QUICK = ["--trainer.max_epochs=1", "--data.batch_size=16"]
FEW_TILES = [*QUICK, "--data.num_workers=0", "--data.labels_per_class=4", "--trainer.limit_test_batches=4"]
SMALL = {  # what is added to the first and the following commands of a page, where that is not FEW_TILES
    "data_set": [QUICK],
    "objective": [[*QUICK, "--data.tiles_per_epoch=64", "--data.batch_size=8"], FEW_TILES],
}


@pytest.mark.parametrize("page", ADD_YOUR_OWN)
def test_they_are_short(page: str) -> None:
    modules = [text for name, text in titled(ADD_YOUR_OWN[page]).items() if name.endswith(".py")]
    assert modules and max(len(text.splitlines()) for text in modules) <= LONGEST
    assert all(
        set(blocks(ADD_YOUR_OWN[page], kind)) <= set(titled(ADD_YOUR_OWN[page]).values()) for kind in ("python", "yaml")
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is the current one; modules read from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in ADD_YOUR_OWN if page != TASK])
def test_what_is_printed_runs(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ADD_YOUR_OWN[page]
    for name, content in titled(text).items():
        (folder / name).write_text(content)
    kind, runs = Path(page).stem, 0
    for line in (line for block in blocks(text, "bash") for line in block.splitlines()):
        program, *arguments = shlex.split(line)
        if program == "python":
            runpy.run_path(arguments[0])
            continue
        monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
        arguments = [word.replace("RUN_FOLDER", f"run_{runs - 1}") for word in arguments]
        main([*arguments, *SMALL.get(kind, [FEW_TILES])[runs], f"--run_folder=run_{runs}"])
        assert (folder / f"run_{runs}" / "model").is_dir(), "an exported model, or a pretrained encoder"
        runs += 1
    summary = json.loads((folder / f"run_{runs - 1}" / "summary.json").read_text())
    trained = summary["parameters"]["trainable"]
    if kind == "adaptation":
        assert trained < 0.05 * summary["parameters"]["total"], "the biases and the head"
    if kind == "backbone":
        assert trained == 48 * (3 * 9 + 1) + 48 * (48 * 9 + 1) + 6 * 49, "the width that was given"
    if kind == "data_set":
        assert summary["test"]["accuracy"] > 0.8, "light and dark"
    assert summary["test"]["samples"] > 0


@pytest.fixture(scope="module")
def new_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the page's new task, by a command as a user starts it."""
    folder = tmp_path_factory.mktemp("user")
    for name, content in titled(PAGES[TASK]).items():
        (folder / name).write_text(content)
    (command,) = blocks(PAGES[TASK], "bash")
    program, *arguments = shlex.split(command)
    assert program == "lightning-tl"
    few = [*QUICK, "--data.num_workers=0", "--trainer.limit_train_batches=70"]
    done = warm_python([str(ROOT / "scripts" / "fit.py"), *arguments, *few], folder)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "multilabel").iterdir()
    assert (run / "summary.txt").read_text() in done.stdout
    return run


def test_the_new_task_is_short() -> None:
    assert len("".join(titled(PAGES[TASK]).values()).splitlines()) <= 32


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
