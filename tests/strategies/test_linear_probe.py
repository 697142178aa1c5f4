"""The linear probe: a frozen backbone that runs once per sample, and a head on what it said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import tiny
import torch
import transformers
from ranks import on_two_ranks
from torch import Tensor, nn

from datamodules import OverheadAugmentation, SatelliteDataModule
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.strategies import FineTune, LinearProbe
from lightning_tl.strategies.probe.features import FeatureLoader, Features

LABELS = 60  # ten of each of six classes
BATCH = 20


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        hidden_dropout_prob=0.3,  # would show if the frozen backbone were left in training mode
    )
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)


def satellite(**options: Any) -> SatelliteDataModule:
    return SatelliteDataModule(**{"labels_per_class": 10, "batch_size": BATCH, "seed": 3, **options})


@pytest.fixture(scope="module")
def shared() -> SatelliteDataModule:
    return satellite()


@pytest.fixture
def data(shared: SatelliteDataModule) -> Iterator[SatelliteDataModule]:
    """Tiles that were read once; nothing of a run may be left in it."""
    before = set(vars(shared))
    yield shared
    assert not {"train_dataloader", "val_dataloader"} & (set(vars(shared)) - before)


class Seen(pl.Callback):
    """What reaches the backbone and the head."""

    def __init__(self) -> None:
        self.rows = 0
        self.batches: list[Any] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert not any(part.training for part in module.modules()), "a frozen backbone stays in evaluation mode"
            self.rows += len(output)

        self.handle = pl_module.backbone.register_forward_hook(count)  # type: ignore[union-attr, operator]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        self.batches.append(batch)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.handle.remove()


def probe(vit: str, **options: Any) -> LinearProbe:
    torch.manual_seed(0)
    return LinearProbe(HuggingFaceVision(vit), **({"l2_grid": (1e-3, 1e-1)} | options))


def fitted(
    folder: Path, module: LinearProbe, data: pl.LightningDataModule, *callbacks: pl.Callback, **trainer: Any
) -> pl.Trainer:
    run = tiny.tiny_trainer(folder, [ResumableCheckpoint(), *callbacks], **({"max_epochs": 3} | trainer))
    run.fit(module, datamodule=data)
    return run


def kept(trainer: pl.Trainer) -> Features:
    assert isinstance(trainer.train_dataloader, FeatureLoader)
    return trainer.train_dataloader.features


@torch.no_grad()
def by_hand(module: LinearProbe, data: SatelliteDataModule, split: str) -> tuple[Tensor, Tensor]:
    """Features and targets of a split in the order of the data set, in one pass."""
    batch = data._plain.fetch(data.indices[split], 0)
    return module.backbone.eval()(batch["inputs"]), batch["target"]


# -------------------------------------------------------------------- what is computed, and how often


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_backbone_runs_once_per_sample_and_stays_as_it_was(
    solver: str, vit: str, data: SatelliteDataModule, tmp_path: Path
) -> None:
    module, seen = probe(vit, solver=solver), Seen()
    before = tiny.weights_hash(module.backbone)
    trainer = fitted(tmp_path, module, data, seen)
    assert seen.rows == LABELS + len(data.indices["validation"])
    assert tiny.weights_hash(module.backbone) == before
    assert trainer.current_epoch == (1 if solver == "lbfgs" else 3)
    assert trainer.global_step == (0 if solver == "lbfgs" else 3 * LABELS // BATCH)
    expected, target = by_hand(module, data, "train")
    features = kept(trainer)
    torch.testing.assert_close(features.values[0], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(features.target, target) and features.index.tolist() == data.indices["train"].tolist()
    assert Path(trainer.checkpoint_callback.best_model_path).exists()  # type: ignore[union-attr]


def test_head_in_the_best_checkpoint_scores_as_by_hand(vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    module = probe(vit)
    trainer = fitted(tmp_path, module, data)
    head = tiny.weights_hash(module.head)  # type: ignore[arg-type]
    nn.init.zeros_(module.head.weight)  # type: ignore[union-attr, arg-type]
    path = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    (metrics,) = trainer.test(module, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
    assert tiny.weights_hash(module.head) == head  # type: ignore[arg-type]
    features, target = by_hand(module, data, "test")
    logits = module.head(features)  # type: ignore[misc]
    assert metrics["test_accuracy"] == pytest.approx((logits.argmax(1) == target).float().mean().item(), abs=1e-6)
    assert metrics["test_loss"] == pytest.approx(nn.functional.cross_entropy(logits, target).item(), abs=1e-5)
    assert metrics["test_accuracy"] > 1.5 / 6, "features of a random network still tell something"


def test_solving_is_deterministic_and_memory_mapping_changes_nothing(
    vit: str, data: SatelliteDataModule, tmp_path: Path
) -> None:
    heads = []
    for name, limit in (("memory", 1024), ("again", 1024), ("file", 0)):
        module = probe(vit, memory_limit_mib=limit)
        nn.init.normal_(next(module.parameters()).new_empty(3))  # another state of the generator
        fitted(tmp_path / name, module, data)
        heads.append(tiny.weights_hash(module.head))  # type: ignore[arg-type]
    assert len(set(heads)) == 1
    assert (tmp_path / "file" / "features" / "train_features.npy").exists()
    assert not (tmp_path / "memory" / "features").exists()


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_views(solver: str, vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    data.augmentation, plain = OverheadAugmentation(), data.augmentation
    try:
        module, seen = probe(vit, solver=solver, cached_views=2), Seen()
        trainer = fitted(tmp_path, module, data, seen)
    finally:
        data.augmentation = plain
    assert seen.rows == 2 * LABELS + len(data.indices["validation"])
    first, second = kept(trainer).values
    assert (first != second).any(1).float().mean() > 0.9, "the second view is augmented"
    place = {int(index): row for row, index in enumerate(kept(trainer).index)}
    for number, batch in enumerate(seen.batches):
        rows = [place[int(index)] for index in batch["index"]]
        view = number // (LABELS // BATCH) % 2  # each epoch takes the next one
        assert torch.equal(batch["features"], (first, second)[view][rows])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(precision: str, vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    module = probe(vit)
    trainer = fitted(tmp_path, module, data, precision=precision)
    found = kept(trainer).values[0]
    expected, _ = by_hand(probe(vit), data, "train")
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)
    assert torch.isfinite(trainer.callback_metrics["val_loss"])


def test_mlp_head_learns_with_sgd(vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    module = probe(vit, solver="sgd", head_hidden=32, lr=0.01)
    trainer = fitted(tmp_path, module, data, max_epochs=15)
    logits = module.head.eval()(kept(trainer).values[0])  # type: ignore[union-attr]
    assert (logits.argmax(1) == kept(trainer).target).float().mean() > 0.4


def test_another_strategy_can_use_the_data_afterwards(vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    fitted(tmp_path, probe(vit), data)
    trainer = tiny.tiny_trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(FineTune(HuggingFaceVision(vit)), datamodule=data)
    assert trainer.global_step == 1


# -------------------------------------------------------------------- resuming and several processes


class StopAt(pl.Callback):
    """Ends the run in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, number: int) -> None:
        if trainer.global_step == self.step:
            raise InterruptedError


