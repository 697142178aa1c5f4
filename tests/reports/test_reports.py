"""The run folder, from real short runs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from matplotlib.image import imread
from tiny_report import NAMES, TinyBackbone, TinyData
from torch import Tensor, nn
from torchmetrics.classification import MultilabelF1Score

from lightning_tl.callbacks.run_folder_report import kept_checkpoint
from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.reports import CsvMetrics
from lightning_tl.reports.mistakes import most_confident_mistakes
from lightning_tl.reports.pictures.curves import KeptCheckpoint, draw_curves
from lightning_tl.reports.pictures.learning_rate_picture import draw_learning_rates
from lightning_tl.reports.pictures.phases import phases
from lightning_tl.reports.pictures.wrong_samples import draw_wrong_samples
from lightning_tl.reports.prediction_writer import PredictionWriter, merge_parts
from lightning_tl.reports.predictions import Predictions, read_class_names
from lightning_tl.reports.resources import duration_text, memory_text, peak_memory_bytes
from lightning_tl.reports.results import evaluation_results
from lightning_tl.reports.summary import read_summary, summary_text
from lightning_tl.training.transfer_module import TransferModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of"),
    pytest.mark.usefixtures("module_of_pictures"),
]


class SeveralLabels(TransferModule):
    def configure_loss(self) -> nn.Module:
        return nn.BCEWithLogitsLoss()

    def configure_metrics(self, num_classes: int) -> dict[str, Any]:
        return {"macro_f1": MultilabelF1Score(num_classes)}

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class Unfreezes(pl.Callback):
    """Stands for progressive unfreezing: only what it keeps is read."""

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, names = trainer.current_epoch, ["embeddings", "block.0", "head"]
        where = {"phase": epoch, "epoch": epoch, "step": trainer.global_step}
        self.history.append({**where, "groups": names[2 - epoch :], "reason": "-"})


def trainer(run: Path, *callbacks: pl.Callback, epochs: int = 2, **options: Any) -> pl.Trainer:
    defaults = {"accelerator": "cpu", "devices": 1, "log_every_n_steps": 2, "logger": [CsvMetrics(run)]}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    settings = {**defaults, **quiet, **options}
    return pl.Trainer(default_root_dir=run, max_epochs=epochs, callbacks=list(callbacks), **settings)


def best(run: Path) -> ModelCheckpoint:
    return ModelCheckpoint(run / "checkpoints", monitor="val_loss", filename="best", save_last=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was trained, tested and asked to predict, and what it printed."""
    import contextlib
    import io

    run, printed = tmp_path_factory.mktemp("runs") / "tiny" / "now", io.StringIO()
    report = RunReport(next_command="fit.py predict --resume {run}", started=time.time() - 61)
    engine = trainer(run, best(run), Unfreezes(), report)
    module, data = TransferModule(TinyBackbone(), lr=3e-2), TinyData()
    with contextlib.redirect_stdout(printed):
        engine.fit(module, data)
        engine.test(module, data, ckpt_path="best", weights_only=True, verbose=False)
        engine.predict(module, data, ckpt_path="best", weights_only=True, return_predictions=False)
    return run, printed.getvalue()


def test_run_folder_holds_everything(finished: tuple[Path, str]) -> None:
    run, _ = finished
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert files == {
        "metrics.csv",
        "summary.json",
        "summary.txt",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "model/README.md",
        "model/weights.pt",
        "predictions/test.parquet",
        "predictions/predict.parquet",
        *(f"pictures/{n}.png" for n in ("curves", "learning_rates", "confusion_matrix", "wrong_tiles", "reliability")),
    }
    for path in (run / "pictures").iterdir():
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 200 and len(np.unique(pixels[::5, ::5, :3].reshape(-1, 3), axis=0)) > 20


def test_predictions_of_the_test(finished: tuple[Path, str]) -> None:
    table = pq.read_table(finished[0] / "predictions" / "test.parquet")
    assert table.column_names == ["id", "label", "predicted", "probabilities", "block"]
    assert read_class_names(table.schema) == list(NAMES)
    rows = table.to_pandas()
    assert list(rows["id"]) == [f"tile-{200 + k}" for k in range(31)]
    assert list(rows["label"]) == [NAMES[(200 + k) % 3] for k in range(31)]
    probabilities = np.stack(rows["probabilities"])
    assert probabilities.shape == (31, 3) and np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert list(rows["predicted"]) == [NAMES[k] for k in probabilities.argmax(1)]


