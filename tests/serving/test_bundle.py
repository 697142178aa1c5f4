"""Bundles: what `export` writes answers as `predict` does, in a process without torch, or is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import error_of, make_job
from huggingface_hub import ModelCard
from PIL import Image

from lightning_tl.cli import main
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import BadInputError, PredictingModel
from lightning_tl.serving.bundle.manifest import FILE, Manifest
from lightning_tl.serving.models.image_reader import ImageReader

QUICK = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
TOPICS = {"sport": "the team won the match", "food": "the soup was hot and sweet"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images of several sizes and kinds, with a temperature that its logits are divided by, and its bundle."""
    folder = tmp_path_factory.mktemp("images")
    recipe, noise = make_job(folder), np.random.default_rng(5)
    for number, name in enumerate(("field", "lake", "town")):
        for k in range(130):
            pixels = noise.integers(0, 200, (11, 14, 3)) + 20 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"more-{k}.png")
    main(["--recipe", str(recipe), *QUICK, "--unfreezing=null", "--model.lr=0.05", f"--run_folder={folder / 'run'}"])
    main(["export", "--run", str(folder / "run")])
    mixed = folder / "mixed"
    mixed.mkdir()
    pixels = noise.integers(0, 256, (20, 33, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(mixed / "a.png")
    Image.fromarray(pixels[:, :, 0]).save(mixed / "b.png")
    Image.fromarray(np.dstack([pixels, pixels[:, :, :1]]), "RGBA").save(mixed / "c.png")
    Image.fromarray(pixels).save(mixed / "d.jpg", exif=_turned())
    Image.fromarray(noise.integers(0, 65536, (9, 9)).astype(np.uint16)).save(mixed / "e.png")
    Image.fromarray(pixels).save(mixed / "f.tif")
    return folder


def _turned() -> Any:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def predicted(run: Path, *options: str) -> pd.DataFrame:
    main(["predict", "--run", str(run), *options])
    return pd.read_parquet(run / "predictions" / "predict.parquet")


def answers(model: PredictingModel, raw: list[Any], calibrated: bool = True) -> np.ndarray:
    return model.predict([model.prepare(one) for one in raw], calibrated).outputs


def test_images_of_every_kind_get_the_answers_of_predict(images: Path) -> None:
    model = open_bundle(images / "run" / "bundle")
    assert model.facts.class_names == ("field", "lake", "town") and isinstance(model, PredictingModel)
    for options, calibrated in (([], False), (["--calibrated"], True)):
        table = predicted(images / "run", f"--data.predict_root={images / 'mixed'}", *options)
        files = [(images / "mixed" / name).read_bytes() for name in table["id"]]
        assert len(files) == 6
        np.testing.assert_allclose(answers(model, files, calibrated), np.stack(table["probabilities"]), atol=1e-4)
    alone = np.concatenate([answers(model, [file]) for file in files])
    np.testing.assert_allclose(alone, answers(model, files), atol=1e-6)


def test_a_process_without_torch_answers(images: Path) -> None:
    code = f"""if True:
        import json, sys
        from pathlib import Path
        from lightning_tl.serving import open_bundle
        model = open_bundle({str(images / "run" / "bundle")!r})
        answer = model.predict([model.prepare(Path({str(images / "mixed" / "a.png")!r}).read_bytes())])
        heavy = ("torch", "transformers", "lightning", "datamodules", "pandas", "scipy", "matplotlib")
        print(json.dumps([answer.outputs.tolist(), sorted(set(heavy) & set(sys.modules))]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=images)
    assert done.returncode == 0, done.stderr
    outputs, heavy = json.loads(done.stdout)
    assert heavy == []
    model = open_bundle(images / "run" / "bundle")
    np.testing.assert_allclose(outputs, answers(model, [(images / "mixed" / "a.png").read_bytes()]), atol=1e-6)


def test_the_card_is_one_that_the_hub_reads(images: Path) -> None:
    card = ModelCard.load(images / "run" / "bundle" / "README.md")
    assert card.data.pipeline_tag == "image-classification" and "onnx" in card.data.tags
    (accuracy,) = [one.metric_value for one in card.data.eval_results if one.metric_type == "accuracy"]
    summary = json.loads((images / "run" / "summary.json").read_text())
    assert accuracy == pytest.approx(summary["test"]["accuracy"], abs=1e-4)
    for word in ("field", "temperature", "| train |", "open_bundle", "Licences"):
        assert word in card.text


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    """A folder with tables of texts and a recipe that reads them."""
    folder, noise = tmp_path_factory.mktemp("texts"), np.random.default_rng(2)
    rows = []
    for number in range(60):
        topic = ("sport", "food")[number % 2]
        words = " ".join(noise.permutation(TOPICS[topic].split()))
        split = ("train", "train", "train", "validation", "test")[number % 5]
        rows.append((words.title(), TOPICS["food"], topic, number % 7 + 0.5, split))
    table = pd.DataFrame(rows, columns=["text", "other", "topic", "score", "split"])
    table["a"], table["b"] = table["topic"] == "food", table["score"] > 3
    table.astype({"a": int, "b": int}).to_csv(folder / "own.csv", index=False)
    table[["text", "other"]].assign(text=["?", "x y " * 3000, *table["text"][2:]]).to_csv(
        folder / "new.csv", index=False
    )
    return folder


@pytest.mark.parametrize(
    ("family", "strategy", "fields", "activation"),
    [
        ("minilm", "LoRAFineTune", ["--data.label=topic"], "softmax"),
        ("distilbert", "AdapterFineTune", ["--data.label=[a,b]"], "sigmoid"),
        ("bert", "FineTune", ["--data.label=score", "--data.task=regression", "--model.head_hidden=5"], "none"),
        ("bert", "LinearProbe", ["--data.label=topic", "--data.text=[text,other]"], "softmax"),
    ],
)
def test_texts_get_the_answers_of_predict(
    family: str, strategy: str, fields: list[str], activation: str, texts: Path, saved_models: Path, tmp_path: Path
) -> None:
    backbone: dict[str, Any] = {"class_path": "lightning_tl.backbones.HuggingFaceText"}
    backbone["init_args"] = {"pretrained": str(saved_models / family)}
    table = {"path": str(texts / "own.csv"), "text": "text", "split": "split", "cache": str(texts / "cache")}
    recipe = {
        "model": {"class_path": f"lightning_tl.strategies.{strategy}", "init_args": {"backbone": backbone}},
        "data": {"class_path": "datamodules.TextDataModule", "init_args": table},
    }
    (tmp_path / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(tmp_path / "mine.yaml"), *QUICK, *fields, f"--run_folder={tmp_path / 'run'}"])
    main(["export", "--run", str(tmp_path / "run"), "--output", str(tmp_path / "out")])
    model, manifest = open_bundle(tmp_path / "out"), Manifest.read(tmp_path / "out")
    assert manifest.activation == activation
    said, new = predicted(tmp_path / "run", f"--data.path={texts / 'new.csv'}"), pd.read_csv(texts / "new.csv")
    pairs = "--data.text=[text,other]" in fields
    raw = list(zip(new["text"], new["other"], strict=True)) if pairs else list(new["text"])
    expected = np.stack(said["probabilities" if activation != "none" else "predicted"])
    np.testing.assert_allclose(answers(model, raw, calibrated=False), expected.reshape(len(raw), -1), atol=1e-4)
    assert model.facts.kind == ("pairs" if pairs else "texts")
    assert np.isfinite(answers(model, [("", "")] if pairs else [""])).all()


def _logged(run: Path) -> float:
    """Accuracy on validation, as training logged it in its one epoch."""
    return float(pd.read_csv(run / "metrics.csv")["val_accuracy"].dropna().iloc[-1])


def test_eight_bits_are_measured_on_validation(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["export", "--run", str(images / "run"), "--int8", f"--output={tmp_path / 'small'}"])
    manifest, lost = Manifest.read(tmp_path / "small"), Manifest.read(tmp_path / "small").card["int8"]
    (best,) = (images / "run" / "checkpoints").glob("best*")
    assert lost["float32"] == pytest.approx(_logged(images / "run"), abs=1e-5), best.name
    assert lost["samples"] == manifest.card["splits"]["validation"]["samples"] and lost["score"] == "accuracy"
    assert 0 < lost["largest_difference"] < 0.1 and abs(lost["float32"] - lost["int8"]) < 0.05
    assert lost["bytes_int8"] == (tmp_path / "small" / "model.onnx").stat().st_size
    assert manifest.version != Manifest.read(images / "run" / "bundle").version
    card = ModelCard.load(tmp_path / "small" / "README.md")
    assert "8 bits" in card.text and f"{lost['int8']:.3f} instead of {lost['float32']:.3f}" in card.text
    capsys.readouterr()
    gone = ["export", "--run", str(images / "run"), "--int8", f"--output={tmp_path / 'never'}", "--data.root=nowhere"]
    assert "validation samples, and these cannot be read" in error_of(gone, capsys)
    assert not (tmp_path / "never").exists()


# ---------------------------------------------------------------- what is refused


def test_what_no_bundle_can_be_made_of(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases: list[tuple[list[str], str]] = [
        ([], "export needs --run RUN_FOLDER"),
        (["--run", str(images / "run"), "--format=tflite"], "format must be onnx, got tflite"),
        (["--run", str(tmp_path)], "is not the folder of a run"),
        (["--run", str(images / "run"), f"--output={images / 'mine.yaml'}"], "is a file"),
        (["--run", str(images / "run"), f"--output={images / 'mixed'}"], "is there already and is no bundle"),
    ]
    for words, told in cases:
        assert told in error_of(["export", *words], capsys)
    assert not list(images.glob(".*")), "nothing half-made is left"


def test_another_way_of_answering_is_not_exported(texts: Path, saved_models: Path) -> None:
    from lightning_tl.backbones import HuggingFaceText
    from lightning_tl.bundling.graph import write_graph
    from lightning_tl.strategies import FineTune

    class Doubled(FineTune):
        def forward(self, inputs: Any) -> Any:
            return 2 * super().forward(inputs)

    module = Doubled(HuggingFaceText(saved_models / "minilm"), num_classes=2)
    module.configure_model()
    with pytest.raises(ValueError, match="Doubled makes its answers in a way of its own"):
        write_graph(module.eval(), texts / "never.onnx")
    assert not (texts / "never.onnx").exists()


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (lambda folder: (folder / FILE).unlink(), FileNotFoundError, "is no bundle"),
        (lambda folder: (folder / "model.onnx").unlink(), FileNotFoundError, "lacks model.onnx"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"junk"), ValueError, "is not what was written"),
        (lambda folder: (folder / FILE).write_text("{"), ValueError, "is damaged"),
        (lambda folder: (folder / FILE).write_text('{"format": 1}'), ValueError, "is damaged"),
        (lambda folder: _changed(folder, format=2), ValueError, "has format 2"),
        (lambda folder: _changed(folder, sha256={"../run.json": "0"}), ValueError, "lies outside the bundle"),
    ],
)
def test_bundles_that_do_not_open(damage: Any, error: Any, told: str, images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(images / "run" / "bundle", folder)
    damage(folder)
    with pytest.raises(error, match=told):
        open_bundle(folder)


def _changed(folder: Path, **values: Any) -> None:
    found = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps(found | values))


def test_a_version_is_of_what_answers_depend_on(images: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    main(["export", "--run", str(images / "run"), f"--output={again}"])
    first, second = Manifest.read(images / "run" / "bundle"), Manifest.read(again)
    assert first.version == second.version
    _changed(again, temperature=3.0)
    assert Manifest.read(again).version != first.version


@pytest.mark.parametrize(
    ("raw", "status", "told"),
    [
        (b"", 400, "0 bytes"),
        (b"not an image at all", 422, "cannot be read"),
        ("a text", 415, "the model reads images"),
    ],
)
def test_images_that_are_none(raw: Any, status: int, told: str, images: Path) -> None:
    model = open_bundle(images / "run" / "bundle")
    with pytest.raises(BadInputError, match=told) as caught:
        model.prepare(raw)
    assert caught.value.status == status


def test_images_that_are_too_large_or_cut_off(images: Path) -> None:
    import io

    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, "PNG")
    reads = dict(Manifest.read(images / "run" / "bundle").reads)
    with pytest.raises(BadInputError, match="20,000 pixels, more than the 9,999 allowed") as caught:
        ImageReader(reads, most_pixels=9_999).prepare(file.getvalue())
    assert caught.value.status == 413
    with pytest.raises(BadInputError, match="cannot be read"):
        ImageReader(reads).prepare(file.getvalue()[:-40])


def test_sixteen_bits_of_three_bands_need_no_torch_and_large_tiffs_are_refused_unread(images: Path) -> None:
    import io

    import tifffile

    reads = dict(Manifest.read(images / "run" / "bundle").reads)
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((200, 100, 13), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(BadInputError, match="60,000 pixels, more than the 59,999 allowed"):
        ImageReader(reads, most_pixels=59_999).prepare(file.getvalue())
    with pytest.raises(BadInputError, match="13 bands"):
        ImageReader(reads).prepare(file.getvalue())
    sources = (Path(__file__).resolve().parents[2] / "lightning_tl" / "inputs").glob("*.py")
    assert [path.name for path in sources if re.search(r"(import|from) torch", path.read_text())] == []
