"""The probe beside pretraining: what it measures, that it changes nothing, and what bad input says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from ranks import on_two_ranks
from sklearn.linear_model import LogisticRegression
from tiny_views import TwoViews
from torch import Tensor

from datamodules import ImageFolderDataModule, UnlabelledImagesDataModule, UnlabelledLandCoverDataModule
from datamodules.loading.loading import ResumableLoader
from datamodules.loading.orders import Indices
from datamodules.loading.resumable_data import ResumableDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.notice import Notice
from lightning_tl.metrics.collapse import Collapse
from lightning_tl.pretraining import ContrastivePretraining, OnlineProbe
from lightning_tl.pretraining.online_probe import also_trained_on, evaluating
from lightning_tl.pretraining.probed_features import check_target, chosen
from lightning_tl.training.schedules import Constant

SPEC = ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)


class Labelled(ResumableDataModule):
    """Images whose brightness in one band tells the class; there is no test split to read."""

    def __init__(self, classes: int = 3, spec: ImageSpec = SPEC, counts: tuple[int, int] = (45, 31)) -> None:
        super().__init__(batch_size=8, num_workers=0, seed=1)
        self.classes, self.input_spec = classes, spec
        self.indices = {"train": np.arange(counts[0]), "validation": counts[0] + np.arange(counts[1])}

    def setup(self, stage: str | None = None) -> None:
        torch.rand(3)  # a data module may draw, and the run must not notice
        np.random.rand(2)

    def fetch(self, indices: Indices, epoch: int) -> dict[str, Tensor]:
        torch.manual_seed(9)
        shape = (self.input_spec.channels, self.input_spec.image_size, self.input_spec.image_size)
        images = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(k))) for k in indices])
        target = torch.from_numpy(indices % self.classes)
        images[torch.arange(len(indices)), target % shape[0]] += 1.0
        return {"inputs": images, "target": target, "index": torch.from_numpy(indices)}

    def cache_size(self, split: str) -> int:
        return len(self.indices[split])

    def cache_loader(self, split: str, view: int, rank: int, world_size: int) -> ResumableLoader:
        assert split != "test" and view == 0
        return self.ordered_loader(self, self.indices[split], rank, world_size, 0, in_memory=True)


class Logged(pl.Callback):
    def __init__(self) -> None:
        self.of_epoch: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        names = [name for name in trainer.callback_metrics if name.startswith("probe")]
        self.of_epoch.append({name: float(trainer.callback_metrics[name]) for name in names})


def module(folder: Path, **options: Any) -> ContrastivePretraining:
    torch.manual_seed(0)
    return ContrastivePretraining(tiny.tiny_vit(folder), projection=8, schedule=Constant(), **options)


def fit(folder: Path, callbacks: list[pl.Callback], **options: Any) -> ContrastivePretraining:
    found = module(folder)
    ckpt = options.pop("ckpt_path", None)
    trainer = tiny.tiny_trainer(folder, callbacks, **({"max_epochs": 2} | options))
    trainer.fit(found, datamodule=TwoViews(SPEC), ckpt_path=ckpt, weights_only=True)
    return found


# -------------------------------------------------------------------- what it measures


def slow_vote(train: Tensor, classes: Tensor, query: Tensor, k: int, temperature: float) -> int:
    cosines = [float(row @ query / row.norm() / query.norm()) for row in train.double()]
    nearest = sorted(range(len(train)), key=lambda at: -cosines[at])[:k]
    votes: dict[int, float] = {}
    for at in nearest:
        votes[int(classes[at])] = votes.get(int(classes[at]), 0.0) + math.exp(cosines[at] / temperature)
    return max(sorted(votes), key=lambda name: votes[name])


def slow_collapse(features: Tensor) -> tuple[float, float, float]:
    values = features.double().numpy()
    eigen = np.sqrt(np.maximum(np.linalg.eigvalsh(values.T @ values), 0))
    shares = eigen / eigen.sum() + 1e-7
    unit = [row / np.linalg.norm(row) for row in values]
    deviations = [np.std([row[k] for row in unit]) for k in range(values.shape[1])]
    cosines = [float(a @ b) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j]
    return (
        float(np.exp(-(shares * np.log(shares)).sum())),
        np.mean(deviations) * values.shape[1] ** 0.5,
        np.mean(cosines),
    )


@pytest.mark.parametrize("kind", ["even", "shifted", "flat", "one"])
def test_measures_of_collapse(kind: str) -> None:
    torch.manual_seed(0)
    even = torch.randn(200, 8)
    direction = torch.randn(1, 8)
    features = {
        "even": even,
        "shifted": even + 3,
        "flat": torch.randn(200, 1) @ direction + 1e-4 * even,
        "one": direction + 1e-3 * even,
    }[kind]
    found = Collapse.of(features)
    slow = slow_collapse(features)
    assert (found.effective_rank, found.spread, found.mean_cosine) == pytest.approx(slow, rel=1e-3, abs=1e-6)
    if kind == "even":
        assert found.effective_rank == pytest.approx(8, rel=0.02) and found.spread == pytest.approx(1, rel=0.02)
        assert abs(found.mean_cosine) < 0.02
    told = {"flat": "effective rank of 1.00", "one": r"a spread of 0.00"}.get(kind)
    assert told in found.told if told else found.told is None  # type: ignore[operator]


def test_metrics_are_those_of_the_features(tmp_path: Path) -> None:
    logged, data = Logged(), Labelled()
    found = fit(tmp_path, [OnlineProbe(data, neighbours=5), logged], max_epochs=1).eval()
    with torch.no_grad():
        parts = {}
        for split in ("train", "validation"):
            batches = list(data.cache_loader(split, 0, 0, 1))
            parts[split] = (
                torch.cat([found.features(b["inputs"]) for b in batches]),
                torch.cat([b["target"] for b in batches]),
            )
    (train, classes), (validation, truth) = parts["train"], parts["validation"]
    votes = [slow_vote(train, classes, query.double(), 5, 0.07) for query in validation]
    metrics = logged.of_epoch[0]
    assert metrics["probe_knn_accuracy"] == pytest.approx(np.mean(np.array(votes) == truth.numpy()))
    rank, spread, cosine = slow_collapse(train)
    assert metrics["probe_effective_rank"] == pytest.approx(rank, rel=1e-3)
    assert metrics["probe_spread"] == pytest.approx(spread, rel=1e-3)
    assert metrics["probe_mean_cosine"] == pytest.approx(cosine, abs=1e-4)
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    scaled = [((values.double() - mean) / std).numpy() for values in (train, validation)]
    best = []
    for l2 in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        model = LogisticRegression(C=1 / (l2 * len(train)), max_iter=5000, tol=1e-8).fit(scaled[0], classes)
        chances = model.predict_proba(scaled[1])[np.arange(len(truth)), truth.numpy()]
        best.append((-np.log(chances).mean(), model.score(scaled[1], truth)))
    assert metrics["probe_linear_accuracy"] == pytest.approx(min(best)[1], abs=1 / len(truth) + 1e-6)


def test_the_largest_number_of_training_samples() -> None:
    kept = chosen(100, 30)
    assert kept.sum() == 30 and (chosen(100, 30) == kept).all() and chosen(20, None).all() and chosen(20, 50).all()
    assert 5 < kept[:50].sum() < 25


# -------------------------------------------------------------------- that it changes nothing


class StopAt(pl.Callback):
    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        if trainer.global_step == 6:
            raise InterruptedError


def short() -> OnlineProbe:
    return OnlineProbe(Labelled(), neighbours=5, linear=False, max_train=30)


def test_a_run_with_a_probe_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Also one that is stopped in mid-epoch and goes on; dropout in the backbone draws at each step."""
    alone = fit(tmp_path / "alone", [])
    logged = Logged()
    beside = fit(tmp_path / "beside", [short(), logged])
    assert tiny.weights_hash(beside) == tiny.weights_hash(alone)
    save = ResumableCheckpoint(monitor=None, every_n_train_steps=5)
    with pytest.raises(InterruptedError):
        fit(tmp_path / "cut", [short(), save, StopAt()])
    again = Logged()
    resumed = fit(tmp_path / "cut", [short(), again], ckpt_path=save.last_model_path)
    assert tiny.weights_hash(resumed) == tiny.weights_hash(alone)
    assert again.of_epoch[-1] == logged.of_epoch[-1]