def test_predictions_without_labels(finished: tuple[Path, str]) -> None:
    table = pq.read_table(finished[0] / "predictions" / "predict.parquet")
    assert table.column_names == ["id", "label", "probabilities"]
    tested = pq.read_table(finished[0] / "predictions" / "test.parquet").to_pandas()
    assert list(table.to_pandas()["label"]) == list(tested["predicted"])
    assert read_class_names(table.schema) == list(NAMES)


def test_summary_numbers(finished: tuple[Path, str]) -> None:
    summary = json.loads((finished[0] / "summary.json").read_text())
    rows = pq.read_table(finished[0] / "predictions" / "test.parquet").to_pandas()
    test = summary["test"]
    assert test["accuracy"] == pytest.approx((rows["label"] == rows["predicted"]).mean())
    assert test["accuracy"] == pytest.approx(test["logged"]["test_accuracy"], abs=1e-6)
    assert test["macro_f1"] == pytest.approx(test["logged"]["test_macro_f1"], abs=1e-6)
    assert test["interval"]["over"] == "blocks" and test["interval"]["blocks"] == 8
    assert test["interval"]["low"] <= test["accuracy"] <= test["interval"]["high"]
    assert sum(c["support"] for c in test["classes"]) == 31
    sizes = {"embeddings": 48 * 8 + 8, "block": 72, "head": 27}
    assert summary["parameters"] == {"trainable": sum(sizes.values()), "total": sum(sizes.values())}
    assert 61 < summary["seconds"]["training"] < 200 and summary["seconds"]["test"] < 60
    assert summary["checkpoint"].endswith("best.ckpt")


def test_printed_summary(finished: tuple[Path, str]) -> None:
    run, printed = finished
    assert (run / "summary.txt").read_text() in printed
    for part in (
        "95% interval",
        "(Wilson over 8 blocks)",
        "macro-F1",
        "urban",
        "491 trainable of 491",
        "peak memory",
        f"fit.py predict --resume {run}",
        "torch.load(",
        "31 samples in",
    ):
        assert part in printed
    paths = ("run folder", "model", "torch.load", "fit.py", "predictions")
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.strip().startswith(paths))
    assert "\x1b" not in printed


def test_exported_weights_are_the_tested_ones(finished: tuple[Path, str]) -> None:
    exported = torch.load(finished[0] / "model" / "weights.pt", weights_only=True)
    stored = torch.load(finished[0] / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(exported["backbone"]["block.weight"], stored["backbone.block.weight"], rtol=0, atol=0)
    torch.testing.assert_close(exported["head"]["weight"], stored["head.weight"], rtol=0, atol=0)


def test_resumed_run_adds_up(tmp_path: Path) -> None:
    first, data = RunReport(started=time.time() - 100), TinyData()
    trainer(tmp_path, best(tmp_path), first, epochs=1).fit(TransferModule(TinyBackbone()), data)
    with (tmp_path / "metrics.csv").open("a") as file:  # as a killed process leaves it: rows after the checkpoint
        names = pd.read_csv(tmp_path / "metrics.csv").columns
        file.write(",".join("6" if name == "step" else "0.5" for name in names) + "\n")
    second = RunReport(started=time.time() - 10)
    engine = trainer(tmp_path, best(tmp_path), second, epochs=3)
    last = tmp_path / "checkpoints" / "last.ckpt"
    engine.fit(TransferModule(TinyBackbone()), data, ckpt_path=last, weights_only=True)
    assert 110 < read_summary(tmp_path)["seconds"]["training"] < 150
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert list(metrics.dropna(subset="val_loss")["epoch"]) == [0, 1, 2]
    assert list(metrics.dropna(subset="train_loss_step")["step"]) == [1, 3, 5, 7, 9, 11, 13, 15, 17]


def test_two_processes_count_each_sample_once(tmp_path: Path) -> None:
    engine = trainer(tmp_path, RunReport(), devices=2, strategy="ddp_fork", use_distributed_sampler=True)
    module, data = TransferModule(TinyBackbone(), num_classes=3), TinyData()
    engine.test(module, data, verbose=False)
    engine.predict(module, data, return_predictions=False)
    for name in ("test", "predict"):
        ids = pq.read_table(tmp_path / "predictions" / f"{name}.parquet")["id"].to_pylist()
        assert sorted(ids) == [f"tile-{200 + k}" for k in range(31)]
    assert len(list((tmp_path / "predictions").iterdir())) == 2
    assert read_summary(tmp_path)["processes"] == 2


def test_several_labels(tmp_path: Path) -> None:
    engine = trainer(tmp_path, RunReport(), epochs=1)
    module, data = SeveralLabels(TinyBackbone()), TinyData(several=True)
    engine.fit(module, data)
    engine.test(module, data, verbose=False)
    engine.predict(module, data, return_predictions=False)
    test = read_summary(tmp_path)["test"]
    assert test["task"] == "several labels" and "confusion" not in test and len(test["classes"]) == 3
    assert test["macro_f1"] == pytest.approx(test["logged"]["test_macro_f1"], abs=1e-6)
    assert not (tmp_path / "pictures" / "confusion_matrix.png").exists()
    rows = pq.read_table(tmp_path / "predictions" / "test.parquet").to_pylist()
    assert rows[1]["label"] == ["forest", "water"]  # 201 is divisible by 3, and 1 above a multiple of 5
    assert isinstance(pq.read_table(tmp_path / "predictions" / "predict.parquet").to_pylist()[0]["label"], list)
    assert "the share of right labels" in (tmp_path / "summary.txt").read_text()


def test_what_fails_does_not_lose_the_run(tmp_path: Path) -> None:
    module, data = TransferModule(TinyBackbone(broken_export=True)), TinyData(broken_images=True, blocks=False)
    with pytest.warns(UserWarning) as caught:
        trainer(tmp_path, RunReport(wrong_samples=4), logger=False).test(module, data, verbose=False)
    said = " ".join(str(warning.message) for warning in caught)
    assert "the exported model could not be made (RuntimeError: no exporter today); the rest of the run" in said
    assert "wrong_tiles.png could not be made (OSError: the picture is gone)" in said
    assert not (tmp_path / "pictures" / "wrong_tiles.png").exists()
    summary = read_summary(tmp_path)
    assert summary["test"]["interval"]["over"] == "samples" and "model" not in summary
    assert "(Wilson over 31 samples)" in (tmp_path / "summary.txt").read_text()


def test_pictures_that_nobody_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_TL_PICTURES", "0")
    stale = tmp_path / "pictures" / "confusion_matrix.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier test")
    engine = trainer(tmp_path, RunReport(), epochs=1)
    engine.fit(TransferModule(TinyBackbone()), TinyData())
    engine.test(engine.lightning_module, TinyData(), verbose=False)
    assert (tmp_path / "predictions" / "test.parquet").is_file() and list(stale.parent.iterdir()) == []


