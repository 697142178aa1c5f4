"""Labels of pixels from the command line: a run, its report, predicted masks, and what does not go with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from cli_runs import error_of
from PIL import Image
from ranks import on_two_ranks
from tiny import check_resumes, tiny_trainer, weights_hash
from tiny_dense import dense_backbone
from tiny_masks import CLASSES, mask_folder, pair

from datamodules import OverheadAugmentation, SegmentationDataModule
from lightning_tl.adaptation import LoRA, VisualPrompts, load_adapted
from lightning_tl.backbones import PyramidDecoder, load_exported
from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing
from lightning_tl.choosing.study.measures import measure_facts, measure_of
from lightning_tl.cli import main
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.metrics import confusion_of_pixels, mean_iou
from lightning_tl.strategies import FineTune, LinearProbe, NearestClassMean
from lightning_tl.tasks import PixelLabels
from lightning_tl.training.transfer_module import TransferModule

RECIPE = """\
# Labels of pixels of the user's own.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args:
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceVision
      init_args:
        pretrained: {folder}/vit
    decoder:
      class_path: lightning_tl.backbones.PyramidDecoder
      init_args: {{width: 16, stride: 2}}
    lr: 3.0e-3
    loss: lightning_tl.losses.CrossEntropyAndDice
data:
  class_path: datamodules.SegmentationDataModule
  init_args:
    manifest: {folder}/data/chips.csv
    augmentation: datamodules.OverheadAugmentation
    batch_size: 4
    num_workers: 0
unfreezing:
  epochs_per_phase: 1
