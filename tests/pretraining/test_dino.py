"""DINO over every family of backbones: its teacher, its schedules, several processes, resumes, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
from ranks import on_two_ranks
from tiny_crops import IMAGES, CroppedImages
from tiny_dense import FAMILIES, dense_backbone
from tiny_run import Run, killed_and_resumed, launch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_tl.backbones import Backbone, HuggingFaceText, HuggingFaceVision, TorchvisionResNet
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.pretraining import Dino
from lightning_tl.pretraining.dino.teacher_schedule import TeacherSchedule
from lightning_tl.training.schedules import Constant

SPEC = ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)
HEAD: dict[str, Any] = {"prototypes": 16, "hidden": 8, "bottleneck": 4, "schedule": Constant(), "lr": 1e-3}


def dino(folder: Path, **options: Any) -> Dino:
    backbone = tiny.tiny_vit(folder)
    torch.manual_seed(3)
    return Dino(backbone, **(HEAD | options))


def fitted(module: Dino, folder: Path, data: pl.LightningDataModule | None = None, **trainer: Any) -> pl.Trainer:
    made = tiny.tiny_trainer(folder, **({"max_epochs": 1} | trainer))
    made.fit(module, datamodule=data or CroppedImages(SPEC))
    return made


# -------------------------------------------------------------------- over the backbones


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("swin", "timm_convnext")])
def test_every_family_is_trained_and_opens_again(family: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    size = backbone.input_spec.image_size  # type: ignore[union-attr]
    bands = ("nir", "red", "green", "blue", "swir16")
    spec = ImageSpec(size, 5, (0.1,) * 5, (0.2,) * 5, bands)
    module = Dino(backbone, **HEAD)
    fitted(module, tmp_path, CroppedImages(spec), max_steps=2)
    opened = type(backbone)(str(tmp_path / "model")).eval()
    assert opened.input_spec == spec
    images = torch.randn(3, 5, size, size)
    assert module.teacher is not None
    with torch.no_grad():
        torch.testing.assert_close(opened(images), module.eval().features(images))
        torch.testing.assert_close(opened(images), module.teacher(images))


@pytest.mark.parametrize(
    ("family", "side", "message"),
    [
        ("vit", 6, "into patches of 4 x 4 pixels, which do not tile 6 x 6: take 4 or 8"),
        ("timm_vit", 8, "into patches of 16 x 16 pixels, which do not tile 8 x 8: take 16"),
        ("swin", 8, r"cannot read images of 8 x 8 pixels .*own size are others afterwards\): take another size"),
        ("swin", 4, "cannot read images of 4 x 4 pixels beside its own of 16 x 16"),
        ("timm_convnext", 16, r"cannot read images of 16 x 16 pixels beside .*Kernel size"),
        ("vit", 20, "local crops of 20 pixels are larger than the images of 16: lower local_size"),
    ],
)
def test_crops_that_a_backbone_cannot_read(family: str, side: int, message: str, tmp_path: Path) -> None:
    backbone = dense_backbone(family, tmp_path)
    spec = backbone.input_spec
    assert isinstance(spec, ImageSpec)
    before = backbone.eval()(backbone.example_inputs(2))
    data = CroppedImages(spec, local_size=side)
    data.train_dataloader = None  # type: ignore[method-assign]  # it is refused before data are read
    with pytest.raises(ValueError, match=message):
        fitted(Dino(backbone, **HEAD), tmp_path, data)
    assert torch.equal(before, backbone.eval()(backbone.example_inputs(2)))


def test_texts_have_no_crops(saved_models: Path) -> None:
    with pytest.raises(ValueError, match="Dino crops images, and HuggingFaceText reads texts"):
        Dino(HuggingFaceText(str(saved_models / "minilm")))


class Unsaved(TorchvisionResNet):
    """It has no folder of its own."""

    save = Backbone.save


def test_what_could_not_be_kept_is_not_trained(tmp_path: Path) -> None:
    backbone = Unsaved("resnet18", weights=None, image_size=4)
    with pytest.raises(ValueError, match="Unsaved has no folder of its own, so nothing of its training could be kept"):
        fitted(Dino(backbone, **HEAD), tmp_path)


# -------------------------------------------------------------------- the teacher


class Watch(pl.Callback):
    """The teacher, the student and the centre after each step."""

    def __init__(self) -> None:
        self.teacher: list[dict[str, Tensor]] = []
        self.student: list[dict[str, Tensor]] = []
        self.prototypes: list[Tensor] = []
        self.logged: list[dict[str, float]] = []

    def keep(self, module: Dino) -> None:
        for kept, network in ((self.teacher, module.teacher), (self.student, module.backbone)):
            assert network is not None
            kept.append({name: value.detach().double().clone() for name, value in network.named_parameters()})
        self.prototypes.append(module.head.prototypes.detach().clone())

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Dino)
        self.keep(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Dino)
        self.keep(pl_module)
        self.logged.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def test_the_teacher_follows_by_the_papers_schedule(tmp_path: Path) -> None:
    watch, module = Watch(), dino(tmp_path, momentum=0.5, lr=0.01)
    trainer = tiny.tiny_trainer(tmp_path, [watch], max_epochs=2, log_every_n_steps=1)
    trainer.fit(module, datamodule=CroppedImages(SPEC))
    steps = trainer.global_step
    assert steps == 8 and watch.teacher[0].keys() == watch.student[0].keys()
    expected = watch.teacher[0]
    assert all(torch.equal(value, watch.student[0][name]) for name, value in expected.items())
    for step in range(steps):
        kept = 1 - 0.5 * (math.cos(math.pi * step / steps) + 1) / 2
        student = watch.student[step + 1]
        expected = {name: kept * value + (1 - kept) * student[name] for name, value in expected.items()}
        for name, value in expected.items():
            torch.testing.assert_close(watch.teacher[step + 1][name], value, atol=1e-6, rtol=1e-5)
        assert watch.logged[step]["teacher_momentum"] == pytest.approx(kept)
    assert not any(parameter.requires_grad for parameter in module.teacher.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (1, 4), (2, 8)])
def test_the_prototypes_rest_at_first(epochs: int, steps: int, tmp_path: Path) -> None:
    watch = Watch()
    module = dino(tmp_path, frozen_epochs=epochs)
    tiny.tiny_trainer(tmp_path, [watch], max_epochs=2).fit(module, datamodule=CroppedImages(SPEC))
    moved = [not torch.equal(a, b) for a, b in zip(watch.prototypes, watch.prototypes[1:], strict=False)]
    assert moved == [False] * steps + [True] * (8 - steps)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (0, [0.08] * 8),
        (1, [0.02, 0.035, 0.05, 0.065, 0.08, 0.08, 0.08, 0.08]),
        (2, [0.02 + 0.0075 * k for k in range(8)]),
    ],
)
def test_temperature_of_the_teacher(epochs: int, expected: list[float], tmp_path: Path) -> None:
    watch = Watch()
    module = dino(tmp_path, teacher_temperature=0.08, warmup_temperature=0.02, warmup_epochs=epochs)
    trainer = tiny.tiny_trainer(tmp_path, [watch], max_epochs=2, log_every_n_steps=1)
    trainer.fit(module, datamodule=CroppedImages(SPEC))
    assert [entry["teacher_temperature"] for entry in watch.logged] == pytest.approx(expected)


def test_momentum_goes_from_the_first_to_one() -> None:
    plan = TeacherSchedule(0.9, 0.04, 0.04, 0, 0)
    assert plan.momentum_at(0, 10) == pytest.approx(0.9) and plan.momentum_at(10, 10) == pytest.approx(1)
    assert plan.momentum_at(5, 10) == pytest.approx(0.95)


def test_measures_of_collapse(tmp_path: Path) -> None:
    watch = Watch()
    tiny.tiny_trainer(tmp_path, [watch], max_epochs=1, log_every_n_steps=1).fit(
        dino(tmp_path), datamodule=CroppedImages(SPEC)
    )
    for told in watch.logged:
        assert 0 < told["teacher_entropy"] < math.log(16) and 0 < told["student_entropy"] <= math.log(16) + 1e-5
        assert told["train_loss_step"] == pytest.approx(told["teacher_entropy"] + told["kl"], abs=1e-5)
        assert told["teacher_entropy"] <= told["marginal_entropy"] + 1e-5 <= math.log(16) + 2e-5
        assert told["kl"] > 0 and told["centre_norm"] >= 0
    assert watch.logged[-1]["centre_norm"] > 0


def test_a_teacher_of_batch_norm_keeps_statistics_of_its_own(tmp_path: Path) -> None:
    backbone = dense_backbone("torchvision", tmp_path)
    assert isinstance(backbone.input_spec, ImageSpec)
    module = Dino(backbone, **HEAD)
    module.configure_model()
    module.train()
    assert module.teacher is not None
    modes = {type(part).__name__: part.training for part in module.teacher.modules()}
    assert modes.pop("BatchNorm2d") and not any(modes.values())
    before = module.teacher.model.bn1.running_mean.clone()
    fitted(module, tmp_path, CroppedImages(backbone.input_spec))
    after = module.teacher.model.bn1.running_mean
    assert not torch.equal(before, after) and not torch.equal(after, module.backbone.model.bn1.running_mean)
    module.eval()
    assert not any(part.training for part in module.teacher.modules())


def test_without_local_crops(tmp_path: Path) -> None:
    module = dino(tmp_path)
    fitted(module, tmp_path, CroppedImages(SPEC, local_views=0, views=3))
    assert module.objective == "DINO, 3 views, temperatures 0.1 and 0.04"


# -------------------------------------------------------------------- several processes


class FirstStep(pl.Callback):
    """Loss and gradients of the first step, as the optimizer gets them."""

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = {n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None}
        self.result = (float(trainer.callback_metrics["train_loss_step"]), gradients)


def first_step(folder: str, devices: int, frozen: int) -> tuple[float, dict[str, Tensor], Tensor, Tensor]:
    seen, strategy = FirstStep(), "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, [seen], max_epochs=1, max_steps=1, devices=devices, strategy=strategy)
    torch.manual_seed(0)
    module = Dino(HuggingFaceVision(str(Path(folder) / "vit")), **HEAD, frozen_epochs=frozen)
    trainer.fit(module, datamodule=CroppedImages(SPEC, batch_size=8 // devices))
    return *seen.result, module.loss.centre, module.teacher_head.prototypes.detach()  # type: ignore[union-attr]


@pytest.mark.parametrize("frozen", [0, 1])
def test_two_processes_are_one_with_the_whole_batch(frozen: int, tmp_path: Path) -> None:
    tiny.tiny_vit(tmp_path)
    (loss_0, first, centre_0, last_0), (loss_1, second, centre_1, last_1) = on_two_ranks(
        first_step, tmp_path, str(tmp_path), 2, frozen
    )
    loss, whole, centre, last = first_step(str(tmp_path), 1, frozen)
    assert (loss_0 + loss_1) / 2 == pytest.approx(loss, abs=1e-5)
    assert torch.equal(centre_0, centre_1) and torch.equal(last_0, last_1)
    torch.testing.assert_close(centre_0, centre, atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(last_0, last, atol=1e-5, rtol=1e-4)
    assert first.keys() == whole.keys() and len(whole) > 10
    for name, gradient in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, atol=2e-6, rtol=1e-3)


# -------------------------------------------------------------------- resumes


def no_callbacks() -> list[pl.Callback]:
    return [pl.Callback()]


class Built:
    """Builds module and data in another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        torch.manual_seed(0)
        backbone = HuggingFaceVision(str(self.folder / "vit"))
        options = HEAD | {"warmup_epochs": 2, "warmup_temperature": 0.02}
        return Dino(backbone, **options), CroppedImages(SPEC)


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bits(world_size: int, tmp_path: Path) -> None:
    tiny.tiny_vit(tmp_path)
    shared: dict[str, Any] = {
        "build": Built(tmp_path),
        "extra": no_callbacks,
        "world_size": world_size,
        "save_every": 2,
    }
    through = launch(Run(str(tmp_path / "through"), **shared, trainer={"max_epochs": 3}))
    kills = [("on_train_batch_start", 5), ("on_before_optimizer_step", 1)]
    resumed = killed_and_resumed(Run(str(tmp_path / "killed"), **shared, trainer={"max_epochs": 3}), kills)
    assert through[0] is not None and resumed[0] is not None
    assert "error" not in through[0] and resumed[0]["step"] == 3 * IMAGES // (8 * world_size)
    assert resumed[0]["weights"] == through[0]["weights"]


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "crops": ({}, {"local_views": 5}, "crops 2 views and 3 local crops of 2 pixels and now 2 views and 5 local crops"),
    "temperature": ({"temperature": 0.2}, {}, r"temperature 0\.1 and now 0\.2"),
    "teacher": ({"teacher_temperature": 0.05}, {}, r"teacher_temperature 0\.04 and now 0\.05"),
    "head": ({"prototypes": 32, "hidden": 16}, {}, "prototypes 16 and now 32, hidden 8 and now 16"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_resume_with_other_settings(name: str, tmp_path: Path) -> None:
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=2)
    tiny.tiny_trainer(tmp_path, [save], max_epochs=1).fit(dino(tmp_path), datamodule=CroppedImages(SPEC))
    options, data, message = OTHERS[name]
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=2)
    with pytest.raises(ValueError, match=f"the checkpoint was made with other settings: {message}"):
        trainer.fit(
            dino(tmp_path, **options),
            datamodule=CroppedImages(SPEC, **data),
            ckpt_path=save.last_model_path,
            weights_only=True,
        )


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0.1"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0"),
        ({"teacher_temperature": 0.0}, "teacher_temperature must be above 0, got 0"),
        ({"warmup_temperature": -1.0}, "warmup_temperature must be above 0, got -1"),
        (
            {"teacher_temperature": 0.2},
            r"teacher_temperature must be at most the student's temp.* \(0.1\), got 0.2",
        ),
        ({"warmup_temperature": 0.2}, r"warmup_temperature must be at most the student's temperature \(0.1\), got 0.2"),
        ({"centre_momentum": 1.5}, r"centre_momentum must be in \[0, 1\), got 1.5"),
        ({"prototypes": 1}, "must be at least 2, got 1"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0, got -1"),
        ({"frozen_epochs": -1}, "frozen_epochs must be at least 0, got -1"),
    ],
)
def test_arguments(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        dino(tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "data", "trainer", "message"),
    [
        ({"warmup_epochs": 3}, {}, {"max_epochs": 2}, "warmup_epochs is 3, 12 steps, but the run has 8: .* to 2"),
        ({"warmup_epochs": 1}, {}, {"max_steps": 3, "max_epochs": -1}, "4 steps, but the run has 3: lower it to 0"),
        ({}, {}, {"max_epochs": -1}, "set max_epochs or max_steps"),
        ({}, {"batch_size": 1}, {}, "use a batch of at least 2"),
        ({}, {"views": 1}, {}, "Dino reads at least 2 views of each image, .* makes 1: set views: 2"),
        ({}, {"bad": 11}, {}, r"the loss is nan at epoch 0, batch \d; samples: .*\b11\b"),
        ({}, {}, {"precision": "bf16-true"}, "precision is bf16-true, .* take bf16-mixed"),
    ],
)
def test_what_is_refused(
    options: dict[str, Any], data: dict[str, Any], trainer: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FloatingPointError), match=message):
        fitted(dino(tmp_path, **options), tmp_path, CroppedImages(SPEC, **data), **trainer)