def test_training_without_csv_logger_says_so(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no pictures of the training"):
        trainer(tmp_path, RunReport(), epochs=1, logger=False, enable_checkpointing=False).fit(
            TransferModule(TinyBackbone()), TinyData()
        )
    assert read_summary(tmp_path)["parameters"]["total"] == 491


def test_a_run_shorter_than_the_logging_interval_has_curves(tmp_path: Path) -> None:
    engine = trainer(tmp_path, best(tmp_path), RunReport(), epochs=1, log_every_n_steps=50)
    engine.fit(TransferModule(TinyBackbone()), TinyData())
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["curves.png", "learning_rates.png"]
    assert kept_checkpoint(engine) == KeptCheckpoint(6, "val_loss")


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_checkpoint_that_is_gone_or_damaged_is_not_marked(content: bytes | None, tmp_path: Path) -> None:
    kept = best(tmp_path)
    kept.best_model_path = str(tmp_path / "best.ckpt")
    if content is not None:
        Path(kept.best_model_path).write_bytes(content)
    assert kept_checkpoint(trainer(tmp_path, kept)) is None


def test_fast_dev_run_leaves_nothing(tmp_path: Path) -> None:
    engine, module = trainer(tmp_path, RunReport(), fast_dev_run=True), TransferModule(TinyBackbone())
    engine.fit(module, TinyData())
    engine.test(module, TinyData(), verbose=False)
    assert not (tmp_path / "summary.json").exists() and not (tmp_path / "model").exists()


def test_report_refuses() -> None:
    with pytest.raises(ValueError, match="wrong_samples must be at least 1, got 0"):
        RunReport(wrong_samples=0)


# ---------------------------------------------------------------- the parts


def made_predictions(count: int = 40, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(3), count).astype(np.float32)
    return Predictions(np.arange(count), probabilities, generator.integers(0, 3, count))


def test_repeated_samples_count_once() -> None:
    one = {"index": np.array([4, 2]), "probabilities": np.eye(3)[[0, 1]], "target": np.array([0, 1])}
    two = {"index": np.array([2, 7]), "probabilities": np.eye(3)[[1, 2]], "target": np.array([1, 2])}
    joined = Predictions.from_batches([one, two])
    assert joined.index.tolist() == [2, 4, 7] and joined.target.tolist() == [1, 0, 2]
    assert joined.correct().tolist() == [1, 1, 1]


def test_task_of_ones_own_keeps_its_predictions(tmp_path: Path) -> None:
    own = Predictions(np.arange(3), np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.5, 0.5]))
    assert own.task == "other"
    own.write(tmp_path / "own.parquet", ["a", "b", "c"], ())
    assert pq.read_table(tmp_path / "own.parquet").column_names == ["id", "label", "probabilities"]
    results = evaluation_results(own, ())
    assert results == {"samples": 3, "task": "other"}
    assert "test_rmse" in summary_text({"test": {**results, "logged": {"test_rmse": 0.3}}}, tmp_path)


