"""Runs of which no graph can be written: `export` says why, and `serve` answers by torch as `predict` does."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
import transformers as hf
import yaml
from cli_runs import error_of, make_job
from served_models import client_of, png
from tiny_retrieval import write_log
from tiny_text import VOCABULARY, save_tokenizer
from warm_python import warm_executable

from lightning_tl.cli import main
from lightning_tl.cli.commands.serve import _open_run
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.serving.answering import BadInputError, PredictingModel, RecommendingModel, Wish
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

PYTHON = sys.executable
FAST = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
QUICK = [*FAST, "--report.export=false"]
SPECTRUM = '''
import torch
from lightning_tl.backbones import ColourStatistics
from lightning_tl.strategies import FineTune

class Spectrum(ColourStatistics):
    """Singular values of each band, by an operator that ONNX has not."""

    def __init__(self, image_size=8):
        super().__init__(image_size=image_size)
        self.feature_dim = 3 * image_size

    def forward(self, inputs):
        return torch.linalg.svdvals(inputs.float()).flatten(1)

class Sharper(FineTune):
    """Tells the squares of probabilities."""

    def predictions(self, outputs):
        shares = outputs.softmax(1) ** 2
        return {"probabilities": shares / shares.sum(1, keepdim=True)}
'''
TEXTS = ["the soup was hot", "a match", "it is a very good dress and it fits the small blue boat", ""]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with classes of the user's own, importable."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "of_my_own.py").write_text(SPECTRUM)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user who stands in that folder."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "executable", warm_executable())


@pytest.fixture(scope="module")
def images(place: Path) -> Path:
    """A run with a backbone whose operator ONNX has not."""
    recipe = make_job(place)
    own = ["--model.backbone=of_my_own.Spectrum", "--unfreezing=null", "--model.lr=0.02"]
    main(["--recipe", str(recipe), *QUICK, *own, f"--run_folder={place / 'run'}"])
    description, (best,) = RunDescription.read(place / "run"), (place / "run" / "checkpoints").glob("best*")
    assert description is not None
    calibration = {"temperature": 2.5, "samples": 60, "checkpoint": best.name}
    dataclasses.replace(description, calibration=calibration).write(place / "run")
    return place / "run"


@pytest.fixture(scope="module")
def texts(place: Path) -> Path:
    """A run with a text model that reads texts of one length at a time."""
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "max_position_embeddings": 40}
    hf.FNetModel(hf.FNetConfig(vocab_size=VOCABULARY, **settings)).save_pretrained(place / "fnet")
    save_tokenizer(place / "fnet")
    rows = [
        (f"{('the soup was hot', 'a good match')[k % 2]} {'very ' * (k % 4)}", ("food", "sport")[k % 2], k)
        for k in range(40)
    ]
    table = pd.DataFrame(rows, columns=["text", "topic", "number"])
    table["split"] = [("train", "validation", "test")[k % 3] for k in range(40)]
    table.to_csv(place / "own.csv", index=False)
    backbone = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    backbone |= {"init_args": {"pretrained": str(place / "fnet")}}  # type: ignore[dict-item]
    data = {"path": str(place / "own.csv"), "text": "text", "label": "topic", "split": "split"}
    recipe = {
        "model": {"class_path": "lightning_tl.strategies.FineTune", "init_args": {"backbone": backbone}},
        "data": {"class_path": "datamodules.TextDataModule", "init_args": data | {"cache": str(place / "cache")}},
    }
    (place / "texts.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(place / "texts.yaml"), *QUICK, f"--run_folder={place / 'texts'}"])
    return place / "texts"


@contextmanager
def served(run: Path) -> Iterator[tuple[httpx.Client, PredictingModel]]:
    """A client of a service of the run, and what answers there."""
    settings, metrics = ServiceSettings(), ServiceMetrics()
    model = ServedModel("m", lambda: _open_run(run, 1, None), settings, metrics.batched)
    assert isinstance(model.now.model, PredictingModel)
    with client_of(Service([model], settings, metrics, None, "boss")) as client:
        yield client, model.now.model


def predicted(run: Path, *options: str) -> pd.DataFrame:
    main(["predict", "--run", str(run), *options])
    return pd.read_parquet(run / "predictions" / "predict.parquet")


def shares_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([list(one["probabilities"].values()) for one in answer.json()["predictions"]])


def test_an_operator_that_onnx_has_not_is_named_and_torch_answers(
    images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = error_of(["export", "--run", str(images)], capfd)
    assert "the operator aten._linalg_svd" in told and not (images / "bundle").exists()
    more = images.parent / "more"
    more.mkdir()
    for k, colour in enumerate(((255, 0, 0), (3, 200, 90), (60, 60, 60))):
        (more / f"{k}.png").write_bytes(png(colour, size=(13, 9)))
    table = predicted(images, f"--data.predict_root={more}", "--calibrated")
    with served(images) as (client, model):
        said = capfd.readouterr().out
        (line,) = [line for line in said.splitlines() if line.startswith("torch ")]
        assert "aten._linalg_svd" in line and "torch answers in its place" in line
        sent = [("image", (name, (more / name).read_bytes(), "image/png")) for name in table["id"]]
        np.testing.assert_allclose(
            shares_of(client.post("/classify", files=sent)), np.stack(table["probabilities"]), atol=1e-6
        )
        features = client.post("/embed", files=sent).json()
        assert "aten._linalg_svd" in client.get("/models").json()["models"][0]["card"]["no_graph"]
        assert np.array(features["embeddings"] if "embeddings" in features else features["features"]).shape == (3, 24)
        plain = predicted(images, f"--data.predict_root={more}")
        prepared = [model.prepare((more / name).read_bytes()) for name in plain["id"]]
        np.testing.assert_allclose(
            model.predict(prepared, calibrated=False).outputs, np.stack(plain["probabilities"]), atol=1e-6
        )
        odd = client.post("/classify", content=b"no image", headers={"content-type": "image/png"})
        assert odd.status_code == 422
        again = client.post("/admin/reload", headers={"authorization": "Bearer boss"})
        assert again.status_code == 200, again.text
        assert client.get("/models").json()["models"][0]["version"] == model.facts.version
        after = client.post("/classify", files=sent)
        np.testing.assert_allclose(shares_of(after), np.stack(table["probabilities"]), atol=1e-6)


def test_texts_that_are_read_one_length_at_a_time(texts: Path) -> None:
    new = texts.parent / "new.csv"
    pd.DataFrame({"text": ["?" if text == "" else text for text in TEXTS]}).to_csv(new, index=False)
    table = predicted(texts, f"--data.path={new}")
    with served(texts) as (client, model):
        assert "one length at a time" in model.facts.card["no_graph"]
        sent = ["?" if text == "" else text for text in TEXTS]
        uncalibrated = model.predict([model.prepare(text) for text in sent], calibrated=False).outputs
        np.testing.assert_allclose(uncalibrated, np.stack(table["probabilities"]), atol=1e-5)
        shares = shares_of(client.post("/classify", json={"texts": sent}))
        alone = np.concatenate([shares_of(client.post("/classify", json={"texts": [text]})) for text in sent])
        np.testing.assert_allclose(shares, alone, atol=1e-5)
        with pytest.raises(BadInputError, match="surrogates"):
            model.prepare("\ud800")


def test_a_module_that_tells_something_else_than_its_task(images: Path) -> None:
    run = images.parent / "sharper"
    own = ["--model=of_my_own.Sharper"]
    main(["--recipe", str(images.parent / "mine.yaml"), *QUICK, *own, "--unfreezing=null", f"--run_folder={run}"])
    table = predicted(run)
    with served(run) as (client, model):
        assert "has predictions of its own" in model.facts.card["no_graph"]
        files = [next((images.parent / "images").rglob(Path(name).name)) for name in table["id"][:1]]
        found = shares_of(
            client.post("/classify", content=files[0].read_bytes(), headers={"content-type": "image/png"})
        )
        assert found.shape == (1, 3) and found.sum() == pytest.approx(1)


def test_a_user_tower_whose_encoder_reads_one_length_at_a_time(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = texts.parent
    log = write_log(place / "log", users=20, items=20, events=6)
    encoder = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    encoder |= {"init_args": {"pretrained": str(place / "fnet")}}  # type: ignore[dict-item]
    towers = "lightning_tl.retrieval."
    data = {name: str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    options = {"history_length": 4, "num_workers": 0, "texts": ["title"], "cache": str(log / "cache")}
    recipe = {
        "model": {
            "class_path": f"{towers}TwoTower",
            "init_args": {
                "items": {"class_path": f"{towers}ItemTower", "init_args": {"dim": 8}},
                "users": {"class_path": f"{towers}TextHistory", "init_args": {"encoder": encoder, "tokens": 12}},
            },
        },
        "data": {"class_path": "datamodules.InteractionDataModule", "init_args": data | options},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
        "retrieval_report": {"min_queries": 1},
    }
    (place / "log.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    run = place / "two_towers"
    main(["--recipe", str(place / "log.yaml"), *FAST, f"--run_folder={run}"])
    assert "one length at a time" in error_of(["export", "--run", str(run)], capsys)
    model = _open_run(run, 1, None)
    assert isinstance(model, RecommendingModel) and "one length at a time" in model.facts.card["no_graph"]
    (answer,) = model.recommend([Wish(user="u3", k=9)])
    capsys.readouterr()
    main(["recommend", "--run", str(run), "--user", "u3", "--k", "9"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()[:1].isdigit()]
    assert answer.items == [row[2] for row in rows] and answer.by == "history"
    np.testing.assert_allclose(answer.scores, [float(row[1]) for row in rows], atol=6e-4)
    asked = model.recommend([Wish(history=("i1",), k=3), Wish(profile={"gender": "F"}, k=3)])
    assert [one.by for one in asked] == ["history", "profile"]


def test_the_command_says_that_torch_answers(images: Path) -> None:
    """From the command line to the end, in processes of their own."""
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    code = "import sys; from lightning_tl.cli import main; main(sys.argv[1:])"
    command = [PYTHON, "-c", code, "serve", "--run", f"m={images}", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not (lines and lines[-1].startswith("serving")):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read() if process.stderr else ""
        address = lines[-1].split()[1].rstrip(",")
        answer = httpx.post(f"{address}/m/classify", content=png(), headers={"content-type": "image/png"}, timeout=20)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert answer.status_code == 200 and process.returncode == 0, errors
    assert any("aten._linalg_svd" in line and line.startswith("torch") for line in lines), lines
