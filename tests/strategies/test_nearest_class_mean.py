"""The nearest class mean: a linear head from one pass, against means and distances taken one by one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from ranks import on_two_ranks
from tiny_report import TinyData as SeveralData
from torch import Tensor

from lightning_tl.backbones import load_exported
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.strategies import NearestClassMean
from lightning_tl.strategies.probe.nearest_class_mean import class_means, left_out_logits, likeliest_temperature


class Samples(tiny.TinyData):
    """Every sample can be read once, and labels counted."""

    def cache_size(self, split: str) -> int:
        return self.size if split == "train" else 24

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> Any:
        samples = tiny.TinyImages(self.cache_size(split), augment=False)
        for k in range(rank, len(samples), world_size):
            one = samples[k]
            yield {name: value[None] for name, value in one.items()}

    def training_counts(self) -> tuple[dict[str, int], int]:
        counts = torch.bincount(tiny.TinyImages(self.size).target, minlength=3).tolist()
        return dict(zip(self.class_names, counts, strict=True)), self.size


def fitted(folder: Path, module: NearestClassMean, data: Any = None, **options: Any) -> Any:
    trainer = tiny.tiny_trainer(folder, [ResumableCheckpoint()], **options)
    trainer.fit(module, datamodule=data or Samples())
    return trainer


def module(folder: Path, **options: Any) -> NearestClassMean:
    return NearestClassMean(tiny.tiny_vit(folder), **options)


@torch.no_grad()
def slow(backbone: Any, distance: str) -> tuple[list[list[float]], list[list[float]]]:
    """Distances of the validation samples from each class's mean, and those means, number by number."""
    backbone.eval()

    def features(size: int) -> list[list[float]]:
        samples = tiny.TinyImages(size, augment=False)
        rows = [backbone(samples[k]["inputs"][None])[0].tolist() for k in range(size)]
        lengths = [math.sqrt(sum(v * v for v in row)) if distance == "cosine" else 1.0 for row in rows]
        return [[v / length for v in row] for row, length in zip(rows, lengths, strict=True)]

    train, target = features(56), tiny.TinyImages(56).target.tolist()
    means = []
    for number in range(3):
        own = [row for row, t in zip(train, target, strict=True) if t == number]
        mean = [sum(column) / len(own) for column in zip(*own, strict=True)]
        length = math.sqrt(sum(v * v for v in mean)) if distance == "cosine" else 1.0
        means.append([v / length for v in mean])
    far = [[sum((a - b) ** 2 for a, b in zip(row, mean, strict=True)) for mean in means] for row in features(24)]
    return far, means


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_head_gives_what_distances_one_by_one_give(distance: Any, tmp_path: Path) -> None:
    learner = module(tmp_path, distance=distance)
    before = tiny.weights_hash(learner.backbone)
    trainer = fitted(tmp_path, learner)
    far, _ = slow(learner.backbone, distance)
    inputs = torch.stack([tiny.TinyImages(24, augment=False)[k]["inputs"] for k in range(24)])
    learner.eval()
    with torch.no_grad():
        logits = learner(inputs)
    expected = -torch.tensor(far) / 2
    assert logits.argmax(1).tolist() == expected.argmax(1).tolist()
    shifted, wanted = logits - logits.mean(1, keepdim=True), expected - expected.mean(1, keepdim=True)
    scale = float((shifted * wanted).sum() / (wanted * wanted).sum())
    torch.testing.assert_close(shifted, wanted * scale, atol=1e-4 * scale, rtol=1e-3)
    assert tiny.weights_hash(learner.backbone) == before and trainer.global_step == 0
    assert float(trainer.callback_metrics["val_accuracy"]) == pytest.approx(
        (expected.argmax(1) == tiny.TinyImages(24).target).float().mean().item()
    )


