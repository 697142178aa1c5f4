"""A run, its bundle, and what the service makes of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from cli_runs import make_job
from PIL import Image
from served_models import client_of, png
from warm_python import warm_executable

from lightning_tl.cli import main
from lightning_tl.cli.commands.bundle_of_run import bundle_of_run
from lightning_tl.cli.errors import UserError
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import PredictingModel
from lightning_tl.serving.service.application import Service
from lightning_tl.serving.service.metrics import ServiceMetrics
from lightning_tl.serving.service.served_model import ServedModel
from lightning_tl.serving.service.settings import ServiceSettings

BOSS = {"authorization": "Bearer boss"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its bundle."""
    folder = tmp_path_factory.mktemp("served")
    recipe = make_job(folder)
    quick = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    main(["--recipe", str(recipe), *quick, "--unfreezing=null", f"--run_folder={folder / 'run'}", "--test=false"])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


def service_for(bundle: Path) -> Service:
    settings, metrics = ServiceSettings(), ServiceMetrics()
    served = ServedModel("m", lambda: open_bundle(bundle), settings, metrics.batched)
    return Service([served], settings, metrics, None, "boss")


def test_the_service_gives_the_bundles_answers_and_refuses_what_it_cannot_read(run: Path) -> None:
    model = open_bundle(run / "bundle")
    assert isinstance(model, PredictingModel)
    files = [png(colour, size=(13, 9)) for colour in ((255, 0, 0), (3, 200, 90), (0, 0, 0))]
    truth = np.concatenate([model.predict([model.prepare(file)]).outputs for file in files])
    with client_of(service_for(run / "bundle")) as client:
        sent = [("image", (f"{place}.png", file, "image/png")) for place, file in enumerate(files)]
        said = client.post("/classify", files=sent).json()
        assert said["version"] == model.facts.version
        shares = [list(one["probabilities"].values()) for one in said["predictions"]]
        np.testing.assert_allclose(shares, truth, atol=1e-6)
        wide = io.BytesIO()
        Image.fromarray(np.zeros((9, 9), np.uint16)).save(wide, "PNG")
        odd = [
            b"",
            b"no image",
            files[0][:60],
            wide.getvalue(),
            png((1,), mode="1"),
            png((1, 2, 3, 4), mode="CMYK", format="JPEG"),
        ]
        for file in odd:
            answer = client.post("/classify", content=file, headers={"content-type": "image/png"})
            assert answer.status_code in (200, 422), answer.text
            assert "Traceback" not in answer.text and "0x" not in answer.text


def test_a_bundle_is_exchanged_and_a_broken_one_is_not_taken(run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(run / "bundle", bundle)
    with client_of(service_for(bundle)) as client:
        first = client.post("/classify", content=png(), headers={"content-type": "image/png"}).json()
        manifest = json.loads((bundle / "bundle.json").read_text())
        (bundle / "bundle.json").write_text(json.dumps({**manifest, "temperature": 50.0}))
        assert client.post("/admin/reload", headers=BOSS).status_code == 200
        second = client.post("/classify", content=png(), headers={"content-type": "image/png"}).json()
        assert second["version"] != first["version"]
        shares = second["predictions"][0]["probabilities"].values()
        assert max(shares) < max(first["predictions"][0]["probabilities"].values()) and sum(shares) == pytest.approx(1)
        for damage in (lambda: (bundle / "model.onnx").write_bytes(b"\0"), lambda: shutil.rmtree(bundle)):
            damage()
            answer = client.post("/admin/reload", headers=BOSS)
            assert answer.status_code == 409 and "goes on as it is" in answer.json()["error"]
            third = client.post("/classify", content=png(), headers={"content-type": "image/png"}).json()
            assert third == second


def test_a_bundle_of_other_weights_is_made_anew(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", warm_executable())
    said: list[str] = []
    assert bundle_of_run(run, said.append) == run / "bundle" and said == []
    other = tmp_path / "run"
    shutil.copytree(run, other)
    for checkpoint in (other / "checkpoints").glob("*.ckpt"):
        checkpoint.write_bytes(b"something else")
    with pytest.raises(UserError, match="cannot be made a bundle"):
        bundle_of_run(other, said.append)
    assert len(said) == 1 and "of other weights than the run's" in said[0]
    shutil.rmtree(other / "checkpoints")
    assert bundle_of_run(other, said.append) == other / "bundle", "a run without checkpoints has nothing better"


def test_the_command_answers_and_ends(run: Path) -> None:
    code = """if True:
        import atexit, sys
        atexit.register(lambda: print(sorted({"torch", "transformers", "lightning"} & set(sys.modules)), flush=True))
        from lightning_tl.cli import main
        main(["serve", "--run", "land=" + sys.argv[1], "--port", "0"])
    """
    command = [sys.executable, "-c", code, str(run)]
    environment = {**os.environ, "LIGHTNING_TL_TOKEN": "secret"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        address = lines[1].split()[1].rstrip(",")
        headers = {"content-type": "image/png", "authorization": "Bearer secret"}
        answer = httpx.post(f"{address}/land/classify", content=png(), headers=headers, timeout=20)
        assert answer.status_code == 200 and answer.json()["model"] == "land"
        assert httpx.post(f"{address}/classify", content=png(), timeout=20).status_code == 401
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out.strip()) == (0, "[]"), errors
    assert lines[0].startswith("model    land, of images, version ")
