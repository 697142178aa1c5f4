"""Callbacks of this project take back what they set, and Lightning's own are obeyed or refused before training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    Callback,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from lightning.pytorch.tuner import Tuner
from tiny import TinyBackbone, TinyData, TinyImages, tiny_module, tiny_trainer, weights_hash
from torch.utils.data import DataLoader

from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing
from lightning_tl.callbacks.phase_boundary import PhaseBoundary
from lightning_tl.strategies import LinearProbe
from lightning_tl.training.guests import check_processes
from lightning_tl.training.learning_rates import LearningRates
from lightning_tl.training.schedules import Constant
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

GROUPS = ["embeddings", "block.0", "block.1", "head"]


class Rates(Callback):
    """Every group's rate in every step, as the optimizer has it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []
        self.trained: list[list[str]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.seen.append({group["group"]: group["lr"] for group in optimizer.param_groups})
        self.trained.append(pl_module.trainable_groups)


class Fails(Callback):
    """Ends a fit at a hook, as a fault or Ctrl-C would."""

    def __init__(self, hook: str, error: BaseException) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            if args[0].current_epoch == 2 or hook in ("setup", "on_fit_start"):
                raise error

        setattr(self, hook, fail)


def unfreezing() -> ProgressiveUnfreezing:
    return ProgressiveUnfreezing(warmup_steps=3, decay=0.5, adapt_batch_norm=True)


ENDINGS: dict[str, tuple[list[Callback], dict[str, Any]]] = {
    "at its end": ([], {}),
    "in its second phase": ([], {"max_epochs": 2}),
    "by an error in a batch": ([Fails("on_train_batch_start", RuntimeError("x"))], {}),
    "by Ctrl-C": ([Fails("on_train_batch_start", KeyboardInterrupt())], {}),
    "by an error in setup": ([Fails("setup", RuntimeError("x"))], {}),
    "by an error before training": ([Fails("on_fit_start", RuntimeError("x"))], {}),
    "as a trial": ([], {"fast_dev_run": True}),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_of_a_callback_outlives_its_fit(ending: str, tmp_path: Path) -> None:
    """A fit after it has the rates, groups and modes of a module that never had the callback."""
    more, options = ENDINGS[ending]
    module, untouched = tiny_module(), tiny_module()
    first = tiny_trainer(tmp_path, [unfreezing(), *more], **options)
    try:
        first.fit(module, datamodule=TinyData())
    except (RuntimeError, KeyboardInterrupt, SystemExit):
        assert more
    assert not any(isinstance(callback, PhaseBoundary) for callback in first.callbacks)  # type: ignore[attr-defined]
    assert all(parameter.requires_grad for parameter in module.parameters())
    after, fresh = Rates(), Rates()
    tiny_trainer(tmp_path, [after], max_epochs=2).fit(module, datamodule=TinyData())
    tiny_trainer(tmp_path, [fresh], max_epochs=2).fit(untouched, datamodule=TinyData())
    assert after.seen == fresh.seen and min(min(rates.values()) for rates in after.seen) > 0
    assert after.trained == fresh.trained == [GROUPS] * 14
    assert module.backbone.training and all(part.training for part in module.backbone.modules())


def test_what_trained_before_a_fit_trains_after_it(tmp_path: Path) -> None:
    module = tiny_module(num_classes=3)
    module.configure_model()
    module.set_trainable(["block.1", "head"])
    tiny_trainer(tmp_path, [ProgressiveUnfreezing()]).fit(module, datamodule=TinyData())
    assert module.trainable_groups == ["block.1", "head"]


@pytest.mark.parametrize("again", ["another module", "the same module", "the same Trainer"])
@pytest.mark.parametrize("options", [{}, {"monitor": "val_loss", "patience": 1, "min_delta": 100.0}])
def test_a_second_fit_starts_at_phase_0(again: str, options: dict[str, Any], tmp_path: Path) -> None:
    callback, seen = ProgressiveUnfreezing(warmup_steps=3, **options), Rates()
    module = tiny_module()
    trainer = tiny_trainer(tmp_path, [callback], max_epochs=4)
    trainer.fit(module, datamodule=TinyData())
    if again == "the same Trainer":
        trainer.fit_loop.max_epochs = 8
        trainer.callbacks.append(seen)  # type: ignore[attr-defined]
    else:
        trainer = tiny_trainer(tmp_path, [callback, seen], max_epochs=4)
        module = tiny_module() if again == "another module" else module
    trainer.fit(module, datamodule=TinyData())
    assert seen.trained[0] == ["head"] and seen.trained[-1] != ["head"]
    assert [entry["phase"] for entry in callback.history] == list(range(callback.phase + 1))
    assert all(0 <= rate <= 0.05 for rates in seen.seen for rate in rates.values())


def test_rates_of_a_callback_that_is_gone_are_gone(tmp_path: Path) -> None:
    module, seen = tiny_module(schedule=Constant()), Rates()
    tiny_trainer(tmp_path, [DiscriminativeLearningRates(0.5)], max_epochs=1).fit(module, datamodule=TinyData())
    tiny_trainer(tmp_path, [seen], max_epochs=1).fit(module, datamodule=TinyData())
    assert seen.seen[0] == pytest.approx({"embeddings": 0.005, "block.0": 0.005, "block.1": 0.005, "head": 0.05})


def test_a_ramp_is_a_share() -> None:
    rates = LearningRates(torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1), Constant(), None)
    for ramp in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            rates.write({"group.0": ramp})


# -------------------------------------------------------------------- the learning-rate search


class Watched(TransferModule):
    """Remembers the rates of every step: a search takes the callbacks away."""

    seen: list[dict[str, float]]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.seen.append({group["group"]: group["lr"] for group in optimizer.param_groups})


def watched(**options: Any) -> Watched:
    module = tiny_module(**options)
    module.__class__, module.seen = Watched, []  # type: ignore[assignment]
    return module  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("callbacks", "options", "ratios"),
    [
        ([], {}, [0.1, 0.1, 0.1, 1]),
        ([], {"layer_decay": 0.5}, [0.025, 0.05, 0.1, 1]),
        ([DiscriminativeLearningRates(0.5)], {}, [0.025, 0.05, 0.1, 1]),
        ([ProgressiveUnfreezing(decay=0.5)], {}, [0.025, 0.05, 0.1, 1]),
    ],
)
@pytest.mark.parametrize("way", ["Tuner", "callback"])
def test_a_search_moves_all_rates_and_its_finding_is_kept(
    callbacks: list[Callback], options: dict[str, Any], ratios: list[float], way: str, tmp_path: Path
) -> None:
    module = watched(schedule=Constant(), **options)
    finder = LearningRateFinder(num_training_steps=20, early_stop_threshold=None)
    trainer = tiny_trainer(tmp_path, [*callbacks, *([finder] if way == "callback" else [])], max_epochs=4)
    if way == "Tuner":
        found = Tuner(trainer).lr_find(module, datamodule=TinyData(200), num_training=20, early_stop_threshold=None)
        assert found is not None
        trainer.fit(module, datamodule=TinyData(200))
    else:
        trainer.fit(module, datamodule=TinyData(200))
        found = finder.optimal_lr
        assert found is not None
    swept, trained = module.seen[:20], module.seen[20:]
    assert [rates["head"] for rates in swept] == pytest.approx(found.results["lr"][:20])
    assert module.lr == found.suggestion() != 0.05
    for rates in (*swept, trained[-1]):
        assert [rates[name] / rates["head"] for name in GROUPS] == pytest.approx(ratios)
    assert trained[0]["head"] == trained[-1]["head"] == pytest.approx(module.lr)


