"""What `map` is made from: masks by name, what is said of the scene, values unlike training, blocks of other inputs."""

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
from cli_runs import error_of
from mapped_run import make_mapped_run, save_vit
from tiny_masks import mask_folder, pair
from tiny_run import server
from tiny_scenes import NORTH, WEST, scene_values, write_raster

from lightning_tl.cli import main

NAMES = ("B02", "B03", "B04", "B08", "SCL")
DENSE = """\
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
  max_epochs: 1
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mapped_run(tmp_path_factory.mktemp("mapped"))


def mapped(run: Path, scene: Path, output: Path, *more: str) -> list[str]:
    return ["map", "--run", str(run), "--scene", str(scene), "--output", str(output), "--processes=1", *more]


def classes_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def cloudy(path: Path, name: str = "SCL") -> Path:
    """A scene of 40 × 60 pixels with a band of a classification: 9, clouds, over its first 20 columns."""
    clouds = np.full((1, 40, 60), 4, np.uint16)
    clouds[:, :, :20] = 9
    values = np.concatenate([scene_values(40, 60), clouds])
    return write_raster(path, values, descriptions=(*NAMES[:4], name))


def test_a_band_of_the_scene_masks_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = cloudy(tmp_path / "scene.tif")
    main(mapped(run, scene, tmp_path / "map.tif", "--stride=5", "--mask=SCL"))
    assert "masked by scene.tif:SCL: 0, 1, 3, 8, 9, 10 (clouds, their shadows and" in capsys.readouterr().out
    found = classes_of(tmp_path / "map.tif")
    assert (found[:, :20] == 255).all() and (found[:, 25:] != 255).all()
    told = json.loads((tmp_path / "map.json").read_text())
    assert (told["mask"], told["mask_values"]) == ("scene.tif:SCL", [0, 1, 3, 8, 9, 10])
    other = cloudy(tmp_path / "other.tif", "SCLouds")
    main(mapped(run, other, tmp_path / "no.tif", "--stride=5", "--mask=SCLouds", "--most_missing=1", "--mask_values=4"))
    assert (classes_of(tmp_path / "no.tif")[:, 20:] == 255).all()
    said = error_of(mapped(run, scene, tmp_path / "b.tif", "--mask=SLC"), capsys)
    assert "there is no file SLC, and scene.tif has no band 'SLC'; did you mean SCL?" in said


def test_a_file_of_the_products_folder_masks_it(run: Path, tmp_path: Path) -> None:
    product = tmp_path / "S2A_MSIL2A_20200613T101031_N0205_x"
    product.mkdir()
    values = scene_values(40, 60)
    for k, name in enumerate(NAMES[:4]):
        write_raster(product / f"T33UUP_20200613T101031_{name}_10m.tif", values[[k]], descriptions=None)
    coarse = np.full((1, 20, 30), 4, np.uint8)
    coarse[:, :, :10] = 3
    grid = rasterio.Affine(20, 0, WEST, 0, -20, NORTH)
    write_raster(product / "T33UUP_20200613T101031_SCL_20m.tif", coarse, descriptions=None, transform=grid)
    main(mapped(run, product, tmp_path / "map.tif", "--stride=5", "--mask=SCL"))
    found = classes_of(tmp_path / "map.tif")
    assert (found[:, :20] == 255).all() and (found[:, 25:] != 255).all()


def test_what_is_said_of_the_scenes_values_counts(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scene of a later processing baseline, with 1,000 added to what is stored."""
    plain = write_raster(tmp_path / "plain.tif", scene_values(40, 60))
    later = write_raster(tmp_path / "later.tif", scene_values(40, 60) + np.uint16(1000))
    main(mapped(run, plain, tmp_path / "a.tif", "--stride=5"))
    assert "has other values" not in capsys.readouterr().out
    main(mapped(run, later, tmp_path / "b.tif", "--stride=5", "--data.add_offset=-1000"))
    assert "has other values" not in capsys.readouterr().out
    assert (classes_of(tmp_path / "a.tif") == classes_of(tmp_path / "b.tif")).all()
    tens = write_raster(tmp_path / "tens.tif", scene_values(40, 60) * np.uint16(10))
    main(mapped(run, tens, tmp_path / "c.tif", "--stride=5"))
    said = capsys.readouterr().out
    assert "the scene has other values than the training images had, so that classes may be wrong: B02 around" in said
    assert "--data.add_offset or --data.scale" in said
    main(mapped(run, tens, tmp_path / "d.tif", "--stride=5", "--data.scale=0.00001"))
    assert "has other values" not in capsys.readouterr().out
    assert (classes_of(tmp_path / "a.tif") == classes_of(tmp_path / "d.tif")).mean() > 0.99


