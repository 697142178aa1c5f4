"""`predict --priors`: probabilities corrected for named and for estimated shares of classes, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_runs import error_of, make_job
from PIL import Image

from lightning_tl.choosing.shift.label_shift import reweighted
from lightning_tl.cli import main
from lightning_tl.cli.checks.priors import read_shares
from lightning_tl.cli.errors import UserError

NAMES = ("field", "lake", "town")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that tells its classes apart, and new pictures of which most are towns."""
    folder = tmp_path_factory.mktemp("job")
    recipe, noise = make_job(folder), np.random.default_rng(1)
    for number, (name, count) in enumerate(zip(NAMES, (5, 5, 30), strict=True)):
        (folder / "new" / name).mkdir(parents=True)
        for k in range(count):
            pixels = noise.integers(0, 120, (8, 8, 3)) + 60 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "new" / name / f"{k:02d}.png")
    probe = ["--model=lightning_tl.strategies.LinearProbe", "--unfreezing=null", "--trainer.max_epochs=1"]
    probe += ["--model.backbone=lightning_tl.backbones.HuggingFaceVision", "--data.test_fraction=0.4"]
    probe += [f"--model.backbone.pretrained={folder}/vit"]
    main(["--recipe", str(recipe), *probe, f"--run_folder={folder / 'run'}"])
    return folder


def predict(job: Path, priors: str) -> tuple[np.ndarray, np.ndarray, list[str], dict[str, object]]:
    main(["predict", "--run", str(job / "run"), f"--data.predict_root={job / 'new'}", f"--priors={priors}"])
    table = pq.read_table(job / "run" / "predictions" / "predict.parquet")
    plain, corrected = (np.stack(table[name].to_pylist()) for name in ("probabilities", "corrected_probabilities"))
    noted = json.loads(table.schema.metadata[b"corrected_for_priors"])
    assert table.schema.metadata[b"class_names"]
    return plain, corrected, table["corrected_label"].to_pylist(), noted


def test_named_shares(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, corrected, labels, noted = predict(job, "field:0.1,lake:0.2,town:0.7")
    counts = json.loads((job / "run" / "run.json").read_text())["splits"]["train"]["classes"]
    trained = np.array([counts[name] for name in NAMES], dtype=float)
    np.testing.assert_allclose(corrected, reweighted(plain, trained, [0.1, 0.2, 0.7]), atol=1e-6)
    assert labels == [NAMES[k] for k in corrected.argmax(1)]
    assert noted == {"estimated": False, "shares": {"field": 0.1, "lake": 0.2, "town": 0.7}}
    assert "shares of classes, as given: field 10.0%" in capsys.readouterr().out


def test_estimated_shares(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, _, noted = predict(job, "estimated")
    shown = capsys.readouterr().out
    assert noted["estimated"] is True
    assert noted["shares"]["town"] == pytest.approx(0.75, abs=0.15)  # type: ignore[index]
    assert "label shift: shares of classes differ from the test's" in shown
    assert "labels change" in shown


def test_what_is_refused(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["predict", "--run", str(job / "run")]
    assert "goes with predict --run" in error_of(["test", *start[1:], "--priors=estimated"], capsys)
    assert "leave --ckpt_path out" in error_of([*start, "--priors=estimated", "--ckpt_path=a.ckpt"], capsys)
    shutil.copytree(job / "run", job / "untested")
    (job / "untested" / "predictions" / "test.parquet").unlink()
    told = error_of(["predict", "--run", str(job / "untested"), "--priors=estimated"], capsys)
    assert "and it was not tested" in told
    shutil.copytree(job / "run", job / "blind")
    file = job / "blind" / "predictions" / "test.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("predicted")
    pq.write_table(table.set_column(place, "predicted", table["predicted"].take([0] * len(table))), file)
    assert "near singular" in error_of(["predict", "--run", str(job / "blind"), "--priors=estimated"], capsys)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("field:0.5", "there is none for lake, town"),
        ("field:0.5,field:0.5", "names field twice"),
        ("feild:0.5", "there is no class 'feild'"),
        ("field:0.5,lake:0.5,town:0.5", "must be 1 in all, got 1.5"),
        ("field:a,lake:0,town:0", "the share of field must be in 0…1, got a"),
        ("field:-1,lake:1,town:1", "the share of field must be in 0…1, got -1"),
        ("field:nan,lake:1,town:1", "the share of field must be in 0…1, got nan"),
        ("guess", "is estimated, or name:share,…"),
        ("", "is estimated, or name:share,…"),
    ],
)
def test_shares_that_are_none(text: str, told: str) -> None:
    with pytest.raises(UserError) as raised:
        read_shares(text, NAMES)
    assert told in str(raised.value)


def test_names_with_commas_and_colons() -> None:
    np.testing.assert_allclose(read_shares("a,b:0.25,c:d:0.5,e:0.25", ("a,b", "c:d", "e")), [0.25, 0.5, 0.25])
