"""What a report says of calibration: a temperature of the validation samples, and errors before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_report
import torch
from matplotlib.image import imread
from ranks import on_two_ranks
from scipy.optimize import minimize_scalar
from tiny_report import Images, TinyBackbone, TinyData
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_tl.callbacks.run_description_writer import RunDescriptionWriter
from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.metrics import expected_calibration_error, fit_temperature, labels_calibration_error
from lightning_tl.reports import CsvMetrics
from lightning_tl.reports.summary import read_summary, summary_text
from lightning_tl.tasks import SeveralLabels
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.usefixtures("module_of_pictures")

SAMPLES = 75  # of validation: two processes share them unevenly


class Judged(TinyData):
    """With enough samples of validation."""

    @property
    def task(self) -> Any:
        return SeveralLabels() if self.several else None

    def val_dataloader(self) -> Any:
        tiny_report.SIZES["judged"], tiny_report.OFFSETS["judged"] = SAMPLES, 300
        return DataLoader(Images("judged", self.several), batch_size=8)


def module(several: bool = False) -> TransferModule:
    """Too sure of itself: its weights are larger than learned ones."""
    torch.manual_seed(0)
    task = {"task": SeveralLabels()} if several else {}
    return TransferModule(TinyBackbone(), num_classes=3, lr=3e-2, **task)  # type: ignore[arg-type]


def engine(run: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": [CsvMetrics(run)]}
    settings = {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_checkpointing": False, **quiet, **options}
    return pl.Trainer(default_root_dir=run, callbacks=[*callbacks, RunDescriptionWriter()], **settings)


def reported(run: Path, learner: TransferModule, data: Any, **options: Any) -> dict[str, Any]:
    trainer = engine(run, RunReport(), **options)
    trainer.fit(learner, data)
    trainer.test(learner, data, verbose=False)
    return read_summary(run)


@torch.no_grad()
def by_hand(learner: TransferModule, several: bool, split: str) -> tuple[Tensor, Tensor]:
    """Logits and targets of a split, one sample at a time."""
    learner.eval()
    samples = Images(split, several)
    rows = [
        (learner(samples[k]["inputs"][None])[0], torch.as_tensor(samples[k]["target"])) for k in range(len(samples))
    ]
    return torch.stack([row for row, _ in rows]), torch.stack([target for _, target in rows])


@pytest.mark.parametrize("several", [False, True])
def test_temperature_is_that_of_the_validation_samples_and_the_error_that_of_the_test(
    several: bool, tmp_path: Path
) -> None:
    learner = module(several)
    summary = reported(tmp_path, learner, Judged(several))
    fitted, test = summary["calibration"], summary["test"]
    logits, target = by_hand(learner, several, "judged")
    loss = nn.functional.binary_cross_entropy_with_logits if several else nn.functional.cross_entropy
    aim = target.float() if several else target
    slow = minimize_scalar(lambda log: float(loss(logits / np.exp(log), aim)), bounds=(-4, 4), method="bounded")
    assert fitted["temperature"] == pytest.approx(np.exp(slow.x), rel=1e-3) and fitted["samples"] == SAMPLES
    logits, target = by_hand(learner, several, "test")
    scaled = logits.double() / fitted["temperature"]
    error = labels_calibration_error if several else expected_calibration_error
    probabilities = scaled.sigmoid() if several else scaled.softmax(1)
    assert test["calibrated_error"] == pytest.approx(error(probabilities, target), abs=1e-5)
    kept = np.stack(pq.read_table(tmp_path / "predictions" / "test.parquet")["probabilities"].to_pylist())
    assert test["calibration_error"] == pytest.approx(error(kept, target), abs=1e-5)
    text = (tmp_path / "summary.txt").read_text()
    assert f"calibration    {test['calibration_error']:.3f}   expected error of the" in text
    assert f"  {test['calibrated_error']:.3f}   at temperature {fitted['temperature']:.3g}, fitted on 75 valid" in text
    assert max(map(len, text.splitlines()[:12])) <= 80
    assert RunDescription.read(tmp_path).calibration == fitted  # type: ignore[union-attr]
    pixels = imread(tmp_path / "pictures" / "reliability.png")
    assert pixels.shape[1] > 1.8 * pixels.shape[0], "a panel as trained and one at the temperature"


def test_training_and_labels_do_not_change(tmp_path: Path) -> None:
    found = []
    for name, report in (("with", RunReport()), ("without", None)):
        learner, data = module(), Judged()
        pl.seed_everything(1, verbose=False)
        trainer = engine(tmp_path / name, *([report] if report else []))
        trainer.fit(learner, data)
        (metrics,) = trainer.test(learner, data, verbose=False)
        found.append((torch.nn.utils.parameters_to_vector(learner.parameters()), metrics))
    assert torch.equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


class OwnProbabilities(TransferModule):
    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1) ** 2


class Broken(Judged):
    """Its disk is gone by the time that the fit is over."""

    def val_dataloader(self) -> Any:
        tiny_report.SIZES["judged"], tiny_report.OFFSETS["judged"] = SAMPLES, 300
        data = self

        class Read(Images):
            def __getitem__(self, item: int) -> Any:
                assert data.trainer is not None
                if data.trainer.testing:
                    raise OSError("the disk is gone")
                return super().__getitem__(item)

        return DataLoader(Read("judged", False), batch_size=8)


class SplitByStage(Judged):
    """For a test it forgets what it validated on."""

    def setup(self, stage: str) -> None:
        self.stage = stage

    def val_dataloader(self) -> Any:
        assert self.stage == "fit", "there are no validation samples"
        return super().val_dataloader()


def test_data_that_are_parted_by_stage_keep_their_validation(tmp_path: Path) -> None:
    learner = module()
    first = reported(tmp_path, learner, SplitByStage())["calibration"]
    trainer = engine(tmp_path, RunReport(), max_epochs=0)  # nothing is left to train, as of a finished run
    trainer.fit(learner, data := SplitByStage())
    trainer.test(learner, data, verbose=False)
    assert read_summary(tmp_path)["calibration"] == first and "temperature" in first


@pytest.mark.parametrize(
    ("data", "options", "why"),
    [
        (TinyData(), {}, "validation has 20 samples, fewer than 50"),
        (Judged(), {"limit_val_batches": 0}, "validation was left out (limit_val_batches=0)"),
        (Judged(), {"limit_val_batches": 3}, "validation has 24 samples, fewer than 50"),
        (Broken(), {}, "validation could not be read again (OSError: the disk is gone)"),
    ],
)
def test_no_temperature_and_the_summary_says_why(data: Any, options: dict[str, Any], why: str, tmp_path: Path) -> None:
    summary = reported(tmp_path, module(), data, **options)
    assert summary["calibration"] == {"why": why, "checkpoint": None}
    assert "calibrated_error" not in summary["test"]
    text = " ".join((tmp_path / "summary.txt").read_text().split())
    assert f"expected error of the confidence no temperature: {why}" in text
    assert (tmp_path / "pictures" / "reliability.png").is_file()


def test_probabilities_of_a_users_own_are_left_alone(tmp_path: Path) -> None:
    learner = OwnProbabilities(TinyBackbone(), num_classes=3)
    summary = reported(tmp_path, learner, Judged())
    assert summary["calibration"]["why"] in (
        "OwnProbabilities has probabilities of its own",
        "what the outputs are is not known",
    )
    assert "calibrated_error" not in summary["test"]


def test_a_later_test_takes_the_runs_temperature_and_never_fits_again(tmp_path: Path) -> None:
    learner = module()
    first = reported(tmp_path, learner, Judged())
    other = TinyData(blocks=False)  # whose validation would be too small
    engine(tmp_path, RunReport()).test(learner, other, verbose=False)
    again = read_summary(tmp_path)
    assert again["calibration"] == first["calibration"]
    assert again["test"]["calibrated_error"] == first["test"]["calibrated_error"]
    described = json.loads((tmp_path / "run.json").read_text())
    described["calibration"]["checkpoint"] = "best.ckpt"
    (tmp_path / "run.json").write_text(json.dumps(described))
    engine(tmp_path, RunReport()).test(learner, other, verbose=False)
    assert read_summary(tmp_path)["calibration"] == {"why": "the run's is of best.ckpt, not of these weights"}
    del described["calibration"]
    (tmp_path / "run.json").write_text(json.dumps(described))
    engine(tmp_path, RunReport()).test(learner, other, verbose=False)
    assert read_summary(tmp_path)["calibration"] == {"why": "none was fitted on validation"}


def test_training_on_forgets_the_temperature_until_it_is_fitted_anew(tmp_path: Path) -> None:
    learner = module()
    reported(tmp_path, learner, Judged())
    engine(tmp_path, RunReport()).fit(learner, Judged())
    assert RunDescription.read(tmp_path).calibration == {}  # type: ignore[union-attr]
    assert "calibration" not in read_summary(tmp_path)


def test_summaries_of_earlier_versions_have_no_such_line() -> None:
    test = {"samples": 9, "task": "one label", "accuracy": 0.5, "interval": None, "macro_f1": 0.5}
    text = summary_text({"test": {**test, "calibration_error": 0.25}}, Path("run"))
    assert "calibration    0.250   expected error of the confidence\n" in text and "temperature" not in text


def in_two_processes(folder: str) -> list[Tensor]:
    learner = module()
    trainer = engine(Path(folder), RunReport(), devices=2, strategy="ddp")
    trainer.fit(learner, Judged())
    trainer.test(learner, Judged(), verbose=False)
    return list(by_hand(learner, False, "judged"))


def test_two_processes_fit_on_each_sample_once(tmp_path: Path) -> None:
    logits, target = on_two_ranks(in_two_processes, tmp_path, str(tmp_path))[0]
    summary = read_summary(tmp_path)
    assert summary["calibration"]["samples"] == SAMPLES and summary["processes"] == 2
    assert summary["calibration"]["temperature"] == pytest.approx(fit_temperature(logits, target).value, rel=1e-4)