def test_sgd_resumes_exactly_in_mid_epoch(vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    options = {"solver": "sgd", "head_hidden": 8, "dropout": 0.5, "lr": 0.01}
    through = probe(vit, **options)
    fitted(tmp_path / "through", through, data)
    save = ResumableCheckpoint(every_n_train_steps=1)
    stopped = probe(vit, **options)
    trainer = tiny.tiny_trainer(tmp_path / "stopped", [save, StopAt(5)], max_epochs=3)
    with pytest.raises(InterruptedError):
        trainer.fit(stopped, datamodule=data)
    resumed = probe(vit, **options)
    trainer = tiny.tiny_trainer(tmp_path / "stopped", [ResumableCheckpoint()], max_epochs=3)
    trainer.fit(resumed, datamodule=data, ckpt_path=save.last_model_path, weights_only=True)
    assert trainer.global_step == 9
    assert tiny.weights_hash(resumed) == tiny.weights_hash(through)


def probed(folder: str, vit: str, solver: str, precision: str = "32-true", **trainer: Any) -> dict[str, Any]:
    """One run; on two ranks each takes half of every batch."""
    module = probe(vit, solver=solver, lr=0.05)
    data = satellite(batch_size=BATCH // int(trainer.get("devices", 1)))
    run = fitted(Path(folder), module, data, **trainer)
    metrics = {name: float(value) for name, value in run.callback_metrics.items()}
    return {"head": dict(module.head.state_dict()), "metrics": metrics, "steps": run.global_step}  # type: ignore


def both_solvers(folder: str, vit: str) -> list[dict[str, Any]]:
    options = {"devices": 2, "strategy": "ddp"}
    return [probed(f"{folder}/{solver}", vit, solver, **options) for solver in ("lbfgs", "sgd")]


def test_two_processes_find_the_head_of_one(vit: str, tmp_path: Path) -> None:
    ranks = on_two_ranks(both_solvers, tmp_path, str(tmp_path), vit)
    for number, solver in enumerate(("lbfgs", "sgd")):
        alone = probed(str(tmp_path / f"alone-{solver}"), vit, solver)
        first, second = ranks[0][number], ranks[1][number]
        for name, value in alone["head"].items():
            assert torch.equal(first["head"][name], second["head"][name]), f"{solver}: ranks agree"
            torch.testing.assert_close(first["head"][name], value, atol=1e-5, rtol=1e-5)
        assert first["steps"] == alone["steps"]
        for metric in ("val_loss", "val_accuracy", "val_macro_f1"):
            assert first["metrics"][metric] == pytest.approx(alone["metrics"][metric], abs=1e-5), (solver, metric)


# -------------------------------------------------------------------- the order of batches


def loader(epoch: int, rank: int, ranks: int, seed: int, count: int, batch_size: int, shuffle: bool) -> FeatureLoader:
    features = Features(torch.arange(count).float().view(1, -1, 1), torch.zeros(count), torch.arange(count))
    trainer: Any = SimpleNamespace(
        world_size=ranks, global_rank=rank, current_epoch=epoch, fit_loop=SimpleNamespace(batch_idx=-1)
    )
    return FeatureLoader(features, batch_size, trainer, shuffle, seed)


def order(epoch: int = 0, rank: int = 0, ranks: int = 1, seed: int = 0, count: int = 22) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader(epoch, rank, ranks, seed, count, 4, True)]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    orders = [str(order(epoch, seed=seed)) for seed in (0, 1, 2**62, -1) for epoch in (0, 1, 2)]
    assert len(set(orders)) == len(orders)
    torch.manual_seed(5)
    assert orders == [str(order(epoch, seed=seed)) for seed in (0, 1, 2**62, -1) for epoch in (0, 1, 2)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "ranks", "batch_size"), [(22, 1, 4), (22, 3, 4), (9, 2, 4), (17, 2, 8), (5, 4, 64)])
