"""Lightning's loggers: what a run gave them is read back from their files with their own readers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from cli_runs import make_job
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lightning_tl.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*groups never train"),  # runs here are short on purpose
    pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of"),
]

Series = dict[str, list[tuple[int, float]]]
"""Values of each metric, with the step of each."""


def from_tensorboard(folder: Path) -> tuple[Series, dict[str, float]]:
    store = EventAccumulator(str(folder)).Reload()
    series = {name: [(point.step, point.value) for point in store.Scalars(name)] for name in store.Tags()["scalars"]}
    content = store.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    return series, {name: value.number_value for name, value in found.items() if value.HasField("number_value")}


def given(folder: Path) -> str:
    """Both loggers as `--trainer.logger` takes them."""
    kinds = {
        "TensorBoardLogger": {"save_dir": str(folder), "name": "board", "version": ""},
        "MLFlowLogger": {"experiment_name": "tiny", "tracking_uri": f"file:{folder / 'mlruns'}"},
    }
    loggers = [{"class_path": f"lightning.pytorch.loggers.{k}", "init_args": v} for k, v in kinds.items()]
    return f"--trainer.logger={json.dumps(loggers)}"


@pytest.mark.usefixtures("drawn_pictures")
def test_what_loggers_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run and its test, and the run resumed, with several loggers at once: each has what metrics.csv has."""
    recipe = make_job(tmp_path)
    kept, folder = tmp_path / "kept", tmp_path / "run"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    arguments = ["--recipe", str(recipe), given(kept), "--seed_everything=1", "--model.lr=0.03"]
    main([*arguments, "--run_folder", str(folder)])
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    main(["fit", "--resume", str(folder), "--trainer.max_epochs=4"])
    assert {path.name for path in (folder / "pictures").iterdir()} >= {"curves.png", "learning_rates.png"}
    table = pd.read_csv(folder / "metrics.csv")
    own = {str(n): list(table[["step", n]].dropna().itertuples(index=False, name=None)) for n in table.columns[1:]}
    own = {name: points for name, points in own.items() if name != "step"}
    assert {"lr/head", "lr/block.0", "train_loss_step", "train_loss_epoch", "val_accuracy", "test_accuracy"} <= set(own)
    (board,) = (kept / "board",)
    series, parameters = from_tensorboard(board)
    check(own, series)
    assert parameters["model/init_args/lr"] == 0.03 and parameters["seed_everything"] == 1.0
    client = MlflowClient(f"file:{kept / 'mlruns'}")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], order_by=["start_time"])
    joined: Series = {}
    for run in runs:  # a resumed run is a second one, as Lightning has it
        assert run.data.params["model/init_args/lr"] == "0.03" and run.info.status == "FINISHED"
        for name in run.data.metrics:
            points = client.get_metric_history(run.info.run_id, name)
            joined.setdefault(name, []).extend((point.step, point.value) for point in points)
    check(own, joined)
    assert not list((tmp_path / "here").iterdir()), "nothing is written elsewhere"


def check(own: Series, found: Series) -> None:
    """All of metrics.csv, with its steps, is there: the last value of a step counts, as after a resume."""
    for metric, points in own.items():
        known = dict(found[metric])
        assert {step: known[step] for step, _ in points} == pytest.approx(dict(points), rel=1e-5), metric