def test_rates_that_are_given_stay_in_a_search(tmp_path: Path) -> None:
    module = watched(backbone_lr=0.003, schedule=Constant())
    Tuner(tiny_trainer(tmp_path)).lr_find(module, datamodule=TinyData(200), num_training=20)
    assert {rates["block.1"] for rates in module.seen} == {0.003}, "as in training with another lr"
    assert module.backbone_lr == 0.003


def test_a_search_leaves_the_weights(tmp_path: Path) -> None:
    module = tiny_module(num_classes=3)
    module.configure_model()
    before = weights_hash(module)
    trainer = tiny_trainer(tmp_path, [ProgressiveUnfreezing()])
    Tuner(trainer).lr_find(module, datamodule=TinyData(200), num_training=20, update_attr=False)
    assert weights_hash(module) == before and module.lr == 0.05
    assert module.trainable_groups == GROUPS


def test_a_found_batch_size_gives_the_schedule_its_length(tmp_path: Path) -> None:
    module, data = tiny_module(), TinyData(200)
    finder = BatchSizeFinder("power", steps_per_trial=1, init_val=2, max_trials=2)
    tiny_trainer(tmp_path, [finder], max_epochs=2).fit(module, datamodule=data)
    assert data.batch_size == 4 and module.rates is not None
    assert module.rates.total_steps == 100 and module.rates.factor == pytest.approx(0, abs=1e-3)


