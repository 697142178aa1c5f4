"""What a study is to find out, and what cannot be one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lightning_tl.choosing.study import Arm, Budget, StudyPlan, arm_of, arms, baselines_of
from lightning_tl.choosing.study.plan import RATES, Cell
from lightning_tl.choosing.study.scores import Difference
from lightning_tl.choosing.study.search import search_rate
from lightning_tl.choosing.study.study_folder import Outcome, StudyFolder
from lightning_tl.cli.reading.recipes import find_recipe
from lightning_tl.metrics.block_bootstrap import BootstrapInterval, bootstrap_mean
from lightning_tl.metrics.crossed_bootstrap import crossed_bootstrap, crossed_bootstraps

TWO = (Arm("a", {"model": "A"}, {"model.lr": 1.0}), Arm("b", {"model": "B"}))


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("recipe", "recipe", 0),
        ("500steps", "steps", 500),
        ("90s", "time", 90),
        ("30min", "time", 1800),
        ("2h", "time", 7200),
    ],
)
def test_budgets(text: str, kind: str, amount: float) -> None:
    assert Budget.parse(text) == Budget(kind, amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "0s", "-5min", "5", "1.5steps", "soon", "1.2.3h"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match="budget"):
        Budget.parse(text)


def test_a_budget_of_time_is_cut_into_steps() -> None:
    assert Budget.parse("60s").steps(0.5) == 120
    with pytest.raises(ValueError, match=r"a budget of 1 s is less than one step, which takes 1\.5 s here"):
        Budget.parse("1s").steps(1.5)
    assert "--trainer.val_check_interval=15" in Budget.parse("60s").options(0.5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arms": TWO[:1]}, "at least 2 strategies, got a"),
        ({"arms": (*TWO, TWO[0])}, "a strategy stands twice: a"),
        ({"labels": (10, None, 10)}, "a number of labels stands twice: 10"),
        ({"labels": (0,)}, "at least 1, or all"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"search": 0}, "search must be from 1 to 12 rates, got 0"),
        ({"search_draws": 4}, "search_draws must be from 1 to the 3 draws, got 4"),
    ],
)
def test_plans_without_sense(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudyPlan(**{"recipe": "r", "arms": TWO, **changed})


def test_a_plan_is_written_and_read(tmp_path: Path) -> None:
    plan = StudyPlan("r", TWO, (10, None), 2, 4, 1, Budget.parse("5steps"), ("--data.root=x",))
    folder = StudyFolder(tmp_path / "study")
    with folder.held():
        folder.open(plan)
        folder.open(plan)
        assert folder.plan().as_json() == plan.as_json()
        other = StudyPlan("r", TWO, (10, None), 3, 4, 1, Budget.parse("5steps"), ("--data.root=x",))
        with pytest.raises(ValueError, match=r"has other draws \(2\) than were asked for \(3\)"):
            folder.open(other)
        with (
            pytest.raises(ValueError, match=r"process \d+ works on the study"),
            StudyFolder(tmp_path / "study").held(),
        ):
            pass
    with StudyFolder(tmp_path / "study").held():
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=r"no study and not empty \(it has letter\.txt\)"):
        StudyFolder(tmp_path).open(StudyPlan("r", TWO))
    with pytest.raises(ValueError, match="is not in the study"):
        StudyFolder(tmp_path / "study").clear(tmp_path)


def test_other_test_samples_are_refused(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.check_data("a" * 64)
    folder.check_data("a" * 64)
    with pytest.raises(ValueError, match=r"the data have changed .* were a{12}…, and are b{12}… now"):
        folder.check_data("b" * 64)


def test_outcomes_are_kept(tmp_path: Path) -> None:
    folder, cell = StudyFolder(tmp_path), Cell("a", None, 1, 3e-4)
    assert folder.outcome(cell) is None
    folder.keep(cell, "it broke")
    assert folder.outcome(cell) == folder.outcome(cell) and folder.outcome(cell).error == "it broke"  # type: ignore[union-attr]
    assert cell.key == "a/all/draw-1/rate-0.0003"
    assert math.isnan(Outcome().best) and json.loads(json.dumps(cell.key))


# ---------------------------------------------------------------- arms


@pytest.mark.parametrize("name", arms())
def test_every_arm_takes_over_the_recipe(name: str) -> None:
    base = yaml.safe_load(find_recipe("satellite_vit").read_text())
    arm = arm_of(name, base)
    given = arm.recipe["model"]["init_args"]
    without = {"tfidf": "Tfidf", "colour_statistics": "ColourStatistics"}
    if name in without:
        assert given["backbone"] == {"class_path": f"lightning_tl.backbones.{without[name]}", "init_args": {}}
    else:
        assert given["backbone"] == "lightning_tl.backbones.HuggingFaceVision"
    assert ("label_smoothing" in given) == (name not in ("zero_shot", "class_means", *without))
    assert arm.recipe["data"] == base["data"]
    solved = {"gradient_clip_val": None, "max_epochs": 1} if not arm.search else {}
    assert arm.recipe["trainer"] == {**base["trainer"], **solved}
    assert arm.recipe.get("unfreezing") == (base["unfreezing"] if name == "progressive" else None)
    assert not {field.removeprefix("model.") for field in arm.search} & set(given), "the search sets them"
    assert arm.pretrained == (name not in (*without, "from_scratch"))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("datamodules.SatelliteDataModule", ["colour_statistics"]),
        ({"class_path": "datamodules.ImageFolderDataModule", "init_args": {"root": "x"}}, ["colour_statistics"]),
        ("datamodules.TextDataModule", ["tfidf"]),
        ("datamodules.InteractionDataModule", []),
        ("my_package.MyData", []),
        (None, []),
    ],
)
def test_baselines_come_with_a_kind_of_data(data: object, names: list[str]) -> None:
    assert baselines_of({"data": data}) == names


def test_a_baseline_takes_over_what_it_needs_of_the_backbone() -> None:
    own = {"class_path": "lightning_tl.backbones.HuggingFaceVision", "init_args": {"channels": 5, "pretrained": "x"}}
    base = {"model": {"class_path": "lightning_tl.strategies.FineTune", "init_args": {"backbone": own, "lr": 0.1}}}
    given = arm_of("colour_statistics", base).recipe["model"]["init_args"]
    assert given["backbone"]["init_args"] == {"channels": 5}
    text = {"class_path": "lightning_tl.backbones.HuggingFaceText", "init_args": {"max_length": 9, "pretrained": "x"}}
    base["model"]["init_args"]["backbone"] = text
    assert arm_of("tfidf", base).recipe["model"]["init_args"]["backbone"]["init_args"] == {"pretrained": "x"}


def test_an_arm_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("model: {class_path: x.Y, init_args: {lr: 0.01, backbone_lr: 0.002}}\n")
    arm = arm_of(str(own), {"model": {}})
    assert arm.name == "mine" and arm.search == {"model.lr": 1.0, "model.backbone_lr": pytest.approx(0.2)}
    assert arm.rate_options(0.1) == ["--model.lr=0.1", "--model.backbone_lr=0.02"]
    assert arm.rate == 0.01 and StudyPlan("r", (arm, TWO[0]), search=1).rates(arm) == (0.01,)
    assert StudyPlan("r", (arm, TWO[0]), search=2).rates(arm) == RATES


@pytest.mark.parametrize(
    ("strategy", "search"),
    [
        ("FineTune", {"model.lr": 1.0}),
        ("FromScratch", {"model.lr": 1.0}),
        ("LoRAFineTune", {"model.lr": 1.0}),
        ("LinearProbe", {}),  # solved exactly
        ("NearestClassMean", {}),
        ("ZeroShot", {}),
        ("TfidfProbe", {}),
    ],
)
def test_an_arm_that_names_no_rate_is_searched_from_its_default(
    strategy: str, search: dict[str, float], tmp_path: Path
) -> None:
    """Else it would stand at one rate beside strategies that have their best."""
    (tmp_path / "mine.yaml").write_text("fields: {model.head_hidden: 8}\n")
    base = {"model": {"class_path": f"lightning_tl.strategies.{strategy}", "init_args": {"backbone": "x.Y"}}}
    arm = arm_of(str(tmp_path / "mine.yaml"), base)
    assert arm.search == search and arm.pretrained == (strategy != "FromScratch")


ITEMS = "lightning_tl.retrieval.ItemTower"
TOWERS = {"class_path": "lightning_tl.retrieval.TwoTower", "init_args": {"items": {"class_path": ITEMS}}}


@pytest.mark.parametrize(
    ("fields", "pretrained", "search", "rate"),
    [
        ({}, False, {"model.lr": 1.0}, 1e-3),  # what the class has by itself
        ({"model.lr": "2e-3"}, False, {"model.lr": 1.0}, 2e-3),
        ({"model.items.encoder": "lightning_tl.backbones.HuggingFaceText"}, True, {"model.lr": 1.0}, 1e-3),
        ({"model.items.picture_encoder": "lightning_tl.backbones.HuggingFaceVision"}, True, {"model.lr": 1.0}, 1e-3),
        ({"model.items.encoder": None}, False, {"model.lr": 1.0}, 1e-3),
        (
            {
                "model.items.encoder": "lightning_tl.backbones.HuggingFaceText",
                "model.items.adaptation": "lightning_tl.adaptation.Reinitialised",
                "model.items.encoder_lr": 5e-4,
            },
            False,
            {"model.lr": 1.0, "model.items.encoder_lr": 0.5},
            1e-3,
        ),
        (
            {"model.users": {"class_path": "x.Y", "init_args": {"encoder": "a.B"}}, "data.batch_size": 4},
            True,
            {"model.lr": 1.0},
            1e-3,
        ),
    ],
)
def test_arms_that_change_a_recipe_of_two_towers(
    fields: dict[str, Any], pretrained: bool, search: dict[str, float], rate: float, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"fields": fields}))
    base = {"model": TOWERS, "data": "datamodules.InteractionDataModule", "seed_everything": 3}
    before = json.dumps(base)
    arm = arm_of(str(tmp_path / "mine.yaml"), base)
    assert (arm.pretrained, arm.rate) == (pretrained, rate) and arm.search == pytest.approx(search)
    assert json.dumps(base) == before, "the recipe stays as it is"
    assert arm.recipe["seed_everything"] == 3
    if "data.batch_size" in fields:
        assert arm.recipe["data"] == {"class_path": base["data"], "init_args": {"batch_size": 4}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"fields": fields, "pretrained": not pretrained}))
    assert arm_of(str(tmp_path / "mine.yaml"), base).pretrained == (not pretrained), "as the file says"


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("fine_tunes", "there is no strategy 'fine_tunes' .nearest: fine_tune"),
        ("none.yaml", "there is no recipe none.yaml for an arm"),
    ],
)
def test_strategies_that_are_not_there(strategy: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm_of(strategy, {"model": {}})


# ---------------------------------------------------------------- the search


@pytest.mark.parametrize("best", [0, 1, 5, 6, 10, 11])
def test_the_search_goes_on_past_an_end(best: int) -> None:
    asked: list[float] = []

    def losses(rates: Any) -> dict[float, float]:
        asked.extend(rates)
        return {rate: abs(RATES.index(rate) - best) for rate in rates}

    found, tried = search_rate(RATES, 6, losses)
    assert found == RATES[best] and len(asked) == len(set(asked)) == len(tried)
    assert set(RATES[3:9]) <= set(tried)


def test_a_search_without_a_number_finds_nothing() -> None:
    found, tried = search_rate(RATES, 3, lambda rates: {rate: math.nan for rate in rates})
    assert found is None and len(tried) == 3
    assert search_rate(RATES, 1, lambda rates: {rate: 1.0 for rate in rates})[0] == RATES[5]


# ---------------------------------------------------------------- intervals over runs and blocks


def slow_crossed(table: np.ndarray, blocks: np.ndarray, draws: int) -> tuple[float, float]:
    generator, means = np.random.default_rng(7), []
    names = np.unique(blocks)
    for _ in range(draws):
        rows = table[generator.integers(0, len(table), len(table))]
        drawn = generator.choice(names, len(names))
        values = [row[blocks == name] for name in drawn for row in rows]
        means.append(np.concatenate(values).mean())
    return tuple(np.quantile(means, [0.025, 0.975]))


def test_runs_and_blocks_are_both_drawn() -> None:
    generator = np.random.default_rng(0)
    blocks = np.repeat(np.arange(60), 4)
    table = (generator.random((5, 240)) + 0.3 * generator.standard_normal((5, 1)) > 0.4).astype(float)
    got = crossed_bootstrap(table, blocks)
    low, high = slow_crossed(table, blocks, 1500)
    assert got.mean == pytest.approx(table.mean())
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.02)
    plain = bootstrap_mean(table.mean(0), blocks)
    assert got.high - got.low > 1.5 * (plain.high - plain.low), "the runs differ"


def test_one_run_has_the_interval_of_its_blocks() -> None:
    values = (np.random.default_rng(1).random(200) > 0.3).astype(float)
    assert crossed_bootstrap(values[None], None) == bootstrap_mean(values)
    equal = crossed_bootstrap(np.ones((3, 50)), None, bounds=(0.0, 1.0))
    assert equal.low < 1.0 == equal.high, "no interval is a point"


@pytest.mark.parametrize("shape", [(0, 5), (5,), (5, 0)])
def test_no_table_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a table of at least one run and one sample"):
        crossed_bootstrap(np.zeros(shape))


def test_many_tables_have_the_intervals_of_each_alone_at_every_level() -> None:
    draw = np.random.default_rng(0)
    blocks = np.repeat(np.arange(40), 5)
    tables = [(draw.random((runs, 200)) < 0.7).astype(float) for runs in (1, 3, 5)]
    found = crossed_bootstraps(tables, blocks, 1_000, (0.8, 0.95), bounds=(0.0, 1.0))
    for table, (narrow, wide) in zip(tables, found, strict=True):
        assert wide == crossed_bootstrap(table, blocks, 1_000, bounds=(0.0, 1.0))
        assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high and narrow.level == 0.8
    assert crossed_bootstraps([], blocks, 10, (0.9,)) == []


@pytest.mark.parametrize(
    ("mean", "half", "run_variance", "expected"),
    [
        (0.02, 0.04, 0.0, 4_000),  # twice as wide as it is far: four times the samples
        (0.02, 0.01, 0.0, None),  # settled
        (0.0, 0.04, 0.0, None),  # none is seen
        (0.02, 0.04, 0.0103**2, None),  # the draws alone reach as far
        (0.02, 0.04, 0.0051**2, 5_000),  # half of what is left is of draws: (4 - 1/4) / (1 - 1/4)
    ],
)
def test_what_would_settle_a_difference(mean: float, half: float, run_variance: float, expected: int | None) -> None:
    interval = BootstrapInterval(mean, mean - half, mean + half, 0.95, 1_000, 1_000)
    gap = Difference("a", "b", None, interval, interval, 1_000, run_variance)
    assert gap.would_settle == (None if expected is None else pytest.approx(expected, rel=0.01))
