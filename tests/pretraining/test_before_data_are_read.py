"""What objectives refuse before an image is read, where they stop, and what a resumed run shares with the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
import yaml
from cli_runs import error_of, make_job
from tiny_crops import CroppedImages
from tiny_dense import dense_backbone
from tiny_run import Run, killed_and_resumed, launch

from lightning_tl.backbones import Backbone, TorchvisionResNet
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.cli import main
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.losses import WhitenedSmoothL1
from lightning_tl.pretraining import (
    ContrastivePretraining,
    Dino,
    FeatureDistillation,
    MaskedAutoencoder,
    MaskedPixels,
    Pretraining,
)

SPEC = ImageSpec(16, 3, (0.5,) * 3, (0.5,) * 3)
Options = dict[str, Any]
# of each objective: its class, options for a quick run, and views that it reads
OBJECTIVES: dict[str, tuple[Callable[..., Pretraining], Options, int]] = {
    "contrastive": (ContrastivePretraining, {"projection": 8}, 2),
    "dino": (Dino, {"prototypes": 16, "hidden": 8, "bottleneck": 4}, 2),
    "autoencoder": (
        MaskedAutoencoder,
        {"decoder_hidden_size": 16, "decoder_layers": 1, "decoder_heads": 2},
        1,
    ),
    "pixels": (MaskedPixels, {}, 1),
    "distillation": (FeatureDistillation, {}, 1),
}


class OneOrMoreViews(CroppedImages):
    """As objectives that read one view take it: [batch, channels, height, width]."""

    def fetch(self, indices: Any, epoch: int) -> dict[str, Any]:
        batch = super().fetch(indices, epoch)
        return batch if self.views > 1 else {**batch, "inputs": batch["inputs"][:, 0]}


def module(name: str, folder: Path, backbone: Backbone | None = None, **options: Any) -> Pretraining:
    kind, given, _ = OBJECTIVES[name]
    backbone = backbone or dense_backbone("vit", folder)
    torch.manual_seed(3)
    more = {"teacher": dense_backbone("vit", folder)} if kind is FeatureDistillation else {}
    return kind(backbone, **(given | more | options))


def images(name: str, **options: Any) -> OneOrMoreViews:
    return OneOrMoreViews(SPEC, **({"views": OBJECTIVES[name][2], "local_views": 0} | options))


def never_read(data: pl.LightningDataModule) -> pl.LightningDataModule:
    """Data that fail where they are looked at."""

    def fail(*_: Any) -> None:
        raise AssertionError("data were looked at")

    data.prepare_data = data.setup = data.train_dataloader = fail  # type: ignore[method-assign, assignment]
    return data


# -------------------------------------------------------------------- before data are read


VIEWS = [(name, views) for name in OBJECTIVES for views in (1, 2, 3) if name != "distillation"]
READ = {"contrastive": (2,), "dino": (2, 3), "autoencoder": (1,), "pixels": (1,)}


@pytest.mark.parametrize(("name", "views"), [(name, views) for name, views in VIEWS if views not in READ[name]])
def test_other_views(name: str, views: int, tmp_path: Path) -> None:
    wanted = OBJECTIVES[name][2]
    message = rf"reads (at least )?{wanted} views? of each image, and OneOrMoreViews makes {views}: set views: {wanted}"
    with pytest.raises(ValueError, match=message):
        tiny.tiny_trainer(tmp_path).fit(module(name, tmp_path), datamodule=never_read(images(name, views=views)))


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "dino"])
def test_local_crops_that_nobody_reads(name: str, tmp_path: Path) -> None:
    data = never_read(images(name, local_views=3))
    with pytest.raises(ValueError, match=r"reads no local crops, .* make 3 of each image in vain: set local_views: 0"):
        tiny.tiny_trainer(tmp_path).fit(module(name, tmp_path), datamodule=data)


@pytest.mark.parametrize("name", ["contrastive", "dino"])
def test_a_batch_of_one_where_images_are_told_from_each_other(name: str, tmp_path: Path) -> None:
    data = never_read(images(name, batch_size=1))
    with pytest.raises(ValueError, match="batch_size is 1, in 1 process: use a batch of at least 2"):
        tiny.tiny_trainer(tmp_path).fit(module(name, tmp_path), datamodule=data)


@pytest.mark.parametrize("name", ["autoencoder", "pixels", "distillation"])
def test_a_batch_of_one_where_each_image_is_its_own_task(name: str, tmp_path: Path) -> None:
    trainer = tiny.tiny_trainer(tmp_path, max_steps=2)
    trainer.fit(module(name, tmp_path), datamodule=images(name, batch_size=1))
    assert trainer.global_step == 2


class Unsaved(TorchvisionResNet):
    """It has no folder of its own."""

    save = Backbone.save


@pytest.mark.parametrize("name", ["contrastive", "dino", "pixels", "distillation"])
def test_what_could_not_be_kept_is_not_trained(name: str, tmp_path: Path) -> None:
    backbone = Unsaved("resnet18", weights=None, image_size=16)
    with pytest.raises(ValueError, match="Unsaved has no folder of its own, so nothing of its training could be kept"):
        tiny.tiny_trainer(tmp_path).fit(module(name, tmp_path, backbone), datamodule=never_read(images(name)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_pixel_that_is_no_number_stops_the_run_and_is_named(name: str, tmp_path: Path) -> None:
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1)
    with pytest.raises(FloatingPointError, match=r"the loss is nan at epoch 0, batch \d; samples: .*\b11\b"):
        trainer.fit(module(name, tmp_path), datamodule=images(name, bad=11))
    assert not (tmp_path / "model").exists()


# -------------------------------------------------------------------- resumes


OTHERS: list[tuple[str, Options, Options, str]] = [
    ("contrastive", {"temperature": 0.3}, {}, "temperature 0.2 and now 0.3"),
    ("contrastive", {"projection": 4}, {}, "projection 8 and now 4"),
    ("autoencoder", {"mask_ratio": 0.5}, {}, "mask_ratio 0.6 and now 0.5"),
    ("autoencoder", {"normalise_patches": True}, {}, "normalise_patches False and now True"),
    ("autoencoder", {"decoder_layers": 2}, {}, "decoder_layers 1 and now 2"),
    ("pixels", {"mask_ratio": 0.5}, {}, "mask_ratio 0.6 and now 0.5"),
    ("pixels", {"mask_size": 8}, {}, "mask_size 4 and now 8"),
    ("distillation", {"loss": WhitenedSmoothL1()}, {}, "loss CosineDistance and now WhitenedSmoothL1"),
    ("distillation", {}, {"views": 2}, "crops 1 view and now 2 views"),
    ("dino", {}, {"local_views": 2, "local_size": 8}, "crops 2 views and now 2 views and 2 local crops of 8 pixels"),
]


@pytest.mark.parametrize(("name", "options", "data", "message"), OTHERS)
def test_a_resume_with_other_settings(name: str, options: Options, data: Options, message: str, tmp_path: Path) -> None:
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=2)
    tiny.tiny_trainer(tmp_path, [save], max_steps=2).fit(module(name, tmp_path), datamodule=images(name))
    trainer = tiny.tiny_trainer(tmp_path, max_steps=4)
    with pytest.raises(ValueError, match=f"the checkpoint was made with other settings: {message}"):
        trainer.fit(
            module(name, tmp_path, **options),
            datamodule=images(name, **data),
            ckpt_path=save.last_model_path,
            weights_only=True,
        )


def test_a_resume_with_another_objective(tmp_path: Path) -> None:
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=2)
    tiny.tiny_trainer(tmp_path, [save], max_steps=2).fit(module("pixels", tmp_path), datamodule=images("pixels"))
    trainer, path = tiny.tiny_trainer(tmp_path, max_steps=4), save.last_model_path
    with pytest.raises(ValueError, match="other settings: objective MaskedPixels and now MaskedAutoencoder"):
        data = images("autoencoder")
        trainer.fit(module("autoencoder", tmp_path), datamodule=data, ckpt_path=path, weights_only=True)


@pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")
def test_a_refused_resume_leaves_the_run_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_job(tmp_path)
    run = tmp_path / "run"
    words = ["--recipe", "pretrain_satellite_contrastive", "--data=datamodules.UnlabelledImagesDataModule"]
    words += [f"--data.root={tmp_path / 'images'}", "--data.views=2", "--data.batch_size=8", "--data.num_workers=0"]
    words += [f"--model.backbone.pretrained={tmp_path / 'vit'}", "--probe=null", "--run_folder", str(run)]
    words += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    main([*words, "--trainer.limit_train_batches=2", "--trainer.enable_progress_bar=false"])
    before = (run / "config.yaml").read_bytes()
    resume = ["fit", "--resume", str(run), "--trainer.max_epochs=2"]
    assert "temperature 0.5 and now 0.3" in error_of([*resume, "--model.temperature=0.3"], capsys)
    assert (run / "config.yaml").read_bytes() == before
    main(resume)
    told = yaml.safe_load((run / "config.yaml").read_text())
    assert told["trainer"]["max_epochs"] == 2 and told["model"]["init_args"]["temperature"] == 0.5


def no_callbacks() -> list[pl.Callback]:
    return [pl.Callback()]


class Built:
    """Builds module and data in another process."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def __call__(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        return module(self.name, self.folder), images(self.name)


@pytest.mark.parametrize("name", ["contrastive", "pixels", "distillation"])
def test_a_killed_run_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    dense_backbone("vit", tmp_path)
    shared: Options = {"build": Built(name, tmp_path), "extra": no_callbacks, "save_every": 2}
    through = launch(Run(str(tmp_path / "through"), **shared, trainer={"max_epochs": 2}))
    killed = Run(str(tmp_path / "killed"), **shared, trainer={"max_epochs": 2})
    resumed = killed_and_resumed(killed, [("on_train_batch_start", 5)])
    assert through[0] is not None and resumed[0] is not None
    assert "error" not in through[0] and resumed[0]["step"] == through[0]["step"]
    assert resumed[0]["weights"] == through[0]["weights"]
