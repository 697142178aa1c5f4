"""Distillation of features: its losses, a teacher that stays, and that processes and interruptions change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from ranks import on_two_ranks
from tiny_steps import FirstStep, StopAt
from tiny_views import TwoViews
from torch import Tensor, nn

from datamodules.loading.orders import Indices
from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.losses import CosineDistance, WhitenedSmoothL1
from lightning_tl.pretraining import FeatureDistillation
from lightning_tl.pretraining.feature_distillation import sized
from lightning_tl.training.schedules import Constant

SPEC = ImageSpec(6, 3, (0.4, 0.5, 0.6), (0.3, 0.2, 0.1))  # larger than the student reads, smaller than the teacher


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of 4 pixels and two teachers of 8 pixels and other width."""
    root = tmp_path_factory.mktemp("vits")
    tiny.tiny_vit(root)
    size = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for number in range(2):
        torch.manual_seed(10 + number)
        config = transformers.ViTConfig(**size, image_size=8, patch_size=4)  # type: ignore[arg-type]
        transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(root / f"teacher-{number}")
    return root


def distillation(root: Path, teacher: int = 0, **options: Any) -> FeatureDistillation:
    torch.manual_seed(0)
    student = HuggingFaceVision(str(root / "vit"), weights=False)
    given = {"lr": 3e-3, "schedule": Constant(), **options}
    return FeatureDistillation(student, HuggingFaceVision(str(root / f"teacher-{teacher}")), **given)


# -------------------------------------------------------------------- losses


def slow_cosine(found: list[float], wanted: list[float]) -> float:
    dot = sum(a * b for a, b in zip(found, wanted, strict=True))
    return 1 - dot / math.sqrt(sum(a * a for a in found) * sum(b * b for b in wanted))


def slow_smooth(found: list[float], wanted: list[float], beta: float) -> float:
    mean = sum(wanted) / len(wanted)
    spread = math.sqrt(sum((w - mean) ** 2 for w in wanted) / len(wanted) + 1e-5)
    total = 0.0
    for value, target in zip(found, wanted, strict=True):
        apart = abs(value - (target - mean) / spread)
        total += apart**2 / (2 * beta) if apart < beta else apart - beta / 2
    return total / len(wanted)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_losses_against_loops(scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    found, wanted = scale * torch.randn(5, 7, generator=generator), 3 + torch.randn(5, 7, generator=generator)
    rows = list(zip(found.tolist(), wanted.tolist(), strict=True))
    assert float(CosineDistance()(found, wanted)) == pytest.approx(sum(slow_cosine(*r) for r in rows) / 5, abs=1e-6)
    for beta in (0.5, 2.0):
        slow = sum(slow_smooth(*row, beta) for row in rows) / 5
        assert float(WhitenedSmoothL1(beta)(found, wanted)) == pytest.approx(slow, rel=1e-5)


def test_what_losses_refuse() -> None:
    with pytest.raises(ValueError, match=r"beta must be above 0, got 0"):
        WhitenedSmoothL1(0)
    with pytest.raises(ValueError, match=r"both must be \[batch, dim\], got \(2, 3\) and \(2, 4\)"):
        CosineDistance()(torch.zeros(2, 3), torch.zeros(2, 4))


# -------------------------------------------------------------------- training


@pytest.mark.parametrize("loss", [CosineDistance(), WhitenedSmoothL1()])
def test_the_student_learns_and_the_teacher_stays(loss: nn.Module, folders: Path, tmp_path: Path) -> None:
    module, save = distillation(folders, loss=loss), ResumableCheckpoint(monitor=None)
    before, images = (
        tiny.weights_hash(module.teacher),
        TwoViews(SPEC).fetch(torch.arange(16).numpy(), 50)["inputs"][:, 0],
    )

    def apart() -> float:
        with torch.no_grad():
            return float(loss(module.projector(module.backbone(sized(images, 4))), module.wanted(images)))

    first = apart()
    tiny.tiny_trainer(tmp_path, [save], max_epochs=12).fit(module, datamodule=TwoViews(SPEC))
    module.eval()
    assert apart() < 0.7 * first and tiny.weights_hash(module.teacher) == before
    module.train()
    assert not any(part.training for part in module.teacher.modules())
    held = torch.load(save.last_model_path, weights_only=True)["state_dict"]
    assert held and not any(name.startswith("teacher.") for name in held)
    opened = HuggingFaceVision(str(tmp_path / "model")).eval()
    small = sized(images, 4)
    module.eval()
    with torch.no_grad():
        torch.testing.assert_close(opened(small), module.features(small))
    assert (opened.input_spec.mean, opened.input_spec.std) == (SPEC.mean, SPEC.std)


def test_the_teacher_reads_the_image_in_its_own_way(folders: Path, tmp_path: Path) -> None:
    """What it gets is the image in its size, with its mean and deviation."""
    module = distillation(folders)
    tiny.tiny_trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(module, datamodule=TwoViews(SPEC))
    pixels = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (SPEC.mean, SPEC.std))
    own: ImageSpec = module.teacher.input_spec  # type: ignore[assignment]
    own_mean, own_std = (torch.tensor(values).view(3, 1, 1) for values in (own.mean, own.std))
    module.eval()
    with torch.no_grad():
        expected = module.teacher(sized((pixels - own_mean) / own_std, 8))
        torch.testing.assert_close(module.wanted((pixels - mean) / std), expected, atol=1e-4, rtol=1e-4)