def test_what_the_map_is_made_from_is_not_replaced(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = cloudy(tmp_path / "scene.tif")
    shutil.copy(scene, tmp_path / "a.confidence.tif")
    before = scene.read_bytes()
    for output, given in (("scene.tif", scene), ("a.tif", tmp_path / "a.confidence.tif")):
        said = error_of(mapped(run, given, tmp_path / output, "--overwrite"), capsys)
        assert f"{given} is what the map is made from, and would be replaced: take another name" in said
    mask = write_raster(tmp_path / "clouds.tif", np.zeros((1, 40, 60), np.uint8), descriptions=None)
    said = error_of(mapped(run, scene, mask, "--overwrite", f"--mask={mask}"), capsys)
    assert "clouds.tif is what the map is made from" in said
    assert scene.read_bytes() == before


def test_blocks_of_other_inputs_are_made_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks are done, and the files could not be written; then something changes that no file's name shows."""
    source, scene = tmp_path / "source.tif", tmp_path / "scene.vrt"
    write_raster(source, scene_values(40, 60))
    rasterio.shutil.copy(source, scene, driver="VRT")
    mask = write_raster(tmp_path / "clouds.tif", np.eye(40, 60, dtype=np.uint8)[None], descriptions=None)

    def other_pixels() -> None:
        write_raster(source, scene_values(40, 60, seed=3)[:, :, ::-1].copy())

    def other_mask() -> None:
        write_raster(mask, np.ones((1, 40, 60), np.uint8) * (np.arange(60) < 15).astype(np.uint8), descriptions=None)

    for number, (first, change, second) in enumerate(
        [
            ([], other_pixels, []),
            ([], None, [f"--mask={mask}"]),
            ([f"--mask={mask}"], other_mask, [f"--mask={mask}"]),
            ([], None, ["--data.add_offset=-150"]),
        ]
    ):
        output = tmp_path / f"map{number}.tif"
        output.with_suffix(".confidence.tif").mkdir()  # so that it cannot be written
        error_of(mapped(run, scene, output, "--stride=5", "--overwrite", *first), capsys)
        assert (tmp_path / f"map{number}.tif.parts").is_dir()
        output.with_suffix(".confidence.tif").rmdir()
        if change is not None:
            change()
        main(mapped(run, scene, output, "--stride=5", *second))
        assert "1 blocks were made again" in capsys.readouterr().out, number
        main(mapped(run, scene, tmp_path / f"fresh{number}.tif", "--stride=5", *second))
        for suffix in (".tif", ".confidence.tif"):
            found = (tmp_path / f"{name}{number}{suffix}" for name in ("map", "fresh"))
            assert len({path.read_bytes().replace(b"fresh", b"map") for path in found}) == 1, (number, suffix)


def test_a_killed_map_of_pixels_goes_on_to_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask_folder(tmp_path / "data")
    save_vit(tmp_path)
    (tmp_path / "masks.yaml").write_text(DENSE.format(folder=tmp_path))
    quick = ["--report.export=false", "--test=false"]
    main(["--recipe", str(tmp_path / "masks.yaml"), f"--run_folder={tmp_path / 'run'}", *quick])
    picture = np.concatenate([pair(k, (48, 24))[0] for k in range(4)], 1)
    scene = write_raster(
        tmp_path / "scene.tif", np.tile(picture.transpose(2, 0, 1), (1, 1, 30)), descriptions=("red", "green", "blue")
    )
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    given = ["--overlap=4", "--window=16", "--probabilities"]
    main(mapped(tmp_path / "run", scene, whole, *given))
    process = server().Process(target=main, args=(mapped(tmp_path / "run", scene, cut, *given),))
    process.start()
    parts, deadline = tmp_path / "cut.tif.parts", time.monotonic() + 90
    while time.monotonic() < deadline and process.is_alive() and not list(parts.glob("*.npz")):
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(30)
    kept = len(list(parts.glob("*.npz")))
    assert process.exitcode == -signal.SIGKILL and not cut.exists() and kept >= 1
    for more, said in ((["--overlap=8", "--window=16"], "holds parts of another job"),):
        assert said in error_of(mapped(tmp_path / "run", scene, cut, *more), capsys)
    main([*mapped(tmp_path / "run", scene, cut, *given), "--processes=2"])
    assert f"going on: {kept} of " in capsys.readouterr().out
    for suffix in (".tif", ".confidence.tif", ".probabilities.tif"):
        assert cut.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