# -------------------------------------------------------------------- others that write rates


def test_weight_averaging_has_its_own_rates(tmp_path: Path) -> None:
    seen = Rates()
    averaging = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=1)
    with pytest.warns(UserWarning, match="from swa_epoch_start on"):
        tiny_trainer(tmp_path, [averaging, seen], max_epochs=5).fit(tiny_module(), datamodule=TinyData())
    assert seen.seen[0]["block.1"] == pytest.approx(0.1 * seen.seen[0]["head"])
    assert set(seen.seen[-1].values()) == {0.01}


class WarmUp(Callback):
    """As people write it; which hook differs."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.write)

    def write(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = 1e-4 * (trainer.global_step + 1)


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_train_batch_end", "on_before_optimizer_step"])
def test_a_callback_that_writes_rates_is_told_at_once(hook: str, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, [WarmUp(hook)])
    with pytest.raises(ValueError, match=r"'embeddings' was set to .*CosineWithWarmup would overwrite"):
        trainer.fit(tiny_module(), datamodule=TinyData())
    assert trainer.global_step <= 2


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: BackboneFinetuning(1), "BackboneFinetuning freezes and thaws.*ProgressiveUnfreezing"),
        (lambda: LearningRateFinder(attr_name="backbone_lr"), "leave attr_name out"),
    ],
)
def test_refused_before_anything_is_changed(callback: Callable[[], Callback], message: str, tmp_path: Path) -> None:
    module = tiny_module()
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path, [callback()]).fit(module, datamodule=TinyData())
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(("strategy", "works"), [("ddp_spawn", False), ("ddp_notebook", False), ("ddp", True)])
def test_processes_made_from_memory_are_refused(strategy: str, works: bool, tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, strategy=strategy, devices=2)
    with nullcontext() if works else pytest.raises(ValueError, match="use strategy ddp,"):
        check_processes(trainer)


def test_processes_made_from_memory_are_refused_in_python(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="use strategy ddp,"):  # it comes out of the process that was started
        tiny_trainer(tmp_path, strategy="ddp_fork", devices=2).fit(tiny_module(), datamodule=TinyData())


# -------------------------------------------------------------------- one's own optimizer and loaders


class OwnOptimizer(TransferModule):
    way = "plain"

    def configure_optimizers(self) -> Any:
        if self.way == "plain":
            return torch.optim.SGD(self.parameters(), 0.1)
        if self.way == "plain with a scheduler":
            optimizer = torch.optim.SGD(self.parameters(), 0.1)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]
        if self.way == "scheduled":
            return self.scheduled(torch.optim.SGD(self.parameters(), 0.1))
        if self.way == "scheduled twice":
            optimizer = self.scheduled(torch.optim.SGD(self.parameters(), 0.1))
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]
        return self.scheduled(torch.optim.SGD(self.optimizer_groups()))


def own(way: str) -> OwnOptimizer:
    module = tiny_module(schedule=Constant())
    module.__class__ = OwnOptimizer
    module.way = way  # type: ignore[attr-defined]
    return module  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("way", "callback", "refused"),
    [
        ("plain", None, None),
        ("plain", ProgressiveUnfreezing(), None),
        ("plain", ProgressiveUnfreezing(warmup_steps=2), "return self.scheduled"),
        ("plain", ProgressiveUnfreezing(decay=0.5), "return self.scheduled"),
        ("plain", DiscriminativeLearningRates(0.5), "return self.scheduled"),
        ("plain with a scheduler", ProgressiveUnfreezing(), None),
        ("scheduled", None, None),
        ("scheduled", ProgressiveUnfreezing(), None),
        ("scheduled", DiscriminativeLearningRates(0.5), "return self.scheduled"),
        ("scheduled twice", None, "beside self.scheduled"),
        ("groups", DiscriminativeLearningRates(0.5), None),
        ("groups", ProgressiveUnfreezing(warmup_steps=2, decay=0.5), None),
    ],
)
def test_an_optimizer_of_ones_own(way: str, callback: Callback | None, refused: str | None, tmp_path: Path) -> None:
    module = own(way)
    trainer = tiny_trainer(tmp_path, [callback] if callback else [])
    if refused is not None:
        with pytest.raises(ValueError, match=refused):
            trainer.fit(module, datamodule=TinyData())
        assert trainer.global_step == 0
        return
    trainer.fit(module, datamodule=TinyData())
    assert trainer.global_step == 28
    if way == "plain with a scheduler":
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**4)


def loader(kind: str) -> DataLoader[Any]:
    samples = TinyImages(24, augment=False)
    give: dict[str, Callable[[dict[str, Any]], Any]] = {
        "dict": lambda s: s,
        "no index": lambda s: {"inputs": s["inputs"], "target": s["target"]},
        "pair": lambda s: (s["inputs"], s["target"]),
        "triple": lambda s: (s["inputs"], s["target"], s["index"]),
        "image": lambda s: {"image": s["inputs"], "label": s["target"]},
        "four": lambda s: (s["inputs"], s["target"], s["index"], s["index"]),
        "inputs alone": lambda s: s["inputs"],
    }
    return DataLoader([give[kind](samples[k]) for k in range(24)], batch_size=8)  # type: ignore[arg-type]


def test_batches_of_every_kind_train_alike(tmp_path: Path) -> None:
    hashes = set()
    for kind in ("dict", "no index", "pair", "triple"):
        module = tiny_module(num_classes=3)
        trainer = tiny_trainer(tmp_path, [ProgressiveUnfreezing()])
        trainer.fit(module, loader(kind), loader(kind))
        trainer.test(module, loader(kind), verbose=False)
        predicted: Any = trainer.predict(module, loader("inputs alone" if kind == "pair" else kind))
        hashes.add((weights_hash(module), float(predicted[0]["probabilities"].sum())))
    assert len(hashes) == 1


@pytest.mark.parametrize(("kind", "found"), [("image", "image, label"), ("four", "of 4"), ("inputs alone", "Tensor")])
def test_a_batch_of_another_kind_is_told(kind: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"a batch has no .*tuple \\(inputs, target\\).*{found}"):
        tiny_trainer(tmp_path).fit(tiny_module(num_classes=3), loader(kind))


# -------------------------------------------------------------------- the linear probe on plain loaders


@pytest.mark.parametrize("kind", ["dict", "no index", "pair"])
@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_a_linear_probe_reads_plain_loaders(kind: str, solver: Any, tmp_path: Path) -> None:
    module, twin = (LinearProbe(TinyBackbone(), solver=solver, num_classes=3) for _ in range(2))
    twin.backbone.load_state_dict(module.backbone.state_dict())
    shuffled = DataLoader(loader(kind).dataset, batch_size=8, shuffle=True)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, shuffled, loader(kind))
    assert module.head is not None
    found = trainer.test(module, loader(kind), verbose=False)[0]
    trainer = tiny_trainer(tmp_path)
    trainer.fit(twin, loader("triple"), loader("triple"))
    assert found == trainer.test(twin, loader("triple"), verbose=False)[0], "the order of the loader does not matter"
    if solver == "lbfgs":
        assert found["test_accuracy"] > 0.5, "the training samples themselves"


def test_what_a_linear_probe_cannot_read_is_told(tmp_path: Path) -> None:
    module = LinearProbe(TinyBackbone(), num_classes=3)
    with pytest.raises(ValueError, match="on validation samples: give"):
        tiny_trainer(tmp_path).fit(module, loader("pair"))
    with pytest.raises(ValueError, match="one torch DataLoader over a data set with a length, got list"):
        tiny_trainer(tmp_path).fit(module, loader("pair"), [loader("pair"), loader("pair")])
    with pytest.raises(ValueError, match="plain loaders have no views: use 1"):
        several = LinearProbe(TinyBackbone(), num_classes=3, cached_views=2)
        tiny_trainer(tmp_path).fit(several, loader("pair"), loader("pair"))