def test_resumes_exactly_beside_the_same_teacher(folders: Path, tmp_path: Path) -> None:
    def fit(module: FeatureDistillation, folder: Path, callbacks: list[Any], **options: Any) -> None:
        trainer = tiny.tiny_trainer(folder, callbacks, max_epochs=2)
        trainer.fit(module, datamodule=TwoViews(SPEC), weights_only=True, **options)

    through = distillation(folders, schedule=None)
    fit(through, tmp_path / "through", [])
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=5)
    with pytest.raises(InterruptedError):
        fit(distillation(folders, schedule=None), tmp_path, [save, StopAt(6)])
    resumed = distillation(folders, schedule=None)
    fit(resumed, tmp_path, [], ckpt_path=save.last_model_path)
    assert tiny.weights_hash(resumed) == tiny.weights_hash(through)
    with pytest.raises(ValueError, match=r"was trained beside the frozen weights of .*teacher-0 .* of .*teacher-1"):
        fit(distillation(folders, teacher=1), tmp_path, [], ckpt_path=save.last_model_path)


class OneView(TwoViews):
    """Images that are the same in whatever batch they come."""

    def fetch(self, indices: Indices, epoch: int) -> dict[str, Tensor]:
        images = [torch.randn((3, 6, 6), generator=torch.Generator().manual_seed(int(k))) for k in indices]
        return {"inputs": torch.stack(images), "index": torch.from_numpy(indices)}


def first_step(root: str, folder: str, devices: int) -> tuple[float, dict[str, Tensor]]:
    seen, strategy = FirstStep(), "ddp" if devices > 1 else "auto"
    trainer = tiny.tiny_trainer(folder, [seen], max_epochs=1, max_steps=1, devices=devices, strategy=strategy)
    data = OneView(SPEC)
    data.batch_size = 8 // devices
    module = distillation(Path(root))
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    trainer.fit(module, datamodule=data)
    return seen.result


def test_two_processes_learn_as_one_with_the_whole_batch(folders: Path, tmp_path: Path) -> None:
    (loss_0, first), (loss_1, second) = on_two_ranks(first_step, tmp_path, str(folders), str(tmp_path), 2, seconds=300)
    loss, whole = first_step(str(folders), str(tmp_path / "alone"), 1)
    assert (loss_0 + loss_1) / 2 == pytest.approx(loss, abs=1e-5)
    for name, gradient in whole.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, atol=2e-6, rtol=1e-3)


# -------------------------------------------------------------------- what goes wrong


def test_what_it_refuses(folders: Path, saved_models: Path, tmp_path: Path) -> None:
    student = HuggingFaceVision(str(folders / "vit"))
    with pytest.raises(ValueError, match=r"teacher must read images, such as HuggingFaceVision; HuggingFaceText does"):
        FeatureDistillation(student, HuggingFaceText(str(saved_models / "bert")))
    module = FeatureDistillation(student, HuggingFaceVision(str(folders / "teacher-0"), channels=4))
    with pytest.raises(ValueError, match=r"the teacher reads 4 channels, and the images have 3: take a teacher of as"):
        tiny.tiny_trainer(tmp_path).fit(module, datamodule=TwoViews(SPEC))
