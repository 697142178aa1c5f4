"""Images reach the model by one way: from memory, from files and over HTTP; of what moves the first picture."""

from __future__ import annotations

import dataclasses
import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import make_job
from PIL import Image

from datamodules.images.image_samples import ImageSamples
from lightning_tl.cli import main
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.inputs.image_files import read_image
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import BadInputError, PredictingModel
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.serving.models.image_reader import ImageReader
from lightning_tl.serving.service.pictures import check_picture

SOURCE = '''
import numpy as np
from datamodules import ImageDataModule
from datamodules.images.image_records import ImageRecords

class Small(ImageDataModule):
    """Images of 5 × 7 pixels in memory, which the model reads at 8 × 8."""

    def read_records(self):
        noise = np.random.default_rng(0)
        labels = np.arange(60) % 2
        images = noise.integers(0, 156, (60, 5, 7, 3)) + 100 * labels[:, None, None, None]
        splits = np.array(["train", "train", "validation", "test"])[np.arange(60) // 2 % 4]
        return ImageRecords(ids=[f"s{k:02}.png" for k in range(60)], labels=labels, splits=splits,
                            class_names=("dark", "light"), images=images.astype(np.uint8))
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, of images in memory, with its bundle; and `files`, the same images."""
    folder = tmp_path_factory.mktemp("memory")
    recipe = make_job(folder)
    (folder / "of_small_images.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    own = ["--data=of_small_images.Small", "--unfreezing=null", "--model.lr=0.05", "--report.export=false"]
    own += ["--trainer.max_epochs=2", "--data.num_workers=0"]
    try:
        text = recipe.read_text()
        recipe.write_text(text[: text.index("data:")] + text[text.index("unfreezing:") :])
        main(["--recipe", str(recipe), *own, f"--run_folder={folder / 'run'}"])
        main(["export", "--run", str(folder / "run")])
        records = importlib.import_module("of_small_images").Small(num_workers=0).read_records()
        (folder / "files").mkdir()
        for name, image in zip(records.ids, records.images, strict=True):
            Image.fromarray(image).save(folder / "files" / name)
        main(["predict", "--run", str(folder / "run")])
        (folder / "run" / "predictions" / "predict.parquet").rename(folder / "memory.parquet")
        main(["predict", "--run", str(folder / "run"), f"--data.predict_root={folder / 'files'}"])
    finally:
        sys.path.remove(str(folder))
    return folder


def test_small_images_of_memory_files_and_bundle_get_the_same_answers(place: Path) -> None:
    memory = pd.read_parquet(place / "memory.parquet").set_index("id")["probabilities"]
    files = pd.read_parquet(place / "run" / "predictions" / "predict.parquet").set_index("id")["probabilities"]
    assert len(memory) > 10 and len(files) == 60
    np.testing.assert_allclose(np.stack(memory), np.stack(files[memory.index]), atol=1e-6)
    model = open_bundle(place / "run" / "bundle")
    assert isinstance(model, PredictingModel) and model.facts.reads["resize"] == "floats"
    sent = [model.prepare((place / "files" / name).read_bytes()) for name in memory.index]
    np.testing.assert_allclose(model.predict(sent, calibrated=False).outputs, np.stack(memory), atol=1e-5)
    reads = {name: value for name, value in Manifest.read(place / "run" / "bundle").reads.items() if name != "resize"}
    bytes_of = (place / "files" / memory.index[0]).read_bytes()
    assert np.abs(ImageReader(reads).prepare(bytes_of) - sent[0]).max() > 1e-3, "with rounding it is something else"


def test_a_run_on_files_goes_on_reading_bytes(place: Path) -> None:
    description = RunDescription.read(place / "run")
    assert description is not None and description.resizes_floats
    plain = {name: value for name, value in description.input.items() if name != "resize"}
    assert not dataclasses.replace(description, input=plain).resizes_floats
    assert ImageSamples.__init__.__defaults__ == (False,)


def moving(kind: str, count: int = 2) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (40 * k, 200, 10)) for k in range(count)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_what_moves_the_first_picture_is_read_and_the_service_refuses_it(kind: str, place: Path) -> None:
    raw, still = moving(kind), moving(kind, 1)
    model = open_bundle(place / "run" / "bundle")
    assert isinstance(model, PredictingModel)
    np.testing.assert_array_equal(read_image(io.BytesIO(raw)), read_image(io.BytesIO(still)))
    np.testing.assert_array_equal(model.prepare(raw), model.prepare(still))
    with pytest.raises(BadInputError, match="the image moves: it has 2 pictures, and the model reads one"):
        check_picture(raw, 10**6)
    check_picture(still, 10**6)


def test_a_cameras_previews_are_no_movement() -> None:
    raw = moving("MPO")
    check_picture(raw, 10**6)
    model = ImageReader({"image_size": 8, "channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3})
    np.testing.assert_array_equal(model.prepare(raw).argmax(0), 1)