trainer:
  max_epochs: 4
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a tiny ViT, a recipe, and a run of it in `run`."""
    folder = tmp_path_factory.mktemp("job")
    mask_folder(folder / "data")
    dense_backbone("vit", folder)
    (folder / "mine.yaml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
        patch.delenv("LIGHTNING_TL_PICTURES")
        main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    return tmp_path


def data_of(folder: Path, **options: Any) -> SegmentationDataModule:
    common = {"augmentation": OverheadAugmentation(), "batch_size": 4, "num_workers": 0, "seed": 7}
    return SegmentationDataModule(manifest=folder / "data" / "chips.csv", **{**common, **options})


def module_of(folder: Path, **options: Any) -> FineTune:
    torch.manual_seed(0)
    backbone = dense_backbone("vit", folder)
    torch.manual_seed(1)
    return FineTune(backbone, lr=3e-3, decoder=PyramidDecoder(8, 2), **options)


def test_what_a_run_leaves(job: Path) -> None:
    run = job / "run"
    described = RunDescription.read(run)
    assert described is not None and described.task == PixelLabels.name and described.class_names == CLASSES
    assert described.columns["legend"]["numbers"] == [0, 1, 2]
    assert described.calibration["why"].startswith("a temperature is of whole samples")
    test = json.loads((run / "summary.json").read_text())["test"]
    table = pd.read_parquet(run / "predictions" / "test.parquet")
    counts = np.stack(table["confusion"]).reshape(-1, 3, 3)
    assert test["miou"] == pytest.approx(float(mean_iou(counts.sum(0))))
    assert test["miou"] == pytest.approx(test["logged"]["test_miou"], abs=1e-6)
    assert test["miou_interval"]["over"] == "blocks" and test["miou_interval"]["blocks"] == 3
    assert test["pixels"] == 6 * 15 * 16 == int(counts.sum())
    text = (run / "summary.txt").read_text()
    assert "Test on 6 images, 1,440 pixels with a label" in text and "mean IoU" in text and "over 3 blocks" in text
    assert max(map(len, text.splitlines())) <= 80 or "/" in max(text.splitlines(), key=len)
    card = (run / "model" / "README.md").read_text()
    assert "pipeline_tag: image-segmentation" in card and f"Mean IoU {test['miou']:.3f} on 6 images" in card
    assert {path.name for path in (run / "pictures").iterdir()} >= {"masks.png", "confusion_matrix.png", "curves.png"}


def test_masks_of_the_test_are_those_that_were_scored(job: Path) -> None:
    table = pd.read_parquet(job / "run" / "predictions" / "test.parquet").set_index("id")
    for k in (6, 7):
        with Image.open(job / "run" / "predictions" / "test_masks" / "images" / f"{k:02d}.png") as picture:
            assert picture.mode == "P" and picture.convert("RGB").getpixel((0, 0)) != (0, 0, 0)
            predicted = torch.from_numpy(np.asarray(picture).astype(np.int64))
        truth = torch.from_numpy(pair(k)[1].astype(np.int64))
        counts = confusion_of_pixels(predicted[None], torch.where(truth == 255, -100, truth)[None], 3)
        assert counts.flatten().tolist() == table.loc[f"images/{k:02d}.png", "confusion"].tolist()


def test_a_later_test_finds_the_same(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((job / "run" / "summary.json").read_text())["test"]
    main(["test", "--run", str(job / "run")])
    assert json.loads((job / "run" / "summary.json").read_text())["test"]["miou"] == before["miou"]
    assert f"{before['miou']:.3f}" in capsys.readouterr().out


def test_predicted_masks_have_the_size_of_their_images(job: Path, tmp_path: Path) -> None:
    for number, size in enumerate([(16, 16), (20, 44), (50, 31)]):
        Image.fromarray(pair(number, size)[0]).save(tmp_path / f"new {number}.jpg", quality=95)
    main(["predict", "--run", str(job / "run"), "--data.manifest=null", f"--data.root={tmp_path}"])
    table = pd.read_parquet(job / "run" / "predictions" / "predict.parquet").set_index("id")
    assert list(table.columns) == ["mask", "pixels"] and len(table) == 3
    for number, size in enumerate([(16, 16), (20, 44), (50, 31)]):
        row = table.loc[f"new {number}.jpg"]
        with Image.open(job / "run" / "predictions" / "masks" / row["mask"]) as picture:
            stored = np.asarray(picture)
        assert stored.shape == size
        assert np.bincount(stored.ravel(), minlength=3).tolist() == row["pixels"].tolist()
    first = np.asarray(Image.open(job / "run" / "predictions" / "masks" / "new 0.jpg.png"))
    truth = pair(0)[1]
    assert (first == truth)[truth != 255].mean() > 0.6


def test_the_exported_model_gives_the_same_masks(job: Path) -> None:
    exported = load_exported(job / "run" / "model")
    assert exported.class_names == CLASSES
    assert json.loads((job / "run" / "model" / "classifier.json").read_text())["task"] == PixelLabels.name
    data = data_of(job)
    data.serve(None)
    spec = exported.backbone.input_spec
    own = SegmentationDataModule(
        manifest=job / "data" / "chips.csv",
        image_size=16,
        mean=spec.mean,
        std=spec.std,
        num_workers=0,  # type: ignore[union-attr]
    )
    own.setup("fit")
    batch = next(iter(own.test_dataloader()))
    with torch.no_grad():
        predicted = exported(batch["inputs"]).argmax(1)
    counts = confusion_of_pixels(predicted, batch["target"], 3).flatten(1).tolist()
    table = pd.read_parquet(job / "run" / "predictions" / "test.parquet")
    assert counts == np.stack(table["confusion"]).tolist()


@pytest.mark.parametrize("adaptation", [LoRA(r=2), VisualPrompts(3)], ids=lambda a: type(a).__name__)
def test_exports_of_adaptations_give_equal_logits(adaptation: Any, job: Path, tmp_path: Path) -> None:
    module = module_of(job, adaptation=adaptation)
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data_of(job))
    module.eval()
    module.export(tmp_path / "model")
    read = load_exported if isinstance(adaptation, LoRA) else load_adapted
    exported = read(tmp_path / "model")
    images = module.backbone.example_inputs(2)
    with torch.no_grad():
        torch.testing.assert_close(exported(images), module(images), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_is_opened_without_data(job: Path) -> None:
    path = next((job / "run" / "checkpoints").glob("best*"))
    module = FineTune.load_from_checkpoint(path, weights_only=True).eval()
    assert isinstance(module.task, PixelLabels)
    exported = load_exported(job / "run" / "model")
    images = exported.backbone.example_inputs(2)
    with torch.no_grad():
        torch.testing.assert_close(module(images), exported(images))


def unfreezing() -> list[pl.Callback]:
    return [ProgressiveUnfreezing(epochs_per_phase=1), DiscriminativeLearningRates(decay=0.5)]


def test_resumed_runs_are_equal_bit_by_bit(job: Path, tmp_path: Path) -> None:
    check_resumes(lambda: module_of(job), tmp_path, unfreezing, lambda: data_of(job))


def scores_of(folder: str, out: str, devices: int) -> tuple[dict[str, float], str]:
    """Metrics of a test of weights that no training moved, and the weights after one epoch."""
    job = Path(folder)
    module = module_of(job)
    options: dict[str, Any] = {"devices": devices, "strategy": "ddp"} if devices > 1 else {}
    trainer = tiny_trainer(out, max_epochs=1, use_distributed_sampler=False, **options)
    found = trainer.test(module, datamodule=data_of(job), verbose=False)[0]
    trainer = tiny_trainer(out, unfreezing(), max_epochs=4, use_distributed_sampler=False, **options)
    trainer.fit(module, datamodule=data_of(job))
    return {name: float(value) for name, value in found.items()}, weights_hash(module)


def test_two_processes_score_as_one(job: Path, tmp_path: Path) -> None:
    one, _ = scores_of(str(job), str(tmp_path / "one"), 1)
    results = on_two_ranks(scores_of, tmp_path, str(job), str(tmp_path / "two"), 2)
    assert results[0] == results[1]
    for name in ("test_miou", "test_pixel_accuracy"):
        assert results[0][0][name] == pytest.approx(one[name], abs=1e-7)
    assert results[0][0]["test_loss"] == pytest.approx(one["test_loss"], abs=1e-5)


# -------------------------------------------------------------------- comparing, and what does not go together


def test_two_runs_are_compared_image_by_image(job: Path, tmp_path: Path) -> None:
    run = job / "run"
    other = tmp_path / "other"
    shutil.copytree(run, other)
    table = pd.read_parquet(other / "predictions" / "test.parquet")
    table["miou"] -= 0.2
    table.to_parquet(other / "predictions" / "test.parquet")
    main(["test", "--run", str(run), "--against", str(other), "--report.export=false"])
    found = json.loads((run / "summary.json").read_text())["test"]["against"]
    assert found["difference"] == pytest.approx(0.2) and found["samples"] == 6
    measure = measure_of(measure_facts(run))
    samples = measure.samples(run)
    assert measure.column == "image_miou" and samples["block"].nunique() == 3 and samples["value"].between(0, 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "--run", "{run}", "--output", "out.parquet"],
            "the run labels pixels, .*predict --run writes",
        ),
        (["predict", "--run", "{run}", "--calibrated"], "no temperature to calibrate with"),
        (["export", "--run", "{run}", "--output", "out"], "the run labels pixels"),
        (["predict", "--run", "{run}", "--priors=estimated"], "pixel labels|one label"),
    ],
)
def test_what_does_not_go_with_masks(
    arguments: list[str], message: str, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    error = error_of([word.format(run=job / "run") for word in arguments], capsys)
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("kind", "message"),
    [(LinearProbe, "use FineTune with adaptation"), (NearestClassMean, "pixel labels")],
)
def test_strategies_of_one_vector_are_refused(kind: type[TransferModule], message: str, job: Path) -> None:
    module = kind(dense_backbone("vit", job))
    with pytest.raises(ValueError, match=message):
        tiny_trainer(job / "none").fit(module, datamodule=data_of(job))


def test_one_vector_of_an_image_is_not_judged_by_pixels(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(["backbones", "--recipe", str(job / "mine.yaml"), "--candidates", str(job / "vit")], capsys)
    assert "has pixel labels, and one vector of a sample is judged by one label" in error


def test_classes_are_named_by_number_on_the_command_line(job: Path) -> None:
    names = "--data.class_names={0: field, 1: wood, 2: water}"
    main(
        ["--recipe", str(job / "mine.yaml"), "--run_folder=named", names, "--trainer.max_epochs=1", "--unfreezing=null"]
    )
    described = RunDescription.read(Path("named"))
    assert described is not None and described.class_names == CLASSES
    main(["test", "--run", "named"])
