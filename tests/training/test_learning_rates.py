"""Every rate of every step against a slow formula: own rate × schedule × thaw ramp."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from tiny import TinyBackbone, TinyData, tiny_module, tiny_trainer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau, StepLR

from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing, ResumableCheckpoint
from lightning_tl.contracts.layer_groups import LayerGroup
from lightning_tl.contracts.notice import Notice
from lightning_tl.training.learning_rates import LearningRates
from lightning_tl.training.schedules import (
    Constant,
    CosineWithWarmup,
    OneCycle,
    Schedule,
    SlantedTriangular,
    TorchSchedule,
)
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

STEPS, EPOCHS = 7, 4
TOTAL = STEPS * EPOCHS
GROUPS = ["embeddings", "block.0", "block.1", "head"]
LR, BACKBONE_LR = 0.05, 0.004


class Watch(Callback):
    """The rates with which the optimizer really steps."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []
        self.losses: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.rates.append({group["group"]: group["lr"] for group in optimizer.param_groups})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.losses.append(float(trainer.callback_metrics["val_loss"]))


def cosine_with_warmup(step: int, total: int = TOTAL) -> float:
    rising = int(0.2 * total)
    if step < rising:
        return 1 / (rising + 1) + (1 - 1 / (rising + 1)) * step / rising
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2


def one_cycle(step: int, total: int = TOTAL) -> float:
    peak, end = 0.3 * (total + 1) - 1, total
    low, floor = 1 / 25, 1 / 25 / 1e4
    if step <= peak:
        return low + (1 - low) * (1 - math.cos(math.pi * step / peak)) / 2
    return floor + (1 - floor) * (1 + math.cos(math.pi * (step - peak) / (end - peak))) / 2


def plateau(losses: Sequence[float]) -> list[float]:
    """Halves after an epoch that is not 10% below the best: the factor of each epoch."""
    factors, best = [1.0], math.inf
    for loss in losses:
        better = loss < best * 0.9
        best = loss if better else best
        factors.append(factors[-1] * (1 if better else 0.5))
    return factors


def make_plateau(optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.1)


def slanted_triangular(step: int, steps: int = STEPS * EPOCHS) -> float:
    """Equation 3 of the paper, with cut_frac 0.25 and ratio 16."""
    cut = math.floor(steps * 0.25)
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / 0.25 - 1))
    return (1 + p * (16 - 1)) / 16