FORMS: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "one view": (lambda b: b | {"inputs": b["inputs"][:, 0]}, r"inputs must be two or more views.*set views: 2"),
    "other crops": (lambda b: b | {"local": b["local"][:, :2]}, r"a batch has 2 views and 2 local crops .*, and not 2"),
    "no rows": (lambda b: b | {"local": b["local"][0]}, r"local must be square crops"),
}


@pytest.mark.parametrize("name", FORMS)
def test_batches_of_another_form(name: str, tmp_path: Path) -> None:
    change, message = FORMS[name]
    data = CroppedImages(SPEC)
    fetch = data.fetch
    data.fetch = lambda indices, epoch: change(fetch(indices, epoch))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=message):
        fitted(dino(tmp_path), tmp_path, data)


class Untold(pl.LightningDataModule):
    """It says nothing of its crops."""

    def __init__(self, local: int = 0) -> None:
        super().__init__()
        self.inner = CroppedImages(SPEC, local_views=local)
        self.input_spec = SPEC

    def train_dataloader(self) -> DataLoader[Any]:
        batches: Any = [self.inner.fetch(np.arange(8) + 8 * k, 0) for k in range(4)]
        return DataLoader(batches, batch_size=None)


def test_data_that_do_not_tell_of_their_crops(tmp_path: Path) -> None:
    module = dino(tmp_path)
    fitted(module, tmp_path, Untold())
    assert str(module.crops) == "2 views"
    with pytest.raises(ValueError, match="a batch has local crops, of which Untold says nothing: give it the property"):
        fitted(dino(tmp_path), tmp_path, Untold(2))