def test_modes_are_as_before() -> None:
    parts = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
    parts.train()
    parts[1].eval()
    before = [part.training for part in parts.modules()]
    with evaluating(parts):
        assert not any(part.training for part in parts.modules())
    assert [part.training for part in parts.modules()] == before == [True, True, False, False]


def test_a_checkpoint_may_monitor_it(tmp_path: Path) -> None:
    save = ResumableCheckpoint(monitor="probe_knn_accuracy", mode="max")
    fit(tmp_path, [short(), save])
    assert save.best_model_score is not None and 0 <= float(save.best_model_score) <= 1


class Validated(ContrastivePretraining):
    def validation_step(self, batch: Any, number: int) -> None:
        self.log("val_loss", batch["inputs"].mean())


class WithValidation(TwoViews):
    def val_dataloader(self) -> ResumableLoader:
        return self.evaluation_loader(self, np.arange(8), "validation", in_memory=True)


def test_where_epochs_are_validated_it_comes_before_their_checkpoint(tmp_path: Path) -> None:
    """Twice an epoch, and the probe once: within Lightning's inference mode, in which no head could be fitted."""
    torch.manual_seed(0)
    validated = Validated(tiny.tiny_vit(tmp_path), projection=8, schedule=Constant())
    probe, save = (
        OnlineProbe(Labelled(), neighbours=5),
        ResumableCheckpoint(monitor="probe_linear_accuracy", mode="max"),
    )
    seen: list[float] = []
    measured = probe._measured
    probe._measured = lambda *a: (seen.append(1.0), measured(*a))[1]  # type: ignore
    trainer = tiny.tiny_trainer(tmp_path, [probe, save], max_epochs=2, val_check_interval=0.5)
    trainer.fit(validated, datamodule=WithValidation(SPEC))
    assert len(seen) == 3 and 0 <= float(save.best_model_score or -1) <= 1


