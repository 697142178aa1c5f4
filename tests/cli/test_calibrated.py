"""`predict --calibrated`: the probabilities of a run at the temperature that it fitted on validation."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import error_of, make_job
from PIL import Image
from warm_python import warm_executable

from lightning_tl.choosing.shift.label_shift import reweighted
from lightning_tl.cli import main

FIT = str(Path(__file__).resolve().parents[2] / "scripts" / "fit.py")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run in it, `run`, which has validation samples enough, and `few`, which has not."""
    folder = tmp_path_factory.mktemp("job")
    recipe, noise = make_job(folder), np.random.default_rng(1)
    shutil.copytree(folder / "images", folder / "few_images")
    for number, name in enumerate(("field", "lake", "town")):
        for k in range(20, 130):
            pixels = noise.integers(0, 200, (8, 8, 3)) + 20 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{k:03d}.png")
    quick = ["--recipe", str(recipe), "--trainer.max_epochs=1", "--unfreezing=null", "--model.lr=0.1"]
    main([*quick, f"--run_folder={folder / 'run'}"])
    main([*quick, f"--run_folder={folder / 'few'}", f"--data.root={folder / 'few_images'}", "--test=false"])
    return folder


def predicted(run: Path, *options: str) -> tuple[list[str], np.ndarray, dict[bytes, bytes]]:
    main(["predict", "--run", str(run), f"--data.predict_root={run.parent / 'few_images'}", *options])
    table = pq.read_table(run / "predictions" / "predict.parquet")
    return table["label"].to_pylist(), np.stack(table["probabilities"].to_pylist()), table.schema.metadata


def test_probabilities_are_those_of_divided_logits_and_labels_stay(
    job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, plain, metadata = predicted(job / "run")
    assert b"calibration_temperature" not in metadata and "calibrated" not in capsys.readouterr().out
    same, calibrated, metadata = predicted(job / "run", "--calibrated")
    temperature = json.loads((job / "run" / "run.json").read_text())["calibration"]["temperature"]
    assert float(metadata[b"calibration_temperature"]) == temperature != 1
    assert f"calibrated at temperature {temperature:.3g}" in capsys.readouterr().out
    assert same == labels
    expected = plain ** (1 / temperature)  # a softmax of divided logits
    np.testing.assert_allclose(calibrated, expected / expected.sum(1, keepdims=True), atol=2e-5)


def test_probabilities_are_calibrated_before_they_are_corrected_in_two_processes_as_in_one(job: Path) -> None:
    shares = {"field": 0.2, "lake": 0.3, "town": 0.5}
    both = ["--calibrated", "--priors=" + ",".join(f"{name}:{share}" for name, share in shares.items())]
    _, calibrated, _ = predicted(job / "run", *both)
    file = job / "run" / "predictions" / "predict.parquet"
    one = pq.read_table(file)
    counts = json.loads((job / "run" / "run.json").read_text())["splits"]["train"]["classes"]
    expected = reweighted(calibrated, [counts[name] for name in shares], list(shares.values()))
    np.testing.assert_allclose(np.stack(one["corrected_probabilities"].to_pylist()), expected, atol=1e-6)
    file.unlink()
    torchrun = [warm_executable(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    words = ["predict", "--run", str(job / "run"), f"--data.predict_root={job / 'few_images'}", *both, *ddp]
    done = subprocess.run([*torchrun, FIT, *words], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("are corrected for them") == 1
    two = pq.read_table(file)
    assert two["id"].to_pylist() == one["id"].to_pylist() and two.schema.metadata == one.schema.metadata
    columns = [np.stack(table["corrected_probabilities"].to_pylist()) for table in (one, two)]
    np.testing.assert_allclose(*columns, atol=1e-5)


def test_the_model_folder_says_the_temperature_and_opens_as_before(job: Path) -> None:
    from transformers import AutoModelForImageClassification

    kept = json.loads((job / "run" / "run.json").read_text())["calibration"]
    config = json.loads((job / "run" / "model" / "config.json").read_text())
    assert config["calibration_temperature"] == kept["temperature"] and kept["checkpoint"].startswith("best")
    AutoModelForImageClassification.from_pretrained(job / "run" / "model")
    assert "calibration_temperature" not in json.loads((job / "few" / "model" / "config.json").read_text())


@pytest.mark.usefixtures("drawn_pictures")
def test_a_test_on_other_data_takes_the_temperature_of_the_run(job: Path) -> None:
    kept = (job / "run" / "run.json").read_bytes()
    main(["test", "--run", str(job / "run"), f"--data.root={job / 'few_images'}"])
    (summary,) = (job / "run" / "tests").glob("*/summary.json")
    told = json.loads(summary.read_text())
    assert (job / "run" / "run.json").read_bytes() == kept
    assert told["calibration"] == json.loads(kept)["calibration"] and "calibrated_error" in told["test"]
    assert (summary.parent / "pictures" / "reliability.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--run", "few", "--calibrated"], r"few has no temperature to calibrate with (validation has"),
        (["predict", "--run", "run", "--calibrated", "--ckpt_path=run/checkpoints/last.ckpt"], "not to last.ckpt"),
        (["test", "--run", "run", "--calibrated"], "--calibrated is for predict, not for test: leave it out"),
        (["predict", "--recipe", "text_zero_shot", "--calibrated"], "it needs --run RUN_FOLDER"),
    ],
)
def test_refused_in_a_sentence(
    arguments: list[str], message: str, job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(job)
    assert message in error_of(arguments, capsys)


def test_a_run_without_a_test_fits_its_temperature_too(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--recipe", str(job / "mine.yaml"), "--trainer.max_epochs=1", "--unfreezing=null", "--model.lr=0.1"]
    main([*quick, f"--run_folder={job / 'untested'}", "--test=false"])
    assert "calibration    temperature " in capsys.readouterr().out
    kept = [json.loads((job / run / "run.json").read_text())["calibration"] for run in ("run", "untested")]
    assert kept[0] == kept[1]


def test_a_run_of_an_earlier_version_has_none(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = job / "old"
    shutil.copytree(job / "run", old)
    described = json.loads((old / "run.json").read_text())
    del described["calibration"]
    (old / "run.json").write_text(json.dumps(described))
    message = error_of(["predict", "--run", str(old), "--calibrated"], capsys)
    assert message.endswith("(none was fitted on validation, as in runs of earlier versions): leave --calibrated out")
    main(["test", "--run", str(old)])
    assert "no temperature: none was fitted on validation" in " ".join(capsys.readouterr().out.split())