SCHEDULES: dict[str, tuple[Callable[[], Schedule], Callable[[int], float] | None]] = {
    "constant": (Constant, lambda step: 1.0),
    "cosine with warm-up": (lambda: CosineWithWarmup(0.2, 0.1), cosine_with_warmup),
    "one-cycle": (OneCycle, one_cycle),
    "slanted triangular": (lambda: SlantedTriangular(0.25, 16), slanted_triangular),
    "LambdaLR by epoch": (
        lambda: TorchSchedule(lambda optimizer: LambdaLR(optimizer, lambda epoch: 0.7**epoch)),
        lambda step: 0.7 ** (step // STEPS),
    ),
    "StepLR by step": (
        lambda: TorchSchedule(lambda optimizer: StepLR(optimizer, 5, 0.5), "step"),
        lambda step: 0.5 ** (step // 5),
    ),
    "cosine by epoch": (
        lambda: TorchSchedule(lambda optimizer: CosineAnnealingLR(optimizer, EPOCHS, 0.01)),
        lambda step: 0.01 + 0.99 * (1 + math.cos(math.pi * (step // STEPS) / EPOCHS)) / 2,
    ),
    "plateau": (lambda: TorchSchedule(make_plateau, monitor="val_loss"), None),
}


def thaw_ramp(group: str, step: int, warmup: int, steps: int = STEPS) -> float:
    """Group k from the end thaws with epoch k; the head has no ramp."""
    if group == "head":
        return 1.0
    since = step - steps * (len(GROUPS) - 1 - GROUPS.index(group))
    return 0.0 if since < 0 else min(1.0, (since + 1) / (warmup + 1))


@pytest.mark.parametrize("warmup", [0, 9])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rate_of_each_group_at_each_step(name: str, warmup: int, tmp_path: Path) -> None:
    make, formula = SCHEDULES[name]
    module = tiny_module(lr=LR, backbone_lr=BACKBONE_LR, schedule=make())
    watch = Watch()
    unfreezing = ProgressiveUnfreezing(decay=0.3, warmup_steps=warmup)
    tiny_trainer(tmp_path, [watch, unfreezing], max_epochs=EPOCHS).fit(module, datamodule=TinyData())
    own = {"head": LR, "block.1": BACKBONE_LR, "block.0": BACKBONE_LR * 0.3, "embeddings": BACKBONE_LR * 0.09}
    by_epoch = plateau(watch.losses)
    assert len(watch.rates) == TOTAL
    for step, rates in enumerate(watch.rates):
        factor = by_epoch[step // STEPS] if formula is None else formula(step)
        expected = {group: own[group] * factor * thaw_ramp(group, step, warmup) for group in GROUPS}
        assert rates == pytest.approx(expected, rel=1e-9), f"step {step}"
        if step >= 3 * STEPS + warmup:
            assert rates["block.0"] / rates["block.1"] == pytest.approx(0.3), "ratios stay"


@pytest.mark.parametrize("name", ["cosine with warm-up", "one-cycle", "LambdaLR by epoch"])
def test_with_accumulation_the_schedule_counts_optimizer_steps(name: str, tmp_path: Path) -> None:
    make, _ = SCHEDULES[name]
    watch = Watch()
    trainer = tiny_trainer(
        tmp_path, [watch, ProgressiveUnfreezing(warmup_steps=3)], max_epochs=EPOCHS, accumulate_grad_batches=2
    )
    trainer.fit(tiny_module(lr=LR, schedule=make()), datamodule=TinyData())
    formulas: dict[str, Callable[[int], float]] = {
        "cosine with warm-up": lambda step: cosine_with_warmup(step, 4 * EPOCHS),
        "one-cycle": lambda step: one_cycle(step, 4 * EPOCHS),
        "LambdaLR by epoch": lambda step: 0.7 ** (step // 4),
    }
    assert len(watch.rates) == 4 * EPOCHS, "7 batches make 4 steps"
    for step, rates in enumerate(watch.rates):
        factor = formulas[name](step)
        assert rates["head"] == pytest.approx(LR * factor)
        assert rates["block.1"] == pytest.approx(LR / 10 * factor * thaw_ramp("block.1", step, 3, steps=4))


def test_discriminative_rates(tmp_path: Path) -> None:
    def rates(callback: DiscriminativeLearningRates, **options: Any) -> dict[str, float]:
        module = tiny_module(lr=LR, backbone_lr=BACKBONE_LR, schedule=Constant(), **options)
        watch = Watch()
        tiny_trainer(tmp_path, [watch, callback], max_epochs=1).fit(module, datamodule=TinyData())
        return watch.rates[0]

    default = {"head": LR, "block.1": BACKBONE_LR, "block.0": BACKBONE_LR * 0.3, "embeddings": BACKBONE_LR * 0.09}
    assert rates(DiscriminativeLearningRates()) == pytest.approx(default)
    explicit = DiscriminativeLearningRates(0.5, {"embeddings": 0.7, "head": 0.1})
    assert rates(explicit) == pytest.approx({**default, "block.0": BACKBONE_LR / 2, "embeddings": 0.7, "head": 0.1})


@pytest.mark.parametrize(
    ("options", "module", "message"),
    [
        ({"decay": 1.3}, {}, "decay must be in (0, 1], got 1.3"),
        ({"rates": {"head": 0.0}}, {}, "the learning rate of group 'head' must be above 0, got 0.0"),
        ({"rates": {"block.9": 0.1}}, {}, "'block.9', no group that trains; did you mean 'block.1'? (groups: emb"),
        ({}, {"layer_decay": 0.9}, "would multiply; leave one of them out"),
    ],
)
def test_bad_discriminative_rates(
    options: dict[str, Any], module: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        callback = DiscriminativeLearningRates(**options)
        tiny_trainer(tmp_path, [callback]).fit(tiny_module(**module), datamodule=TinyData())
    assert message in str(caught.value)


def test_log_names_the_rate_of_each_group(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="", version="")
    watch = Watch()
    trainer = tiny_trainer(
        tmp_path, [watch, ProgressiveUnfreezing(decay=0.5)], max_epochs=2, logger=logger, log_every_n_steps=1
    )
    trainer.fit(tiny_module(lr=LR), datamodule=TinyData())
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["lr/head"]]
    assert len(rows) == 2 * STEPS
    for row, rates in zip(rows, watch.rates, strict=True):
        logged = {group: float(row[f"lr/{group}"]) for group in GROUPS}
        assert logged == pytest.approx(rates, rel=1e-5)
    assert float(rows[0]["lr/block.1"]) == 0 < float(rows[-1]["lr/block.1"]), "a frozen group's rate is 0"


# -------------------------------------------------------------------- the schedule's state


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_state_is_plain(name: str, tmp_path: Path) -> None:
    module = tiny_module(schedule=SCHEDULES[name][0]())
    tiny_trainer(tmp_path, max_epochs=1).fit(module, datamodule=TinyData())
    assert module.rates is not None
    file = io.BytesIO()
    torch.save(module.rates.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    before = module.rates.factor
    module.rates.load_state_dict(state)
    assert module.rates.factor == before


@pytest.mark.parametrize("name", ["cosine with warm-up", "one-cycle", "slanted triangular", "LambdaLR by epoch"])
def test_a_longer_run_follows_the_schedule_of_its_own_length(name: str, tmp_path: Path) -> None:
    make, _ = SCHEDULES[name]
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint()], max_epochs=2)
    trainer.fit(tiny_module(lr=LR, schedule=make()), datamodule=TinyData())
    watch = Watch()
    longer = tiny_trainer(tmp_path, [watch, ResumableCheckpoint()], max_epochs=EPOCHS)
    told = name != "LambdaLR by epoch"  # whose rates know no length
    with pytest.warns(Notice, match="a run of 14 steps and this one has 28") if told else nullcontext():
        longer.fit(
            tiny_module(lr=LR, schedule=make()),
            datamodule=TinyData(),
            ckpt_path=str(tmp_path / "checkpoints/last.ckpt"),
        )
    formula = SCHEDULES[name][1]
    assert formula is not None
    expected = [LR * formula(step) for step in range(2 * STEPS, TOTAL)]
    np.testing.assert_allclose([rates["head"] for rates in watch.rates], expected, rtol=1e-6)


def test_a_test_of_a_checkpoint_leaves_the_next_fit_alone(tmp_path: Path) -> None:
    module, watch = tiny_module(lr=LR), Watch()
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint()], max_epochs=2)
    trainer.fit(module, datamodule=TinyData())
    trainer.test(module, datamodule=TinyData(), ckpt_path=str(tmp_path / "checkpoints/last.ckpt"), verbose=False)
    tiny_trainer(tmp_path, [watch], max_epochs=1).fit(module, datamodule=TinyData())
    fresh = Watch()
    tiny_trainer(tmp_path, [fresh], max_epochs=1).fit(tiny_module(lr=LR), datamodule=TinyData())
    assert watch.rates == fresh.rates


@pytest.mark.parametrize(
    ("schedule", "trainer", "message"),
    [
        (CosineWithWarmup(), {"max_epochs": -1}, "CosineWithWarmup needs a run of known length"),
        (TorchSchedule(make_plateau), {}, "ReduceLROnPlateau needs a metric: set monitor"),
        (TorchSchedule(lambda o: StepLR(o, 1), monitor="val_loss"), {}, "StepLR watches no metric; leave monitor out"),
        (TorchSchedule(make_plateau, monitor="val_los"), {}, "the schedule monitors 'val_los', which is not logged"),
    ],
)
def test_bad_schedules(schedule: Schedule, trainer: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        tiny_trainer(tmp_path, **trainer).fit(tiny_module(schedule=schedule), datamodule=TinyData())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CosineWithWarmup(warmup=1.0), "must be in [0, 1), got 1.0"),
        (lambda: CosineWithWarmup(floor=-0.1), "floor must be in [0, 1], got -0.1"),
        (lambda: OneCycle(rising=0.0), "must be in (0, 1), got 0.0"),
        (lambda: SlantedTriangular(rising=1.0), "must be in (0, 1), got 1.0"),
        (lambda: SlantedTriangular(ratio=1.0), "ratio must be above 1, got 1.0"),
        (lambda: TorchSchedule(make_plateau, interval="batch"), "interval must be step or epoch, got 'batch'"),  # type: ignore[arg-type]
    ],
)
def test_bad_schedule_arguments(build: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        build()
    assert message in str(caught.value)


# -------------------------------------------------------------------- tensors that two groups share


class TiedBackbone(TinyBackbone):
    """The second block uses the weights of the first, under a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks[1][0].weight = self.blocks[0][0].weight  # type: ignore[index]

    def layer_groups(self) -> list[LayerGroup]:
        embeddings, first, second = super().layer_groups()
        names = first.parameter_names  # both names of the shared weights are in both groups
        return [
            embeddings,
            LayerGroup(first.name, frozenset(n for n in names if n.startswith("blocks.0")), first.modules),
            LayerGroup(second.name, second.parameter_names - {"blocks.0.0.weight"}, second.modules),
        ]


def test_a_shared_tensor_belongs_to_the_group_of_its_first_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = TransferModule(TiedBackbone(), lr=LR, backbone_lr=BACKBONE_LR)
    changes: list[bool] = []

    class Spy(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            changes.append(pl_module.backbone.blocks[0][0].weight.requires_grad)

    trainer = tiny_trainer(tmp_path, [ProgressiveUnfreezing(decay=0.5), Spy()], max_epochs=EPOCHS)
    trainer.fit(module, datamodule=TinyData())
    held = [p for group in trainer.optimizers[0].param_groups for p in group["params"]]
    assert len(held) == len({id(p) for p in held}) == len(list(module.parameters()))
    assert changes == [False, False, True, True], "it thaws with block.0"


# ---------------------------------------------------------------- the owner alone


def owner(schedule: Schedule, total: int | None) -> LearningRates:
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [
        {"params": [p], "lr": lr, "group": name} for p, lr, name in zip(parameters, (0.3, 0.1), "ab", strict=True)
    ]
    return LearningRates(torch.optim.AdamW(groups), schedule, total)


def test_a_run_that_became_longer_follows_its_own_schedule_from_the_same_step() -> None:
    rates = owner(CosineWithWarmup(0.2, 0.1), TOTAL)
    for _ in range(9):
        rates.scheduler.step()
    rates.resize(2 * TOTAL)
    for step in range(9, 2 * TOTAL):
        rates.write({"a": 0.5})
        expected = cosine_with_warmup(step, 2 * TOTAL)
        assert rates.by_group() == pytest.approx({"a": 0.15 * expected, "b": 0.1 * expected})
        rates.scheduler.step()


def test_one_without_an_end_is_left_alone_by_a_change_of_length() -> None:
    rates = owner(Constant(), None)
    before = rates.scheduler
    rates.resize(50)
    assert rates.scheduler is before and rates.total_steps is None


def test_own_rates_of_groups_times_a_factor() -> None:
    rates = owner(Constant(), None)
    assert rates.own_by_group() == pytest.approx({"a": 0.3, "b": 0.1})
    assert rates.own_by_group(3.0) == pytest.approx({"a": 0.9, "b": 0.3})
