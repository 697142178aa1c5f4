"""`attention`: pictures and numbers of what the class token of a run, or of a folder of weights, looks at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli_runs import error_of, make_job
from PIL import Image

from lightning_tl.backbones import HuggingFaceVision, TimmBackbone, TorchvisionResNet
from lightning_tl.backbones.class_token_attention import ClassTokenAttention
from lightning_tl.cli import main
from lightning_tl.cli.run_folder import checkpoints_folder
from lightning_tl.contracts.batches import ImageSpec

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # the run here is short on purpose


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Images, weights, and a run of a few steps in the folder `run`."""
    folder = tmp_path_factory.mktemp("attention")
    recipe = make_job(folder)
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    main(["--recipe", str(recipe), "--run_folder", str(folder / "run"), "--test=false", *short])
    yield folder


def run_of(job: Path) -> Path:
    return next(path.parent for path in job.glob("run/**/config.yaml"))


def test_a_run_draws_each_image(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(1)
    Image.fromarray(noise.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(images / "wide.png")
    (images / "deep").mkdir()
    Image.fromarray(noise.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(images / "deep" / "tile.jpg")
    run = run_of(job)
    main(["attention", "--run", str(run), "--images", str(images), "--output", str(tmp_path / "out"), "--arrays"])
    assert "2 pictures in" in capsys.readouterr().out
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert names == ["deep/tile.jpg.npz", "deep/tile.jpg.png", "wide.png.npz", "wide.png.png"]
    with Image.open(tmp_path / "out" / "wide.png.png") as drawn:
        assert drawn.width > 600 and drawn.height > 200

    # The numbers are those of the weights in the run's checkpoint.
    kept = np.load(tmp_path / "out" / "deep" / "tile.jpg.npz")
    assert kept["patches"].shape == (2, 2, 2) and kept["others"].shape == (2,)
    np.testing.assert_allclose(kept["patches"].sum((1, 2)) + kept["others"], 1, atol=1e-5)
    backbone = HuggingFaceVision(str(job / "vit"))
    state = torch.load(next(checkpoints_folder(run).rglob("*.ckpt")), weights_only=True)["state_dict"]
    backbone.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")})
    spec = backbone.input_spec
    pixels = np.asarray(Image.open(images / "deep" / "tile.jpg"), np.float32) / 255
    image = (pixels - np.array(spec.mean, np.float32)) / np.array(spec.std, np.float32)
    found = ClassTokenAttention(backbone)(torch.from_numpy(image).permute(2, 0, 1)[None])
    np.testing.assert_allclose(kept["patches"], found.patches[0].numpy(), atol=1e-5)


def pretraining_run(job: Path, folder: Path, data: dict[str, Any]) -> Path:
    """What a run of pretraining leaves, whose data had these arguments."""
    run = folder / "run"
    HuggingFaceVision(str(job / "vit")).save(run / "model")
    (run / "model" / "provenance.json").write_text("{}")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    config = yaml.safe_load((run_of(job) / "config.yaml").read_text()) | {
        "data": {"class_path": "a.B", "init_args": data}
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_values_are_read_as_pretraining_read_them(job: Path, tmp_path: Path) -> None:
    """Images of 12 bits in files of 16: with their range the numbers are those of the same image of 8 bits."""
    run = pretraining_run(job, tmp_path, {"value_range": [0, 4080]})
    grey = np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)
    for name, values in (("deep", grey.astype(np.uint16) * 16), ("plain", grey)):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "a.png")
    source = {"deep": ["--run", str(run)], "plain": ["--model", str(run / "model")]}
    for name, words in source.items():
        main(
            [
                "attention",
                *words,
                "--images",
                str(tmp_path / name),
                "--output",
                str(tmp_path / f"{name}-out"),
                "--arrays",
            ]
        )
    deep, plain = (np.load(tmp_path / f"{name}-out" / "a.png.npz")["patches"] for name in source)
    np.testing.assert_allclose(deep, plain, atol=1e-5)


def test_a_pretraining_run_on_rasters(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pretraining_run(job, tmp_path, {"bands": None, "sensor": "sentinel2"})
    said = error_of(["attention", "--run", str(run), "--images", str(job / "images")], capsys)
    assert "was pretrained on rasters, whose bands were chosen by name and brought to physical values" in said


@pytest.mark.parametrize("family", ["hugging_face", "timm", "pretraining", "bands"])
def test_a_folder_of_weights(family: str, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--model", str(job / "vit")]
    if family == "timm":
        TimmBackbone("test_vit", image_size=32, weights=False).save(tmp_path / "timm")
        source = ["--model", str(tmp_path / "timm")]
    if family == "bands":
        backbone = HuggingFaceVision(str(job / "vit"))
        backbone.take_input(ImageSpec(8, 4, (0.5,) * 4, (0.2,) * 4, ("nir", "blue", "green", "red")))
        backbone.save(tmp_path / "bands")
        source = ["--model", str(tmp_path / "bands")]
    if family == "pretraining":
        source = ["--run", str(pretraining_run(job, tmp_path, {}))]
    images = job / "images" / "lake"
    if family == "bands":
        images = tmp_path / "images"
        images.mkdir()
        pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 4), dtype=np.uint8)
        Image.fromarray(pixels, "RGBA").save(images / "four.png")
    main(["attention", *source, "--images", str(images), "--output", str(tmp_path / "out"), "--count", "3"])
    told = capsys.readouterr().out
    count = 1 if family == "bands" else 3
    assert f"{count} pictures in" in told and len(list((tmp_path / "out").glob("*.png"))) == count
    assert ("of 20 images 3 are drawn, evenly over the folder" in told) == (count == 3)


def test_a_convolutional_network(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TorchvisionResNet("resnet18", weights=None, image_size=32).save(tmp_path / "resnet")
    TimmBackbone("test_convnext", image_size=32, weights=False).save(tmp_path / "convnext")
    images = ["--images", str(job / "images")]
    said = error_of(["attention", "--model", str(tmp_path / "resnet"), *images], capsys)
    assert said.endswith("is a ResNet of torchvision, which has no class token: take a ViT, DINOv2 or CLIP")
    said = error_of(["attention", "--model", str(tmp_path / "convnext"), *images], capsys)
    assert said.endswith("(it has no class token): take a run of a ViT, DINOv2 or CLIP")


MISTAKES: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "attention needs --run RUN_FOLDER, or --model FOLDER with weights, and not both"),
    "both": (["--run", "a", "--model", "b"], "attention needs --run RUN_FOLDER, or --model FOLDER with weights, and"),
    "no images": (["--model", "a"], "attention needs --images FOLDER"),
    "no folder": (["--model", "a", "--images", "nowhere"], "images: there is no folder nowhere"),
    "count": (["--model", "a", "--images", ".", "--count", "0"], "--count must be at least 1 image, got 0"),
    "a field": (
        ["--model", "a", "--images", ".", "--ckpt_path=b"],
        "--ckpt_path=b is a field of a run, and --model",
    ),
    "no pictures": (["--model", "{vit}", "--images", "{vit}"], "no images in images "),
    "a broken one": (["--model", "{vit}", "--images", "{broken}"], "broken/b.png cannot be read: "),
    "output": (["--model", "a", "--images", ".", "--output", "{vit}/config.json"], "the output must be a folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(
    name: str, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "broken" / "a.png")
    (tmp_path / "broken" / "b.png").write_bytes(b"no picture")
    words, message = MISTAKES[name]
    places = {"vit": job / "vit", "broken": tmp_path / "broken"}
    assert message in error_of(["attention", *(word.format(**places) for word in words)], capsys)
    assert not (tmp_path / "attention").exists(), "nothing is drawn before all images were read"


def test_a_run_of_texts(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    for name in ("config.yaml", "run.json"):
        (run / name).write_text((run_of(job) / name).read_text())
    told = json.loads((run / "run.json").read_text())
    told["input"] = {"kind": "text"}
    (run / "run.json").write_text(json.dumps(told))
    said = error_of(["attention", "--run", str(run), "--images", str(job / "images")], capsys)
    assert "reads no images: attention draws what a vision transformer looks at" in said


def test_a_run_and_a_folder_without_images(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(["attention", "--run", str(run_of(job)), "--images", str(tmp_path)], capsys)
    assert "no images in --images" in said and "predict_root" not in said
