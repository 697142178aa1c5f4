"""The command line: what it runs, what it writes, and how it answers mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import wandb
import yaml
from cli_runs import ROOT, error_of, make_job, start, start_command
from warm_python import warm_executable, warm_python

from lightning_tl.cli import main
from lightning_tl.cli.checks.devices import check_devices
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.run_folder import new_run_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose
FIT = str(ROOT / "scripts" / "fit.py")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def finished(job: Path) -> Path:
    """The folder of a run that trained and tested."""
    run = job.parent / "finished"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIGHTNING_TL_PICTURES")
        main(["--recipe", str(job), "--run_folder", str(run), "--unfreezing.decay=0.5"])
    return run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -------------------------------------------------------------------- help and mistakes that need no torch


def test_help_lists_recipes_at_once(tmp_path: Path) -> None:
    began = time.perf_counter()
    process = start(["--help"], tmp_path, cold=True)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "satellite_vit " in output and "Land cover" in output
    # Generous for a loaded machine; with torch imported it would be several seconds.
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("arguments", [["--help"], ["--recipe", "satelite_vit"], ["fitt"]])
def test_quick_answers_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    code = f"import sys; from lightning_tl.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'lightning', 'jsonargparse'} & set(sys.modules)"
    root = str(Path(__file__).resolve().parent.parent.parent)
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "fit needs --recipe NAME|PATH; there are: "),
        (["fitt"], "there is no command 'fitt' (nearest: fit)"),
        (["satellite_vit"], "did you mean --recipe satellite_vit?"),
        (["--recipe", "satelite_vit"], "there is no recipe 'satelite_vit' (nearest: satellite_vit, "),
        (["--recipe", "zzz"], "there is no recipe 'zzz' (there are: "),
        (["--recipe", "none.yaml"], "the recipe none.yaml does not exist"),
        (["--recipe"], "--recipe: expected one argument"),
        (["--resume", "nowhere"], "there is no run folder nowhere"),
        (["predict"], "predict needs --run RUN_FOLDER"),
        (["test", "--resume", "r"], "--resume continues training; test takes --run r"),
        (["--run", "r"], "fit starts a new run; --resume r continues that one"),
    ],
)
def test_mistakes_before_the_recipe(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(arguments, capsys)


# -------------------------------------------------------------------- mistakes in fields


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trainer.max_epochz=3"], "there is no field 'trainer.max_epochz' (nearest: trainer.max_epochs, "),
        (["--trainer.max_ep=3"], "there is no field 'trainer.max_ep' (nearest: "),
        (["--unfreezin.decay=3"], "there is no field 'unfreezin.decay' (nearest: unfreezing)"),
        (
            ["--unfreezing.decai=1"],
            "ProgressiveUnfreezing has no field 'decai' (nearest: decay); it has epochs_per_phase",
        ),
        (["--unfreezing.decay=x"], "unfreezing.decay: expected float or null, got x"),
        (["--unfreezing.decay=1.3"], "decay must be in (0, 1], got 1.3"),
        (["--trainer.max_epochs=x"], "trainer.max_epochs: expected int or null, got x"),
        (["--trainer.precision=bf17"], "'bf16-mixed'"),
        (["--trainer.strategy=nope"], "trainer: You selected an invalid strategy name"),
        (["--model.lrr=1"], "model: lightning_tl.strategies.FineTune has no field 'lrr' (nearest: lr)"),
        (["--model.lr=fast"], "model.lr: expected float, got fast"),
        (["--model.lr=-1"], "lr must be above 0, got -1.0"),
        (["--model.backbone.pretraind=x"], "HuggingFaceVision has no field 'pretraind' (nearest: pretrained)"),
        (["--model.backbone.pretrained=./none"], "there is no folder or file none"),
        (["--model=FineTun"], "model: there is no class 'FineTun' (nearest: FineTune"),
        (["--model=lightning_tl.strategies.FineTun"], "lightning_tl.strategies has no 'FineTun' (nearest: FineTune"),
        (["--model=my_own.Model"], "model: there is no module 'my_own' for my_own.Model"),
        (["--model.backbone=datamodules.Augmentation"], "datamodules.Augmentation is not a subclass of Backbone"),
        (["--data.root=null"], "data"),
        (["--data.root=nowhere"], "nowhere"),
        (["--model.num_classes=5"], "num_classes is 5, but the data has 3 classes (field, lake, town)"),
        (["--model.class_weights=[1,2]"], "class_weights must have 3 values, got 2"),
        (["--checkpoint.monitor=val_los"], "did you mean 'val_loss'?"),
    ],
)
def test_mistakes_in_fields(
    arguments: list[str], message: str, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(["--recipe", str(job), *arguments], capsys)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {lr: 3}", "there is no field 'modle' (nearest: model"),
        ("model: [", "own.yaml is no YAML: "),
        ("model: {class_path: lightning_tl.strategies.FineTun}", "(nearest: FineTune"),
        ("model: {class_path: lightning_tl.strategies.FineTune}", "needs a value for 'backbone'"),
        ("trainer: {max_epochs: 3}", "model is missing"),
    ],
)
def test_mistakes_in_a_recipe(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text(text)
    assert message in error_of(["--recipe", "own.yaml"], capsys)


def test_a_defect_keeps_its_traceback(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "defect.py").write_text(
        "from lightning.pytorch.callbacks import Callback\n"
        "class Defect(Callback):\n"
        "    def on_train_start(self, trainer, pl_module):\n"
        "        int('x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="invalid literal"):
        main(["--recipe", str(job), "--trainer.callbacks=defect.Defect"])


def test_traceback_on_request(job: Path) -> None:
    with pytest.raises(ValueError):
        main(["--recipe", str(job), "--model.lr=-1", "--traceback"])
    os.environ.pop("LIGHTNING_TL_TRACEBACK")


# -------------------------------------------------------------------- devices


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "message"),
    [
        ("gpu", 1, 0, "there is none"),
        ("gpu", 8, 2, "asks for 8 GPUs, but this machine has 2"),
        ("auto", "8", 2, "asks for 8 GPUs, but this machine has 2"),
        ("cuda", [0, 3], 2, "asks for 4 GPUs"),
        ("auto", "0,3", 2, "asks for 4 GPUs"),
    ],
)
def test_more_gpus_than_there_are(
    accelerator: str, devices: object, gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        check_devices(accelerator, devices)


@pytest.mark.parametrize(("devices", "warns"), [(1, False), ("auto", False), (-1, False), (10_000, True)])
def test_more_processes_than_cores(
    devices: object, warns: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    check_devices("auto", devices)
    assert ("starts 10000 CPU processes on" in capsys.readouterr().err) == warns


# -------------------------------------------------------------------- what a run leaves behind


def test_run_folder(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "summary.json", "summary.txt", "checkpoints/last.ckpt"} <= names
    assert {"model/config.json", "predictions/test.parquet", "pictures/curves.png"} <= names
    assert any(name.startswith("checkpoints/best") for name in names)
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["unfreezing"]["init_args"]["decay"] == 0.5
    assert config["seed_everything"] == 0
    assert not {"ckpt_path", "weights_only"} & set(config)
    metrics = pd.read_csv(finished / "metrics.csv")
    assert {"epoch", "step", "train_loss_step", "val_loss", "val_accuracy", "test_accuracy", "lr/head"} <= set(metrics)


def test_the_saved_config_is_a_recipe(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", str(finished / "config.yaml"), "--print_config"])
    assert exit_.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["unfreezing"]["init_args"]["decay"] == 0.5


def test_predict_writes_parquet(finished: Path) -> None:
    main(["predict", "--run", str(finished)])
    table = pq.read_table(finished / "predictions" / "predict.parquet")
    assert table.column_names == ["id", "label", "probabilities"]
    assert json.loads(table.schema.metadata[b"class_names"]) == ["field", "lake", "town"]
    rows = table.to_pylist()
    assert len(rows) == len({row["id"] for row in rows}) == 5
    assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.parametrize("subcommand", ["validate", "test"])
def test_scores_of_the_best_checkpoint(subcommand: str, finished: Path) -> None:
    before = json.loads((finished / "summary.json").read_text())
    main([subcommand, "--run", str(finished)])
    after = json.loads((finished / "summary.json").read_text())
    assert after["test"]["accuracy"] == before["test"]["accuracy"]


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_weights_are_needed(subcommand: str, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of([subcommand, "--recipe", str(job)], capsys)
    assert message == f"{subcommand} needs trained weights: give --run RUN_FOLDER or --ckpt_path FILE"


def test_a_half_written_checkpoint(
    finished: Path, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (finished / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    message = error_of(["test", "--recipe", str(job), "--ckpt_path", "half.ckpt"], capsys)
    assert "half.ckpt" in message and "half written" in message


def test_a_run_is_never_overwritten(finished: Path, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(["--recipe", str(job), "--run_folder", str(finished)], capsys)
    assert message.endswith(f"exists; choose another, or continue it with --resume {finished}")


def test_run_folders_of_the_same_second_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    folders = []
    for _ in range(2):
        folders.append(new_run_folder("mine", None))
        os.environ.pop("LIGHTNING_TL_RUN_FOLDER")
    assert [folder.name for folder in folders] == ["20260101-000000", "20260101-000000-2"]
    assert folders[0].parent == Path.cwd() / "runs" / "mine"


def test_callbacks_can_be_dropped_and_test_left_out(job: Path, tmp_path: Path) -> None:
    main(
        [
            "--recipe",
            str(job),
            "--unfreezing=null",
            "--test=false",
            "--trainer.max_epochs=1",
            "--early_stopping.monitor=val_loss",
        ]
    )
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["unfreezing"] is None
    assert config["early_stopping"]["init_args"]["monitor"] == "val_loss"
    assert not (run / "predictions").exists()


def test_progress_in_a_log(job: Path, tmp_path: Path) -> None:
    options = ["--trainer.enable_progress_bar=true", "--trainer.max_epochs=2", "--unfreezing=null", "--test=false"]
    done = warm_python([FIT, "--recipe", str(job), *options], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert re.fullmatch(r"epoch 2 of 2, train_loss [\d.]+, val_loss [\d.]+, val_accuracy [\d.]+, .*\d+ s", lines[-1])


def test_mistakes_leave_no_run_folder(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error_of(["--recipe", str(job), "--model.num_classes=5"], capsys)
    assert not (tmp_path / "runs").exists()


def test_offline_wandb(job: Path, tmp_path: Path) -> None:
    main(["--recipe", str(job), "--wandb", "--trainer.max_epochs=1", "--unfreezing=null"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert (run / "wandb_id").is_file() and list((run / "wandb").glob("offline-run-*"))
    assert wandb.run is None, "a later run in this process would go on in it"


# -------------------------------------------------------------------- processes of their own


def test_own_subclass_in_the_current_folder(job: Path, tmp_path: Path) -> None:
    (tmp_path / "my_task.py").write_text(
        "from lightning_tl.strategies import FineTune\n\n\nclass Mine(FineTune):\n"
        "    def configure_loss(self):\n        print('my own loss')\n        return super().configure_loss()\n"
    )
    (tmp_path / "own.yaml").write_text(job.read_text().replace("lightning_tl.strategies.FineTune", "my_task.Mine"))
    done = warm_python([FIT, "--recipe", "own.yaml", "--trainer.max_epochs=1", "--unfreezing=null"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "my own loss" in done.stdout


def test_ctrl_c_and_resume(job: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = ["--recipe", str(job), "--trainer.max_epochs=400", "--unfreezing.epochs_per_phase=2"]
    process = start([*recipe, "--run_folder", str(run)], tmp_path)
    last = run / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while not last.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert f"{sys.executable} {ROOT / 'scripts' / 'fit.py'} fit --resume run" in errors  # as it was called
    steps = torch.load(last, weights_only=True)["global_step"]
    epochs = torch.load(last, weights_only=True)["epoch"] + 2
    process = start(["--resume", "run", f"--trainer.max_epochs={epochs}"], tmp_path)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert torch.load(last, weights_only=True)["global_step"] > steps
    metrics = pd.read_csv(run / "metrics.csv")
    logged = metrics["step"][metrics["train_loss_step"].notna()]
    assert logged.is_unique and logged.is_monotonic_increasing


TWO = ["--trainer.max_epochs=2", "--trainer.strategy=ddp", "--trainer.devices=2"]


@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_share_one_run_folder(launcher: str, job: Path, tmp_path: Path) -> None:
    arguments = ["--recipe", str(job), *TWO]
    if launcher == "lightning":
        process = start(arguments, tmp_path)
    else:
        torchrun = [warm_executable(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        process = start_command([*torchrun, FIT, *arguments], tmp_path)
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert json.loads((run / "summary.json").read_text())["processes"] == 2
    assert pq.read_table(run / "predictions" / "test.parquet").num_rows == 5
    assert output.count("Test on 5 samples") == 1