def test_one_block_has_no_interval() -> None:
    results = evaluation_results(made_predictions(), NAMES, np.zeros(40, np.int64))
    assert results["interval"] is None and 0 <= results["accuracy"] <= 1
    assert "interval" not in summary_text({"test": results}, Path("run"))


def test_most_confident_mistakes_come_first() -> None:
    made = made_predictions()
    rows = most_confident_mistakes(made, 5)
    wrong = [(made.probabilities[n].max(), n) for n in range(40) if made.probabilities[n].argmax() != made.target[n]]
    assert rows.tolist() == [n for _, n in sorted(wrong, reverse=True)[:5]]


def test_no_mistakes_no_sheet(tmp_path: Path) -> None:
    perfect = Predictions(np.arange(3), np.eye(3, dtype=np.float32), np.arange(3))
    (tmp_path / "wrong.png").write_bytes(b"of an earlier test")
    assert draw_wrong_samples(perfect, NAMES, TinyData().image, TinyData().sample_ids, tmp_path / "wrong.png") == 0
    assert not (tmp_path / "wrong.png").exists()


def test_phases_name_what_thaws() -> None:
    history = [{"step": 0, "groups": ["head"]}, {"step": 30, "groups": ["block.1", "head"]}]
    first, second = phases(history, 100)
    assert (first.start, first.end, first.thawed) == (0, 30, ("head",))
    assert (second.start, second.end, second.thawed) == (30, 100, ("block.1",))
    assert phases([], 100) == []


def test_pictures_refuse_metrics_without_their_columns(tmp_path: Path) -> None:
    empty = pd.DataFrame({"step": [0, 1], "lr/head": [0.0, 0.0]})
    with pytest.raises(ValueError, match="neither train_loss nor val_loss"):
        draw_curves(empty, [], tmp_path / "curves.png")
    with pytest.raises(ValueError, match="no learning rate above 0"):
        draw_learning_rates(empty, ["head"], [], tmp_path / "rates.png")
    assert list(tmp_path.iterdir()) == []


def test_parts_of_all_processes_are_joined(tmp_path: Path) -> None:
    parts = [tmp_path / f"part{rank}" for rank in range(3)]
    for rank in (0, 2):  # the process between had nothing to do
        writer = PredictionWriter(parts[rank], NAMES)
        for start in (0, 4):
            index = np.arange(start, start + 4) + 6 * (rank // 2)
            writer.write(index, [f"s{k}" for k in index], np.eye(3, dtype=np.float32)[index % 3])
        writer.close()
    assert merge_parts(parts, tmp_path / "all.parquet") == 14  # 6 and 7 came twice
    table = pq.read_table(tmp_path / "all.parquet").to_pandas()
    assert list(table["id"]) == [f"s{k}" for k in range(14)]
    assert list(table["label"]) == [NAMES[k % 3] for k in range(14)]
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]
    with pytest.raises(ValueError, match="predict_dataloader has no samples"):
        merge_parts(parts, tmp_path / "all.parquet")


def test_csv_keeps_what_is_there(tmp_path: Path) -> None:
    for start in (0, 2):
        logger = CsvMetrics(tmp_path)
        for step in (start, start + 1):
            logger.log_metrics({"a" if start else "b": float(step)}, step)
        logger.save()
    assert list(pd.read_csv(tmp_path / "metrics.csv")["step"]) == [0, 1, 2, 3]
    logger.drop_from(2)
    assert list(pd.read_csv(tmp_path / "metrics.csv")["b"]) == [0, 1]


def test_damaged_summary_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"half')
    assert read_summary(tmp_path) == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (312, "5 min 12 s"), (11100, "3 h 05 min")]
)
def test_duration_text(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_memory() -> None:
    assert (memory_text(812 * 2**20), memory_text(19 * 2**30 // 10)) == ("812 MiB", "1.9 GiB")
    peak = peak_memory_bytes()
    assert peak is None or 50 * 2**20 < peak < 2**40