def test_every_sample_comes_and_ranks_take_as_many_batches(
    count: int, ranks: int, batch_size: int, shuffle: bool
) -> None:
    served = []
    for rank in range(ranks):
        of_rank = loader(2, rank, ranks, 0, count, batch_size, shuffle)
        served.append([batch["index"].tolist() for batch in of_rank])
        assert len(served[-1]) == len(of_rank)
        assert all(0 < len(batch) <= batch_size for batch in served[-1])
    assert len({len(batches) for batches in served}) == 1
    everything = [index for batches in served for batch in batches for index in batch]
    assert set(everything) == set(range(count))
    if shuffle:
        assert len({sum(map(len, batches)) for batches in served}) == 1, "as many optimizer steps and samples"
    else:
        assert len(everything) == count, "validation counts none twice"


# -------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "adam"}, "solver must be lbfgs or sgd, got adam"),
        ({"cached_views": 0}, "cached_views must be at least 1, got 0"),
        ({"l2_grid": ()}, r"l2_grid must hold strengths above 0, got \[\]"),
        ({"l2_grid": (0.1, 0.0)}, r"l2_grid must hold strengths above 0, got \[0.1, 0.0\]"),
        ({"memory_limit_mib": -1}, "memory_limit_mib must be at least 0, got -1"),
        ({"head_hidden": 8}, "solver lbfgs needs a linear head without dropout; use solver: sgd"),
        ({"dropout": 0.1}, "solver lbfgs needs a linear head without dropout; use solver: sgd"),
        ({"lr": 0}, "lr must be above 0, got 0"),
    ],
)
def test_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearProbe(tiny.TinyBackbone(), **options)


def test_data_that_cannot_be_read_in_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="TinyData has no cache_loader and cache_size; add them"):
        tiny.tiny_trainer(tmp_path).fit(LinearProbe(tiny.TinyBackbone()), datamodule=tiny.TinyData())


class OtherHead(LinearProbe):
    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(feature_dim, num_classes))


def test_a_head_that_lbfgs_cannot_solve(vit: str, data: SatelliteDataModule, tmp_path: Path) -> None:
    trainer = tiny.tiny_trainer(tmp_path)
    with pytest.raises(ValueError, match=r"solver lbfgs needs nn\.Linear with a bias as head, got Sequential"):
        trainer.fit(OtherHead(HuggingFaceVision(vit)), datamodule=data)
    for name in ("train_dataloader", "val_dataloader"):
        vars(data).pop(name, None)  # the run broke off before its teardown


class NoValidation(SatelliteDataModule):
    def cache_size(self, split: str) -> int:
        return 0 if split == "validation" else super().cache_size(split)


def test_no_validation_samples(vit: str, tmp_path: Path) -> None:
    data = NoValidation(labels_per_class=10)
    with pytest.raises(ValueError, match="the validation split has 0 samples, which is too few"):
        tiny.tiny_trainer(tmp_path).fit(LinearProbe(HuggingFaceVision(vit)), datamodule=data)