def test_how_often(tmp_path: Path) -> None:
    probe = OnlineProbe(Labelled(), every_n_epochs=2, neighbours=5, linear=False)
    seen: list[int] = []
    measured = probe._measured
    probe._measured = lambda trainer, found: (seen.append(trainer.current_epoch), measured(trainer, found))[1]  # type: ignore
    fit(tmp_path, [probe], max_epochs=3)
    assert seen == [0, 1, 2]  # before training, then after the second and the last


def of_a_rank(folder: str) -> tuple[dict[str, float], str]:
    logged = Logged()
    options = {"max_epochs": 1, "devices": 2, "strategy": "ddp"}
    found = fit(Path(folder), [OnlineProbe(Labelled(), neighbours=5), logged], **options)
    return logged.of_epoch[0], tiny.weights_hash(found)


def test_two_processes_measure_as_one(tmp_path: Path) -> None:
    (first, weights), (second, others) = on_two_ranks(of_a_rank, tmp_path, str(tmp_path), seconds=300)
    assert first == second and weights == others and first["probe_knn_accuracy"] > 0


# -------------------------------------------------------------------- what goes wrong


def test_collapse_is_told_once(tmp_path: Path) -> None:
    class Collapsed(ContrastivePretraining):
        def features(self, inputs: Any) -> Tensor:
            return 1 + 1e-4 * super().features(inputs)

    torch.manual_seed(0)
    collapsed = Collapsed(tiny.tiny_vit(tmp_path), projection=8, schedule=Constant())
    with pytest.warns(Notice, match=r"collapsing at epoch 0: unit features have a spread of 0\.000") as told:
        trainer = tiny.tiny_trainer(tmp_path, [short()], max_epochs=2)
        trainer.fit(collapsed, datamodule=TwoViews(SPEC))
    assert len([each for each in told if "collapsing" in str(each.message)]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"max_train": 0}, "max_train must be at least 1, got 0"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
        ({"data": UnlabelledLandCoverDataModule()}, "UnlabelledLandCoverDataModule has no cache_loader"),
        ({"neighbours": 46}, "the probe has 45 training samples, fewer than its 46 neighbours"),
        ({"neighbours": 20, "max_train": 10}, "the probe has 10 training samples, fewer than its 20 neighbours"),
        ({"data": Labelled(counts=(45, 0))}, "the probe's data have no samples for validation"),
        (
            {"data": Labelled(spec=ImageSpec(8, 3, (0.5,) * 3, (0.5,) * 3))},
            r"the backbone reads 3 channels \(unnamed\) of 4 pixels, and the probe's Labelled gives .* of 8 pixels",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, [OnlineProbe(**({"data": Labelled()} | options))])


