"""`chips`, a run on them, and `map`: as a user types them, with interruptions and files that are broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cli_runs import error_of, make_job
from mapped_run import make_mapped_run, save_vit
from tiny_masks import mask_folder, pair
from tiny_run import server
from tiny_scenes import scene_values, write_raster

from lightning_tl.cli import main

CLASSES = ["bare", "forest", "water"]
MASKS = """\
# Pixels of small pictures.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args:
    lr: 0.01
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceVision
      init_args:
        pretrained: {folder}/vit
data:
  class_path: datamodules.SegmentationDataModule
  init_args:
    manifest: {folder}/data/chips.csv
    batch_size: 4
    num_workers: 0
trainer:
  max_epochs: 12
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mapped_run(tmp_path_factory.mktemp("mapped"))


@pytest.fixture(scope="module")
def long_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of several blocks."""
    folder = tmp_path_factory.mktemp("long")
    plain = write_raster(folder / "plain.tif", scene_values(64, 4000), nodata=0)
    rasterio.shutil.copy(plain, folder / "long.tif", driver="COG", blocksize=128, compress="NONE", overviews="NONE")
    return folder / "long.tif"


def mapped(run: Path, scene: Path, output: Path, *more: str) -> list[str]:
    return ["map", "--run", str(run), "--scene", str(scene), "--output", str(output), "--processes=1", *more]


def test_a_scene_becomes_a_map_with_areas_and_a_picture(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = scene_values()
    values[:, 50:80, 120:150] = 0  # no data
    scene = write_raster(tmp_path / "scene.tif", values, nodata=0)
    clouds = np.full((1, 100, 150), 4, np.uint8)  # on a coarser grid; 4 is vegetation
    clouds[0, 60:80, :20] = 9
    grid = rasterio.Affine(20, 0, 500_000, 0, -20, 5_500_000)
    mask = write_raster(tmp_path / "SCL_20m.tif", clouds, descriptions=None, transform=grid)
    main(mapped(run, scene, tmp_path / "map.tif", "--stride=5", "--window=20", "--probabilities", f"--mask={mask}"))
    said = capsys.readouterr().out
    assert "the map is as fine as its cells of 5 × 5 pixels (50 m)" in said and "window of 20 × 20 pixels" in said
    with rasterio.open(tmp_path / "map.tif") as file, rasterio.open(scene) as source:
        found = file.read(1)
        assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, source.shape)
    missing = np.zeros((200, 300), bool)
    missing[50:80, 120:150] = True
    missing[120:160, :40] = True
    assert ((found == 255) >= missing).all() and (found == 255).sum() < missing.sum() * 1.1
    want = np.repeat([2, 1, 0], 100)[None].repeat(200, 0)
    sure = (found != 255) & (np.abs(np.arange(300) % 100 - 50) < 40)
    assert (found == want)[sure].mean() > 0.95
    told = json.loads((tmp_path / "map.json").read_text())
    assert [row["name"] for row in told["classes"]] == CLASSES
    assert sum(row["km2"] for row in told["classes"]) == pytest.approx((found != 255).sum() * 1e-4, rel=1e-3)
    assert told["pixels_without_class"] == (found == 255).sum()
    with rasterio.open(tmp_path / "map.probabilities.tif") as file:
        probabilities = file.read()
        assert file.descriptions == tuple(CLASSES)
    assert (probabilities.argmax(0) == found)[found != 255].all() and (probabilities[:, found == 255] == 65_535).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        "SCL_20m.tif", "map.confidence.tif", "map.json", "map.md", "map.png", "map.probabilities.tif", "map.tif",
        "map.tif.aux.xml", "scene.tif",
    }  # fmt: skip


def test_a_map_is_what_predicting_its_windows_one_by_one_gives(run: Path, tmp_path: Path) -> None:
    """The windows are cut as chips and go through `predict`, which reads files."""
    main(mapped(run, run.parent / "scene.tif", tmp_path / "map.tif", "--stride=20", "--probabilities"))  # windows of 20
    with rasterio.open(tmp_path / "map.probabilities.tif") as file:
        found = file.read()
    main(["predict", "--run", str(run), f"--data.predict_root={run.parent / 'chips' / 'images'}"])
    import pandas as pd

    table = pd.read_parquet(run / "predictions" / "predict.parquet")
    assert len(table) == 150
    for name, probabilities in zip(table["id"], table["probabilities"], strict=True):
        row, column = int(Path(name).stem[-14:-8]), int(Path(name).stem[-6:])
        np.testing.assert_allclose(found[:, row + 10, column + 10], np.array(probabilities) * 10_000, atol=0.6)


def test_a_killed_map_goes_on_and_two_processes_write_the_same_bytes(
    run: Path, long_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    main(mapped(run, long_scene, whole, "--stride=3", "--window=8"))
    process = server().Process(target=main, args=(mapped(run, long_scene, cut, "--stride=3", "--window=8"),))
    process.start()
    parts, deadline = tmp_path / "cut.tif.parts", time.monotonic() + 90
    while time.monotonic() < deadline and process.is_alive() and not list(parts.glob("*.npz")):
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    assert process.exitcode == -signal.SIGKILL and not cut.exists() and 1 <= len(kept) < 4
    told = error_of(mapped(run, long_scene, cut, "--stride=4"), capsys)
    assert "holds parts of another job" in told
    main([*mapped(run, long_scene, cut, "--stride=3", "--window=8"), "--processes=2"])
    assert f"going on: {len(kept)} of 4 blocks were done before" in capsys.readouterr().out
    for suffix in (".tif", ".confidence.tif"):
        assert cut.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert not parts.exists()
    assert "is there already: take another name" in error_of(mapped(run, long_scene, cut), capsys)


def test_a_scene_that_is_cut_off_is_named_and_goes_on_when_it_is_mended(
    run: Path, long_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, output = tmp_path / "scene.tif", tmp_path / "map.tif"
    scene.write_bytes(long_scene.read_bytes()[: long_scene.stat().st_size // 2])
    told = error_of(mapped(run, scene, output, "--stride=8"), capsys)
    assert "scene.tif cannot be read in rows 0 to 63, columns 1" in told
    kept = len(list((tmp_path / "map.tif.parts").glob("*.npz")))
    assert kept >= 1 and f"{kept} of 4 blocks of the map are done and stay in" in told
    shutil.copy(long_scene, scene)
    main(mapped(run, scene, output, "--stride=8"))
    main(mapped(run, long_scene, tmp_path / "whole.tif", "--stride=8"))
    for suffix in (".tif", ".confidence.tif"):
        with rasterio.open(output.with_suffix(suffix)) as one, rasterio.open(tmp_path / f"whole{suffix}") as other:
            assert (one.read() == other.read()).all()
    capsys.readouterr()


def test_blocks_of_a_scene_that_changed_are_made_again(
    run: Path, long_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, output = tmp_path / "scene.tif", tmp_path / "map.tif"
    values = scene_values(64, 4000)
    other = values.copy()
    other[:, :, :1000] = other[:, :, 3000:]
    write_raster(scene, other, nodata=0)
    cut = long_scene.read_bytes()
    main(mapped(run, scene, tmp_path / "first.tif", "--stride=8"))
    broken = tmp_path / "broken.tif"
    rasterio.shutil.copy(scene, broken, driver="COG", blocksize=128, compress="NONE", overviews="NONE")
    scene.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    error_of(mapped(run, scene, output, "--stride=8"), capsys)  # some blocks of the other scene are done
    scene.write_bytes(cut)
    main(mapped(run, scene, output, "--stride=8"))
    assert "1 blocks were made again, as the scene changed meanwhile" in capsys.readouterr().out
    main(mapped(run, long_scene, tmp_path / "whole.tif", "--stride=8"))
    with rasterio.open(output) as one, rasterio.open(tmp_path / "whole.tif") as whole:
        assert (one.read() == whole.read()).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--scene=nothing.tif"], "there is no file nothing.tif"),
        (["--scene=bare.tif"], "has no georeference, so the map would have no place; --no_georeference maps it"),
        (["--scene=three.tif"], "three.tif has no band 'B08'"),
        (["--scene=small.tif"], "the scene has 6 × 7 pixels, and the model reads windows of 20 × 20"),
        (["--scene=empty.tif"], "no pixel of empty.tif could be mapped"),
        (["--stride=21"], "stride must be from 1 to the window of 20 pixels, got 21"),
        (["--overlap=2"], "--overlap is for runs that label pixels"),
        (["--value_range=0,1"], "--value_range is for runs on pictures of 8 bits"),
        (["--value_range=1,0"], "--value_range must be LOW,HIGH with LOW below HIGH, got 1,0"),
        (["--mask=nothing.tif"], "there is no file nothing.tif"),
        (["--mask=bare.tif:7"], "bare.tif has 4 bands, and the mask is to be band 7"),
        (["--mask=elsewhere.tif"], "the mask elsewhere.tif does not lie over the scene"),
        (["--mask_values=1"], "--mask_values are of a --mask: name it"),
        (["--mask=bare.tif", "--mask_values=a"], "--mask_values must be numbers with commas between them, got a"),
        (["--output=map.png"], "must end in .tif, got map.png"),
        (["--output=no/map.tif"], "there is no folder"),
        (["--processes=0"], "--processes must be at least 1, got 0"),
        (["--most_missing=2"], "--most_missing is a share and must be in [0, 1], got 2"),
        (["--calibrated"], "--calibrated needs a temperature of the run"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_refused(
    more: list[str], said: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.parent / "refused"
    if not folder.is_dir():
        folder.mkdir()
        values = scene_values(24, 30)
        write_raster(folder / "bare.tif", values, crs=None)
        write_raster(folder / "three.tif", values[:3])
        away = rasterio.Affine(10, 0, 700_000, 0, -10, 5_500_000)
        write_raster(folder / "elsewhere.tif", values[:1], transform=away)
        write_raster(folder / "small.tif", values[:, :6, :7])
        write_raster(folder / "empty.tif", values * 0, nodata=0)
    monkeypatch.chdir(folder)
    given = mapped(run, run.parent / "scene.tif", Path("never.tif"), *more)
    assert said in error_of(given, capsys)
    assert not Path("never.tif").exists()
    shutil.rmtree("never.tif.parts", ignore_errors=True)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_without_a_place_is_mapped_when_asked_to(run: Path, tmp_path: Path) -> None:
    bare = write_raster(tmp_path / "bare.tif", scene_values(40, 60), crs=None)
    main(mapped(run, bare, tmp_path / "map.tif", "--no_georeference"))
    told = json.loads((tmp_path / "map.json").read_text())
    assert "km2" not in told["classes"][0]
    assert sum(row["pixels"] for row in told["classes"]) == 2400
    assert " pixels |" in (tmp_path / "map.md").read_text()


def test_a_run_on_pictures_reads_the_bands_that_are_red_green_and_blue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--trainer.max_epochs=1", "--report.export=false", "--unfreezing=null"]
    main(["--recipe", str(make_job(tmp_path)), *quick, f"--run_folder={tmp_path / 'run'}"])
    values = np.random.default_rng(0).integers(0, 255, (4, 16, 24)).astype(np.uint8)
    names = ("nir", "blue", "green", "red")
    scene = write_raster(tmp_path / "scene.tif", values, descriptions=names)
    main(mapped(tmp_path / "run", scene, tmp_path / "map.tif", "--stride=8", "--probabilities"))
    from PIL import Image

    (tmp_path / "cells").mkdir()
    for row in (0, 8):
        for column in (0, 8, 16):
            cell = values[[3, 2, 1], row : row + 8, column : column + 8].transpose(1, 2, 0)
            Image.fromarray(np.ascontiguousarray(cell)).save(tmp_path / "cells" / f"{row}_{column}.png")
    main(["predict", "--run", str(tmp_path / "run"), f"--data.predict_root={tmp_path / 'cells'}"])
    import pandas as pd

    with rasterio.open(tmp_path / "map.probabilities.tif") as file:
        found = file.read()
    table = pd.read_parquet(tmp_path / "run" / "predictions" / "predict.parquet")
    for name, probabilities in zip(table["id"], table["probabilities"], strict=True):
        row, column = (int(part) for part in Path(name).stem.split("_"))
        np.testing.assert_allclose(found[:, row, column], np.array(probabilities) * 10_000, atol=0.6)
    deep = write_raster(tmp_path / "deep.tif", values.astype(np.uint16) * 30, descriptions=names)
    capsys.readouterr()
    told = error_of(mapped(tmp_path / "run", deep, tmp_path / "deep_map.tif"), capsys)
    assert "holds uint16, and the run was trained on pictures of 8 bits" in told and "--value_range LOW,HIGH" in told
    main(mapped(tmp_path / "run", deep, tmp_path / "deep_map.tif", "--stride=8", "--value_range=0,7650"))
    three = write_raster(tmp_path / "three.tif", values[:3], descriptions=("nir", "blue", "green"))
    capsys.readouterr()
    assert "three.tif has no band 'red'" in error_of(mapped(tmp_path / "run", three, tmp_path / "no.tif"), capsys)


def test_another_scale_than_in_training_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = rasterio.Affine(30, 0, 500_000, 0, -30, 5_500_000)
    scene = write_raster(tmp_path / "scene.tif", scene_values(40, 60), transform=grid)
    main(mapped(run, scene, tmp_path / "map.tif", "--stride=10"))
    said = capsys.readouterr().out
    assert "window of 20 × 20 pixels" in said  # as the chips
    assert "pixels of the scene are 30 m wide, those of the run's training images 10 m" in said


def test_a_run_on_masks_gives_every_pixel_a_class_in_the_colours_of_its_legend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = mask_folder(tmp_path / "data")
    legend = [{"number": k, "name": name, "colour": f"#{k}0{k}0{k}0"} for k, name in enumerate(("a", "b", "c"))]
    (data / "classes.json").write_text(json.dumps(legend))
    save_vit(tmp_path)
    recipe = tmp_path / "masks.yaml"
    recipe.write_text(MASKS.format(folder=tmp_path))
    main(["--recipe", str(recipe), f"--run_folder={tmp_path / 'run'}", "--report.export=false", "--test=false"])
    pairs = [[pair(3 * row + k, (24, 24)) for k in range(3)] for row in range(2)]
    picture, truth = (np.concatenate([np.concatenate([each[k] for each in row], 1) for row in pairs]) for k in (0, 1))
    scene = write_raster(tmp_path / "scene.tif", picture.transpose(2, 0, 1), descriptions=("red", "green", "blue"))
    capsys.readouterr()
    main(mapped(tmp_path / "run", scene, tmp_path / "map.tif", "--overlap=6", "--window=16", "--probabilities"))
    assert "windows of 16 × 16 pixels overlap by 6, and their answers are blended" in capsys.readouterr().out
    with rasterio.open(tmp_path / "map.probabilities.tif") as file:
        total = file.read().astype(int).sum(0)
        assert (file.shape, file.count) == ((48, 72), 3) and np.abs(total - 10_000).max() <= 2
    with rasterio.open(tmp_path / "map.tif") as file:
        assert [file.colormap(1)[k][:3] for k in range(3)] == [(16 * k,) * 3 for k in range(3)]
        found = file.read(1)
    assert (found == truth)[truth != 255].mean() > 0.7
    told = error_of(mapped(tmp_path / "run", scene, tmp_path / "other.tif", "--stride=4"), capsys)
    assert "--stride is for runs on tiles; this run labels pixels" in told
