"""Run folders that were written before modules moved open all the same.

`tests/support/run_of_version_0_1` was trained by the first version on the images that `make_job` makes, with
`AdapterFineTune`, `size=4` and the schedule `lightning_tl.schedules.OneCycle`. `HOME` stands for the folder of the day.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import make_job

from lightning_tl.cli import main
from lightning_tl.strategies import AdapterFineTune
from lightning_tl.training.schedules import OneCycle

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

KEPT = Path(__file__).resolve().parent.parent / "support" / "run_of_version_0_1"


def placed(value: object, home: str) -> object:
    if isinstance(value, str):
        return value.replace("HOME", home)
    if isinstance(value, dict):
        return {placed(key, home): placed(item, home) for key, item in value.items()}
    return [placed(item, home) for item in value] if isinstance(value, list) else value


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    monkeypatch.chdir(tmp_path)
    make_job(tmp_path)
    shutil.rmtree(tmp_path / "vit")
    shutil.copytree(KEPT, tmp_path, dirs_exist_ok=True)
    for name in ("config.yaml", "run.json", "summary.json", "model/classifier.json"):
        file = tmp_path / "run" / name
        file.write_text(file.read_text().replace("HOME", str(tmp_path)))
    for file in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        torch.save(placed(torch.load(file, weights_only=True), str(tmp_path)), file)
    return tmp_path / "run"


def test_it_tests_and_predicts_as_before(run: Path) -> None:
    before = pd.read_parquet(run / "predictions" / "test.parquet")
    accuracy = json.loads((run / "summary.json").read_text())["test"]["accuracy"]
    main(["test", "--run", str(run)])
    after = pd.read_parquet(run / "predictions" / "test.parquet")
    assert after["id"].tolist() == before["id"].tolist()
    gap = np.abs(np.stack(after["probabilities"]) - np.stack(before["probabilities"]))
    assert gap.max() < 1e-5
    assert json.loads((run / "summary.json").read_text())["test"]["accuracy"] == accuracy
    main(["predict", "--run", str(run), f"--data.predict_root={run.parent}/images"])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 60


def test_it_goes_on(run: Path) -> None:
    main(["fit", "--resume", str(run), "--trainer.max_epochs=7"])
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 6


def test_its_checkpoint_builds_its_module(run: Path) -> None:
    """It did not say with which optimizer."""
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    with pytest.warns(FutureWarning, match="hugging_face_vision is lightning_tl.backbones"):
        module = AdapterFineTune.load_from_checkpoint(checkpoint, optimizer=torch.optim.AdamW)
    assert isinstance(module.schedule, OneCycle) and module.adaptation.arguments["size"] == 4


def test_a_checkpoint_of_the_command_line_builds_its_module(run: Path) -> None:
    main(["fit", "--resume", str(run), "--trainer.max_epochs=7", "--model.optimizer.eps=1e-7"])
    module = AdapterFineTune.load_from_checkpoint(run / "checkpoints" / "last.ckpt")
    assert isinstance(module.schedule, OneCycle)
    made = module.make_optimizer([{"params": [torch.nn.Parameter(torch.zeros(1))]}])
    assert isinstance(made, torch.optim.AdamW) and made.defaults["eps"] == 1e-7