def test_views_count_alike_and_cosine_means_have_length_one() -> None:
    values = torch.tensor([[[3.0, 4.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]]])  # [views, samples, dim]
    target = torch.tensor([0, 1])
    assert class_means(values, target, 2, "euclidean").tolist() == [[1.5, 3.0], [1.5, 0.0]]
    cosine = class_means(values, target, 2, "cosine")
    torch.testing.assert_close(cosine.norm(dim=1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(cosine[0, 0] / cosine[0, 1], torch.tensor(0.6 / 1.8, dtype=torch.float64))


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_each_sample_is_left_out_of_its_own_mean(distance: Any) -> None:
    values = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 0, 1, 1, 1, 2, 0, 1, 0])  # class 2 has one sample, which has no mean without itself
    logits, wanted = left_out_logits(values, target, 3, distance)
    kept = [k for k in range(9) if target[k] != 2]
    assert wanted.tolist() == target[kept].tolist() and logits.shape == (8, 3)
    whole = class_means(values, target, 3, distance)
    for row, k in zip(logits, kept, strict=True):
        others = torch.tensor([j for j in range(9) if j != k])
        means = whole.clone()
        means[target[k]] = class_means(values[:, others], target[others], 3, distance)[target[k]]
        x = values[0, k].double() / (values[0, k].double().norm() if distance == "cosine" else 1)
        far = [float(((x - mean) ** 2).sum()) / 2 for mean in means]
        expected = torch.tensor([far[0] - value for value in far], dtype=torch.float64)
        torch.testing.assert_close(row - row[0], expected, atol=1e-9, rtol=1e-9)


def test_probabilities_are_of_the_likeliest_temperature() -> None:
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(60) % 3
    values = (torch.randn(1, 60, 8, generator=draw) + 1.2 * torch.eye(8)[target]) * 0.05
    found = likeliest_temperature(values, target, 3, "euclidean")
    logits, wanted = left_out_logits(values, target, 3, "euclidean")
    losses = [float(torch.nn.functional.cross_entropy(logits / (found * by), wanted)) for by in (0.99, 1.0, 1.01)]
    assert min(losses) == losses[1] < 0.9 * math.log(3)
    assert likeliest_temperature(values[:, :3], target[:3], 3, "euclidean") == 1.0


def test_exported_it_is_a_linear_classifier_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForImageClassification

    inputs = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for distance in ("euclidean", "cosine"):
        learner = module(tmp_path, distance=distance)
        fitted(tmp_path / distance, learner)
        folder = tmp_path / distance / "model"
        line = learner.eval().export(folder)
        with torch.no_grad():
            expected: Tensor = learner(inputs)
            if distance == "euclidean":
                assert "AutoModelForImageClassification" in line
                found = AutoModelForImageClassification.from_pretrained(folder).eval()(inputs).logits
            else:
                found = load_exported(folder)(inputs)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_checkpoint_brings_the_head_back(tmp_path: Path) -> None:
    learner = module(tmp_path, distance="cosine")
    trainer = fitted(tmp_path, learner)
    fresh = module(tmp_path, distance="cosine")
    path = trainer.checkpoint_callback.best_model_path
    (metrics,) = tiny.tiny_trainer(tmp_path).test(
        fresh, datamodule=Samples(), ckpt_path=path, weights_only=True, verbose=False
    )
    assert metrics["test_accuracy"] == pytest.approx(float(trainer.callback_metrics["val_accuracy"]))
    assert tiny.weights_hash(fresh.head) == tiny.weights_hash(learner.head)  # type: ignore[arg-type]


def head_of(folder: str, **options: Any) -> dict[str, Tensor]:
    learner = module(Path(folder))
    fitted(Path(folder), learner, **options)
    return dict(learner.head.state_dict())  # type: ignore[union-attr]


def of_two(folder: str) -> dict[str, Tensor]:
    import os

    return head_of(f"{folder}/{os.environ['RANK']}", devices=2, strategy="ddp", default_root_dir=folder)


def test_two_processes_find_the_head_of_one(tmp_path: Path) -> None:
    first, second = on_two_ranks(of_two, tmp_path, str(tmp_path))
    alone = head_of(str(tmp_path / "alone"))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, atol=1e-5, rtol=1e-4)


class Lacking(Samples):
    def training_counts(self) -> tuple[dict[str, int], int]:
        return {"a": 3, "b": 5}, 8


class OneClass(Samples):
    class_names = ("a",)  # type: ignore[assignment]

    def training_counts(self) -> tuple[dict[str, int], int]:
        return {"a": self.size}, self.size


class Several(SeveralData):
    @property
    def task(self) -> Any:
        from lightning_tl.tasks import SeveralLabels

        return SeveralLabels()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Lacking(), "without a training sample a class has no mean: c of 3 classes"),
        (OneClass(), "num_classes must be at least 2"),
        (Several(several=True), "the targets are several labels: use LinearProbe"),
    ],
)
def test_refused_before_any_feature_is_computed(data: Any, message: str, tmp_path: Path) -> None:
    learner = module(tmp_path)
    with pytest.raises(ValueError, match=message):
        fitted(tmp_path, learner, data)
    with pytest.raises(ValueError, match="distance must be euclidean or cosine, got manhattan"):
        NearestClassMean(tiny.TinyBackbone(), distance="manhattan")  # type: ignore[arg-type]
