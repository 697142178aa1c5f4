"""A run on rasters of many bands becomes a bundle that takes bands by name, and answers as the run does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import make_job
from PIL import Image
from tiny_rasters import write_raster

from lightning_tl.cli import main
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import BadInputError, PredictingModel

BANDS = ("B02", "B03", "B04", "B08", "B11")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `run` on `tiles`, its bundle, and its predictions on them."""
    folder = tmp_path_factory.mktemp("rasters")
    noise = np.random.default_rng(0)
    for number in range(40):
        values = noise.integers(200, 3000, (len(BANDS), 8, 8)).astype(np.uint16)
        values[3] += 2500 * (number % 2)
        tile = folder / "tiles" / ("bare", "green")[number % 2] / f"{number:02}.tif"
        tile.parent.mkdir(parents=True, exist_ok=True)
        write_raster(tile, values, names=BANDS)
    recipe = make_job(folder)
    text = recipe.read_text()
    recipe.write_text(text[: text.index("data:")] + text[text.index("unfreezing:") :])
    own = ["--data=datamodules.EarthDataModule", f"--data.root={folder / 'tiles'}", "--data.sensor=sentinel2"]
    own += ["--data.bands=[B08,red]", "--data.indices=[ndvi,ndwi]", "--data.num_workers=0", "--data.add_offset=0"]
    own += ["--unfreezing=null", "--report.export=false", "--trainer.max_epochs=1"]
    main(["--recipe", str(recipe), *own, f"--run_folder={folder / 'run'}"])
    main(["export", "--run", str(folder / "run")])
    main(["predict", "--run", str(folder / "run"), f"--data.predict_root={folder / 'tiles'}"])
    return folder


def test_a_bundle_answers_as_the_run_does(place: Path) -> None:
    model = open_bundle(place / "run" / "bundle")
    assert isinstance(model, PredictingModel)
    assert model.facts.reads["reading"]["bands"] == ["B08", "B04"]
    predicted = pd.read_parquet(place / "run" / "predictions" / "predict.parquet").set_index("id")["probabilities"]
    assert len(predicted) == 40
    sent = [model.prepare((place / "tiles" / name).read_bytes()) for name in predicted.index]
    assert sent[0].shape == (4, 8, 8)
    np.testing.assert_allclose(model.predict(sent, calibrated=False).outputs, np.stack(predicted), atol=1e-5)


def test_bands_in_another_order_give_the_same_answer(place: Path, tmp_path: Path) -> None:
    model = open_bundle(place / "run" / "bundle")
    assert isinstance(model, PredictingModel)
    values = np.random.default_rng(1).integers(200, 3000, (len(BANDS), 8, 8)).astype(np.uint16)
    write_raster(tmp_path / "a.tif", values, names=BANDS)
    write_raster(tmp_path / "b.tif", values[::-1], names=BANDS[::-1])
    one, other = (model.prepare((tmp_path / name).read_bytes()) for name in ("a.tif", "b.tif"))
    np.testing.assert_array_equal(one, other)


def test_what_cannot_be_read_is_refused_without_the_name_of_a_temporary_file(place: Path, tmp_path: Path) -> None:
    model = open_bundle(place / "run" / "bundle")
    assert isinstance(model, PredictingModel)
    lacking = np.ones((2, 8, 8), np.uint16)
    write_raster(tmp_path / "lacking.tif", lacking, names=("B02", "B03"))
    empty = np.zeros((len(BANDS), 8, 8), np.uint16)
    write_raster(tmp_path / "empty.tif", empty, names=BANDS)
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    whole = (place / "tiles" / "bare" / "00.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    said = {"lacking": "B08", "empty": "every pixel is missing", "picture": "have no names", "cut": "damaged"}
    for path in tmp_path.iterdir():
        with pytest.raises(BadInputError) as caught:
            model.prepare(path.read_bytes())
        assert said[path.stem] in str(caught.value)
        assert "tmp" not in str(caught.value)
