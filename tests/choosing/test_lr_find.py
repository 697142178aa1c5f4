"""`lightning-tl lr_find`: one factor for all rates, what it suggests, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import error_of, make_job
from lightning.pytorch.callbacks import Callback
from tiny import TinyData, tiny_module, tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower

from lightning_tl.adaptation import Frozen, Full
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing
from lightning_tl.choosing.rates.growing import Growing
from lightning_tl.choosing.rates.loss_curve import LossCurve
from lightning_tl.choosing.rates.range_test import RangeTest
from lightning_tl.choosing.rates.rate_fields import multiplied, rate_fields
from lightning_tl.cli import main


class Seen(Callback):
    """The rates of each optimizer step, by group."""

    def __init__(self) -> None:
        self.rates: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.rates.append({group["group"]: group["lr"] for group in optimizer.param_groups})


LAYERS = ("embeddings", "block.0", "block.1", "head")


@pytest.mark.filterwarnings("ignore:.*groups never train")
@pytest.mark.parametrize(
    ("callbacks", "options", "rates"),
    [
        ([], {"backbone_lr": 0.003}, (0.003, 0.003, 0.003, 0.05)),
        ([], {"layer_decay": 0.5, "backbone_lr": 0.004}, (0.001, 0.002, 0.004, 0.05)),
        ([DiscriminativeLearningRates(1, rates={"block.0": 0.7})], {}, (0.005, 0.7, 0.005, 0.05)),
        ([ProgressiveUnfreezing()], {"backbone_lr": 0.003}, (0.05,)),
    ],
    ids=["given", "decayed", "explicit", "unfreezing"],
)
def test_every_rate_times_one_growing_factor(
    callbacks: list[Callback], options: dict[str, Any], rates: tuple[float, ...], tmp_path: Path
) -> None:
    own = dict(zip(LAYERS[-len(rates) :], rates, strict=True))
    module, seen = tiny_module(num_classes=3, **options), Seen()
    test = RangeTest(Growing(1e-3, 1e-1, 16))
    module.configure_model()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer = tiny_trainer(
        tmp_path, [*callbacks, test, seen], max_epochs=1, limit_val_batches=0, accumulate_grad_batches=2
    )
    trainer.fit(module, datamodule=TinyData(256))
    assert test.own == pytest.approx(own)
    factors = [1e-3 * 100 ** (k / 15) for k in range(16)]
    assert test.curve.factors == pytest.approx(factors) and len(seen.rates) == 16
    for factor, rates in zip(factors, seen.rates, strict=True):
        assert {name: rates[name] for name in own} == pytest.approx({name: rate * factor for name, rate in own.items()})
    if len(own) == 1:  # the rest was frozen, bit by bit
        changed = {name for name, value in module.state_dict().items() if not bool((value == before[name]).all())}
        assert changed and all(name.startswith("head") for name in changed)
    assert all(1.5 > loss > 0.1 for loss in test.curve.losses), "of whole steps, near log(3) at the start"


def test_towers_of_a_retrieval_model(saved_models: Path, tmp_path: Path) -> None:
    encoder = HuggingFaceText(str(saved_models / "minilm"))
    module = tiny_two_tower(encoder, adaptation=Full(), encoder_lr=1e-3)
    test = RangeTest(Growing(1e-2, 1e4, 19))
    trainer = tiny_trainer(tmp_path, [test], max_epochs=1, limit_val_batches=0)
    trainer.fit(module, datamodule=tiny_data(tmp_path / "log"))
    assert test.own["head"] == 0.01 and {rate for name, rate in test.own.items() if name != "head"} == {1e-3}
    assert 10 <= len(test.curve.losses) <= 19


def test_smoothing_and_suggestion_by_hand() -> None:
    random = np.random.default_rng(0)
    curve = LossCurve()
    for step in range(100):
        factor = 10 ** (-3 + 6 * step / 99)
        fall = 1 / (1 + math.exp(-4 * (math.log10(factor) - 0.5)))  # steepest at 10 ** 0.5
        curve.add(factor, 3 - fall + 0.002 * random.standard_normal())
    slow = []
    for step in range(100):
        weights = [0.02 * 0.98 ** (step - k) for k in range(step + 1)]
        slow.append(sum(w * loss for w, loss in zip(weights, curve.losses, strict=False)) / sum(weights))
    assert curve.smoothed(100) == pytest.approx(slow)
    found = curve.suggestion(100)
    assert found is not None and 10**0.5 < found < 10**1.7, "a mean of the past lies behind, as in other libraries"
    rising = LossCurve(curve.factors, curve.losses[::-1])
    level = [LossCurve(curve.factors, list(3 + 0.1 * random.standard_normal(100))) for _ in range(20)]
    assert rising.suggestion(100) is None
    assert [each.suggestion(100) for each in level].count(None) >= 17, "noise is no fall"
    assert LossCurve([1, 2, 3], [3, 2, 1]).suggestion(100) is None, "too few to tell"


def test_fields_that_are_rates() -> None:
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3, "fused": True}}
    tower = {"class_path": "ItemTower", "init_args": {"encoder_lr": 2e-5, "dim": 16}}
    for model, callback, fields in (
        ({"lr": 1e-3, "backbone_lr": None, "optimizer": optimizer}, None, {"model.lr": 1e-3}),
        ({"lr": 1e-3, "backbone_lr": 1e-4}, None, {"model.lr": 1e-3, "model.backbone_lr": 1e-4}),
        ({"items": tower, "lr": 1e-2}, None, {"model.lr": 1e-2, "model.items.encoder_lr": 2e-5}),
        ({"lr": 1}, {"rates": {"head": 0.1}}, {"model.lr": 1.0, "learning_rates.rates": {"head": 0.1}}),
        ({"lr": 1}, {"rates": None}, {"model.lr": 1.0}),
        ({"temperature": 1.0}, None, {}),
    ):
        assert rate_fields({"class_path": "M", "init_args": model}, callback) == fields
    assert multiplied({"a": 1e-3, "b": {"c": 2e-3}}, 1.23456) == {"a": 0.00123, "b": {"c": 0.00247}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0), "the factors must grow from above 0 to a higher number, got 0 to 1"),
        ((10.0, 1.0), "got 10 to 1"),
        ((1.0, float("inf")), "got 1 to inf"),
        ((float("nan"), 1.0), "got nan to 1"),
        ((0.1, 1.0, 9), "a range test needs at least 10 steps, got 9"),
    ],
)
def test_ranges_that_are_none(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Growing(*arguments)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    job = make_job(tmp_path)
    test = ["lr_find", "--recipe", str(job), "--data.batch_size=2", "--unfreezing=null", "--model.backbone_lr=1e-4"]
    test += ["--high=1e4"]
    main(test)
    told = capsys.readouterr().out
    found = json.loads(Path("lr_find/mine.json").read_text())
    assert (tmp_path / "lr_find" / "mine.png").is_file() and not (tmp_path / "runs").exists()
    assert found["rates"]["head"] == 1e-3 and found["rates"]["block.0"] == 1e-4
    fields = found["fields"]
    assert fields["model.lr"] / fields["model.backbone_lr"] == pytest.approx(10, rel=0.01)
    flags = [f"--{name}={value}" for name, value in fields.items()]
    assert (
        told.splitlines()[-1]
        == f"  lightning-tl --recipe {job} --data.batch_size=2 --unfreezing=null {' '.join(flags)}"
    )
    same_range = [f"--low={1e-3 / found['factor']}", f"--high={1e4 / found['factor']}"]
    main([*test, *flags, *same_range, "--output", "again.png"])  # what was told makes every rate as much larger
    again = json.loads(Path("again.json").read_text())
    assert again["factor"] == pytest.approx(1, rel=0.01)
    assert again["rates"] == pytest.approx(
        {name: rate * found["factor"] for name, rate in found["rates"].items()}, rel=0.01
    )


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ["--recipe", str(make_job(tmp_path))]
    probe = ["--unfreezing=null", "--model=lightning_tl.strategies.LinearProbe"]
    small = "--data.batch_size=3"
    for arguments, message in (
        ([], "lr_find needs --recipe NAME|PATH"),
        (
            [*recipe, "--steps", "20"],
            "a range test of 20 steps sees no batch twice, and an epoch has 6: take more samples",
        ),
        ([*recipe, "--steps=30", small], "of 30 steps sees no batch twice, and an epoch has 16: take --steps=16, more"),
        (recipe, "a range test of at least 10 steps sees no batch twice, and an epoch has 6"),
        ([*recipe, "--low=2", "--high=1"], "the factors must grow from above 0 to a higher number, got 2 to 1"),
        ([*recipe, *probe], "LinearProbe is not trained by small steps here, so it has no learning rate to find"),
        (
            [*recipe, small, "--low=1e30", "--high=1e36"],
            "the loss ran away after 2 steps already, with the rates times",
        ),
        ([*recipe, "--test=false"], "--test is for runs, and a range test is none"),
        ([*recipe, "--output=gone/a.png"], "the output must be a .png file in a folder that is there"),
    ):
        assert message in error_of(["lr_find", *arguments], capsys)
    assert not (tmp_path / "lr_find").exists() and not (tmp_path / "runs").exists()


def test_a_frozen_backbone_still_has_a_head(tmp_path: Path) -> None:
    for adaptation, groups in ((Frozen(), {"head"}), (Full(), set(LAYERS))):
        module = tiny_module(num_classes=3, adaptation=adaptation)
        test = RangeTest(Growing(1e-3, 1e-2, 10))
        tiny_trainer(tmp_path, [test], max_epochs=1, limit_val_batches=0).fit(module, datamodule=TinyData(80))
        assert set(test.own) == groups
