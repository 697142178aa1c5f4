"""Weights & Biases, offline and for real: what a run wrote is read back from its files."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny_report import TinyBackbone, TinyData

from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.reports import CsvMetrics, WandbReport, wandb_logger
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

wandb = pytest.importorskip("wandb")

BLOCK, HEADER = 32768, 7


def stored_records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format (blocks of 32 KiB, records split over them)."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, parts = path.read_bytes(), HEADER, b""
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:  # no room for a header: padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEADER])
        if position + HEADER + length > len(content):  # still being written
            return
        parts += content[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def finished_records(path: Path, patience_s: float = 30) -> list[Any]:
    """The records of a run that was finished: W&B's own process may still be writing the last of them."""
    deadline = time.monotonic() + patience_s
    while True:
        records = list(stored_records(path))
        if any(record.HasField("exit") for record in records):
            return records
        assert time.monotonic() < deadline, f"{path} has no end after {patience_s} s"
        time.sleep(0.1)


def values(items: Any) -> dict[str, Any]:
    """JSON values of a record's items, nested as their keys say."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = [item.key] if item.key else list(item.nested_key)
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = json.loads(item.value_json)
    return found


def start(run: Path, epochs: int, checkpoint: Path | None = None) -> tuple[pl.Trainer, WandbReport]:
    report = WandbReport(table_rows=30)
    saver = ModelCheckpoint(run / "checkpoints", save_last=True)
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 2}
    engine = pl.Trainer(
        default_root_dir=run,
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        # W&B reads what the report wrote, whatever the order of the two
        callbacks=[report, saver, RunReport(next_command="next")],
        logger=[CsvMetrics(run), wandb_logger(run, checkpoint, project="tiny", tags=["test"])],
        **options,
    )
    return engine, report


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[list[Any]]]:
    """A run, and the same run resumed from its checkpoint and tested: its folder, output and the records of both."""
    import contextlib
    import io

    run, printed = tmp_path_factory.mktemp("runs") / "tiny" / "now", io.StringIO()
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"lr": 0.03}, "seed_everything": 1}))
    folders = {name: str(run.parent / name) for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.delenv("LIGHTNING_TL_PICTURES")
        for name, value in {**folders, "WANDB_MODE": "offline"}.items():
            patch.setenv(name, value)
        engine, _ = start(run, epochs=1)
        engine.fit(TransferModule(TinyBackbone(), lr=0.03), TinyData())
        wandb.finish()
        time.sleep(1.1)  # wandb names the folder of an offline run by the second
        (run / "wandb_id").unlink()  # as when only the checkpoint was carried to another machine
        last = run / "checkpoints" / "last.ckpt"
        engine, _ = start(run, 2, last)
        module = TransferModule(TinyBackbone(), lr=0.03)
        engine.fit(module, TinyData(), ckpt_path=last, weights_only=True)
        engine.test(module, TinyData(), verbose=False)
        wandb.finish()
    stores = sorted((run / "wandb").glob("offline-run-*/run-*.wandb"))
    return run, printed.getvalue(), [finished_records(path) for path in stores]


def logged(records: list[Any]) -> dict[str, Any]:
    """Every history value of a run, the last one of each key."""
    found: dict[str, Any] = {}
    for record in records:
        if record.HasField("history"):
            found |= values(record.history.item)
    return found


def test_resumed_run_is_the_same_run(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    run, _, stores = resumed
    assert len(stores) == 2
    runs = [record.run for records in stores for record in records if record.HasField("run")]
    identifier = (run / "wandb_id").read_text().strip()
    assert {r.run_id for r in runs} == {identifier} and {r.project for r in runs} == {"tiny"}
    assert {r.display_name for r in runs} == {"tiny/now"}
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]["WandbReport"]
    assert state == {"run_id": identifier}


def test_config_is_logged(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    config: dict[str, Any] = {}
    for record in resumed[2][0]:
        if record.HasField("run"):
            config |= values(record.run.config.update)
        if record.HasField("config"):
            config |= values(record.config.update)
    assert config["model"] == {"lr": 0.03} and config["seed_everything"] == 1


def test_metrics_are_logged(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    first, second = (logged(records) for records in resumed[2])
    assert {"train_loss_step", "val_loss", "val_accuracy", "lr/head", "trainer/global_step"} <= first.keys()
    assert first["epoch"] == 0 and {"test_accuracy", "test_macro_f1"} <= second.keys()
    summary = json.loads((resumed[0] / "summary.json").read_text())
    assert second["test_accuracy"] == pytest.approx(summary["test"]["accuracy"], abs=1e-6)


def test_pictures_are_logged(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    run, _, stores = resumed
    first, second = (logged(records) for records in stores)
    for found, names in ((first, ["curves", "learning_rates"]), (second, ["confusion_matrix", "wrong_tiles"])):
        for name in names:
            picture = found[f"pictures/{name}"]
            assert picture["_type"] == "image-file"
            assert len(list((run / "wandb").glob(f"offline-run-*/files/{picture['path']}"))) == 1


def test_predictions_are_logged(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    run, _, stores = resumed
    table = logged(stores[1])["predictions/test"]
    assert table["_type"] == "table-file" and table["nrows"] == 30 and table["ncols"] == 6
    (stored,) = (run / "wandb").glob(f"offline-run-*/files/{table['path']}")
    content = json.loads(stored.read_text())
    assert content["columns"] == ["id", "label", "predicted", "p(forest)", "p(water)", "p(urban)"]
    assert content["data"][0][:2] == ["tile-200", "urban"]


def test_model_is_an_artifact(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    run, _, stores = resumed
    artifacts = [r.request.log_artifact.artifact for r in stores[1] if r.HasField("request")]
    artifacts += [record.artifact for record in stores[1] if record.HasField("artifact")]
    models = [artifact for artifact in artifacts if artifact.type == "model"]
    assert [artifact.name for artifact in models] == [f"model-{(run / 'wandb_id').read_text().strip()}"]
    assert "weights.pt" in {entry.path for entry in models[0].manifest.contents}
    assert "torch.load(" in models[0].metadata


def test_summary_is_logged(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    found: dict[str, Any] = {}
    for record in resumed[2][1]:
        if record.HasField("summary"):
            found |= values(record.summary.update)
    stored = json.loads((resumed[0] / "summary.json").read_text())["test"]
    assert found["test/accuracy"] == pytest.approx(stored["accuracy"])


def test_it_says_how_to_sync(resumed: tuple[Path, str, list[list[Any]]]) -> None:
    run, printed, _ = resumed
    pattern = f"offline-run-*-{(run / 'wandb_id').read_text().strip()}"
    assert f"wandb sync {run}/wandb/{pattern}" in printed and printed.count("wandb sync") == 1


# ---------------------------------------------------------------- choosing the mode and the id


@pytest.mark.parametrize(
    ("environment", "netrc", "mode"),
    [
        ({}, None, "offline"),
        ({}, "machine elsewhere.example login user password x", "offline"),
        ({}, "machine api.wandb.ai login user password x", "online"),
        ({"WANDB_BASE_URL": "https://elsewhere.example"}, "machine elsewhere.example login user password x", "online"),
        ({}, "not a netrc file", "offline"),
        ({"WANDB_API_KEY": "x" * 40}, None, "online"),
        ({"WANDB_API_KEY": "x" * 40, "WANDB_MODE": "offline"}, None, "offline"),
        ({"WANDB_MODE": "disabled"}, None, "disabled"),
    ],
)
def test_mode(
    environment: dict[str, str], netrc: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if netrc is not None:
        (tmp_path / "netrc").write_text(netrc + "\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    logger = wandb_logger(tmp_path / "run")
    assert logger._wandb_init["mode"] == mode


def test_id_is_kept_in_the_run_folder(tmp_path: Path) -> None:
    first, second = wandb_logger(tmp_path / "run"), wandb_logger(tmp_path / "run")
    assert first.version == second.version and len(str(first.version)) == 8
    assert wandb_logger(tmp_path / "other").version != first.version


def test_checkpoint_without_an_id_starts_a_new_run(tmp_path: Path) -> None:
    torch.save({"callbacks": {"WandbReport": {"run_id": None}}}, tmp_path / "old.ckpt")
    assert len(str(wandb_logger(tmp_path / "run", tmp_path / "old.ckpt").version)) == 8


def test_checkpoint_of_another_run_gives_a_warning() -> None:
    report = WandbReport()
    report.run_id = "mine"
    with pytest.warns(UserWarning, match="belongs to W&B run theirs, but this run logs to mine"):
        report.load_state_dict({"run_id": "theirs"})


def test_without_a_logger_nothing_happens(tmp_path: Path) -> None:
    engine = pl.Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, callbacks=[WandbReport()])
    engine.test(TransferModule(TinyBackbone()), TinyData(), verbose=False)
    assert not (tmp_path / "wandb").exists()


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package wandb.*python -m pip install wandb"):
        wandb_logger(tmp_path / "run")


def test_report_refuses() -> None:
    with pytest.raises(ValueError, match="table_rows must be at least 1, got 0"):
        WandbReport(table_rows=0)