class Unreadable(Labelled):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def setup(self, stage: str | None = None) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("no images in root x"), FileNotFoundError("root: there is no folder x")])
def test_data_that_cannot_be_set_up_are_said_to_be_those_of_the_probe(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error), match=rf"^the probe's data: {error} \(--probe=null leaves the probe out\)$"):
        fit(tmp_path, [OnlineProbe(Unreadable(error))])


@pytest.mark.parametrize("shared", [0, 3])
def test_scored_images_that_are_trained_on_are_said(shared: int, tmp_path: Path) -> None:
    """Told by what they show: other names, in another format."""

    def picture(path: Path, number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (9, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)

    for number in range(12):
        split = "val" if number % 4 < 2 else "train"
        picture(tmp_path / "labelled" / split / "ab"[number % 2] / f"{number}.png", number)
    held = [number for number in range(12) if number % 4 < 2]
    for number in [*held[:shared], 100, 101]:
        picture(tmp_path / "mine" / f"other-{number}.bmp", number)
    picture(tmp_path / "mine" / "train.bmp", 2)
    options: dict[str, Any] = {"image_size": 4, "mean": [0.5] * 3, "std": [0.5] * 3, "num_workers": 0}
    mine = UnlabelledImagesDataModule(tmp_path / "mine", **options)
    labelled = ImageFolderDataModule(tmp_path / "labelled", **options)
    for data in (mine, labelled):
        data.setup("fit")
    told = also_trained_on(mine, labelled)
    assert told is None if shared == 0 else str(told).startswith("3 of the 6 images that the probe scores on are among")
    assert also_trained_on(TwoViews(SPEC), labelled) is None and also_trained_on(mine, Labelled()) is None


def test_one_class_alone(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="the probe's training samples are all of one class"):
        fit(tmp_path, [OnlineProbe(Labelled(classes=1))])


def test_features_that_are_all_one(tmp_path: Path) -> None:
    """Whole collapse stops nothing: the largest class has the most votes."""
    data = Labelled()
    train = torch.ones(45, 4), torch.arange(45) % 3
    found = OnlineProbe(data)._scored(train, (torch.ones(9, 4), torch.arange(9) % 3))
    assert isinstance(found, dict) and found["knn_accuracy"] == pytest.approx(1 / 3)
    assert found["spread"] == 0 and found["mean_cosine"] == pytest.approx(1)


@pytest.mark.parametrize("target", [torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3), "names"])
def test_targets_that_are_no_classes(target: Any) -> None:
    with pytest.raises(ValueError, match="the probe needs data with one class a sample"):
        check_target(target)


def test_strategies_with_labels_need_no_probe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the probe is for pretraining, and TransferModule trains on labels"):
        tiny.tiny_trainer(tmp_path, [OnlineProbe(Labelled())]).fit(tiny.tiny_module(), datamodule=tiny.TinyData())


def test_features_that_are_no_numbers(tmp_path: Path) -> None:
    class Broken(ContrastivePretraining):
        def features(self, inputs: Any) -> Tensor:
            return super().features(inputs) / 0

    broken = Broken(HuggingFaceVision(str(tiny.tiny_vit(tmp_path).arguments["pretrained"])), projection=8)
    with pytest.raises(FloatingPointError, match="the probe found features that are not finite"):
        tiny.tiny_trainer(tmp_path, [OnlineProbe(Labelled())]).fit(broken, datamodule=TwoViews(SPEC))
