"""One label, several labels and values: read from tables, trained, tested, predicted, resumed and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny
import tiny_run
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, root_mean_squared_error
from tiny_text import WORDS, save_text_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from datamodules import ManifestDataModule, TextDataModule
from datamodules.labelled.stratified import stratified_split
from datamodules.labelled.target_columns import TargetColumns
from lightning_tl.backbones import HuggingFaceText, load_exported
from lightning_tl.callbacks import ResumableCheckpoint, SafeCheckpointIO
from lightning_tl.callbacks.run_description_writer import describe_run
from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.contracts.batches import StepOutput
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.metrics import label_f1, value_scores
from lightning_tl.reports.summary import read_summary
from lightning_tl.strategies import (
    AdapterFineTune,
    FineTune,
    FromScratch,
    LinearProbe,
    LoRAFineTune,
    PromptTuning,
    ZeroShot,
)
from lightning_tl.tasks import OneLabel, SeveralLabels, Values
from lightning_tl.training.convex import solve_linear
from lightning_tl.training.transfer_module import TransferModule

pytestmark = pytest.mark.filterwarnings("ignore:no pictures of the training")

ROWS = 72


def table() -> pd.DataFrame:
    """Texts in which two words say which labels hold, and how large two values are."""
    generator = np.random.default_rng(0)
    chosen = generator.integers(0, 2, (ROWS, 2))
    words = [list(generator.choice(WORDS[10:], 4)) for _ in range(ROWS)]
    texts = [
        " ".join([*w, *(["good"] if a else []), *(["bad"] if b else [])])
        for w, (a, b) in zip(words, chosen, strict=True)
    ]
    lists = [[name for name, holds in zip(("good", "bad"), row, strict=True) if holds] for row in chosen]
    price = 1000 + 300 * chosen[:, 0] - 100 * chosen[:, 1] + generator.normal(0, 5, ROWS)
    return pd.DataFrame(
        {
            "text": texts,
            "good": chosen[:, 0],
            "bad": np.where(chosen[:, 1], "True", "false"),
            "tags": lists,
            "joined": [";".join(row) for row in lists],
            "price": price.round(2),
            "weight": chosen[:, 0] + 0.5,
            "shop": np.arange(ROWS) // 4,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("tasks")
    save_text_model("bert", where)
    frame = table()
    frame.to_parquet(where / "rows.parquet")
    frame.to_json(where / "rows.jsonl", orient="records", lines=True)
    frame.assign(tags=[json.dumps(tags) for tags in frame.tags]).to_csv(where / "rows.csv", index=False)
    return where


LABELS: dict[str, dict[str, Any]] = {
    "columns": {"label": ["good", "bad"]},
    "lists": {"label": "tags", "task": "multi-label"},
    "delimited": {"label": "joined", "task": "multi-label", "label_delimiter": ";"},
}
VALUES: dict[str, dict[str, Any]] = {
    "one": {"label": "price", "task": "regression"},
    "two": {"label": ["price", "weight"], "task": "regression"},
}


def data(folder: Path, file: str = "rows.csv", **options: Any) -> TextDataModule:
    options = {"batch_size": 16, "num_workers": 0, "block": "shop", "cache": folder / "cache", **options}
    return TextDataModule(str(folder / file), **options)


def backbone(folder: Path) -> HuggingFaceText:
    return HuggingFaceText(str(folder / "bert"), max_length=32)


# ------------------------------------------------------------------------------------------------ reading targets


@pytest.mark.parametrize("file", ["rows.csv", "rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize("how", [pytest.param(options, id=name) for name, options in LABELS.items()])
def test_labels_are_read_whatever_holds_them(folder: Path, file: str, how: dict[str, Any]) -> None:
    records = data(folder, file, **how).records
    frame = table()
    wanted = {"good": frame.good.to_numpy(), "bad": (frame.bad == "True").to_numpy().astype(int)}
    found = dict(zip(records.class_names, records.labels.T, strict=True))
    assert found.keys() == wanted.keys()
    for name, column in wanted.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("file", ["rows.csv", "rows.jsonl", "rows.parquet"])
def test_values_are_read(folder: Path, file: str) -> None:
    records = data(folder, file, **VALUES["two"]).records
    np.testing.assert_allclose(records.labels, table()[["price", "weight"]].to_numpy())
    assert records.class_names == ("price", "weight")


@pytest.mark.parametrize(
    ("column", "options", "says"),
    [
        ([["a"], ["b"]], {}, "set task to multi-label"),
        ([np.array(["a"]), np.array(["b", "c"])], {}, "set task to multi-label"),
        (["a", "b"], {"task": "multi-label"}, "set label_delimiter"),
        ([["a"], None], {"task": "multi-label"}, "must hold lists of labels"),
        ([[1.5], ["a"]], {"task": "multi-label"}, "must hold lists of labels"),
        ([[], []], {"task": "multi-label"}, "every list is empty"),
        ([["a"], ["b"]], {"task": "multi-label", "class_names": ("a",)}, "not in class_names: b"),
        ([1.5, 2.5], {}, "set task to regression"),
        (["1.5", "many"], {"task": "regression"}, "such as 'many'"),
        ([1.0, float("inf")], {"task": "regression"}, "row 2 holds others"),
        ([1.0, float("nan")], {"task": "regression"}, "finite numbers"),
    ],
)
def test_targets_that_are_not_what_the_task_wants(column: list[Any], options: dict[str, Any], says: str) -> None:
    frame = pd.DataFrame({"label": pd.Series(column, dtype=object)})
    columns = TargetColumns("label", **options)
    with pytest.raises(ValueError, match=says):
        columns.read(frame, ["r1", "r2"], "t.csv")


@pytest.mark.parametrize("value", [2, "maybe", 0.5, None, "2"])
def test_columns_of_labels_hold_zero_and_one(value: Any) -> None:
    frame = pd.DataFrame({"a": pd.Series([1, value], dtype=object), "b": [0, 1]})
    with pytest.raises(ValueError, match="must hold 0 and 1"):
        TargetColumns(["a", "b"]).read(frame, ["r1", "r2"], "t.csv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"columns": ["a", "b"], "task": "classification"}, "must be one column, got a, b"),
        ({"columns": ["a", "a"]}, "several different ones"),
        ({"columns": []}, "several different ones"),
        ({"columns": "a", "delimiter": ";"}, "goes with task: multi-label"),
        ({"columns": "a", "task": "regresion"}, "got 'regresion'"),
        ({"columns": "a", "task": "regression", "class_names": ("x",)}, "values have their own"),
    ],
)
def test_options_that_do_not_go_together(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TargetColumns(**arguments)


def test_a_target_that_never_differs(tmp_path: Path) -> None:
    same = 1e9 + np.arange(len(WORDS))  # 32-bit numbers tell 64 of them apart
    frame = pd.DataFrame({"text": [f"a {w}" for w in WORDS], "label": 3.5, "near": same, "split": "train"})
    frame.loc[:9, "split"] = "validation"
    frame.to_csv(tmp_path / "t.csv", index=False)
    for label in ("label", "near"):
        module = data(tmp_path, "t.csv", label=label, task="regression", block=None)
        module.indices = {"train": np.arange(10, len(frame))}
        with pytest.raises(ValueError, match="nothing to learn"):
            _ = module.task


def test_label_fraction_and_labels_per_class(folder: Path) -> None:
    with pytest.raises(ValueError, match="use label_fraction"):
        few(folder, labels_per_class=3)
    assert few(folder, label_fraction=0.5) == few(folder) // 2


def few(folder: Path, **options: Any) -> int:
    module = data(folder, **LABELS["columns"], **options)
    return len(module._with_few_labels(module._by_split())["train"])


# ------------------------------------------------------------------------------------------------ splits


def test_a_rare_label_is_in_every_split() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 5)) < [0.5, 0.3, 0.1, 0.05, 0.0]).astype(np.int64)
    labels[:3, 4] = 1
    keys = [f"sample {k}" for k in range(300)]
    names = list("abcde")
    splits = stratified_split(keys, labels, names, 0.2, 0.2, 0)
    for split, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        assert abs((splits == split).mean() - share) < 0.08
        assert (labels[splits == split].sum(0) > 0).all()
    order = generator.permutation(300)
    again = stratified_split([keys[k] for k in order], labels[order], names, 0.2, 0.2, 0)
    assert np.array_equal(again, splits[order])  # the order of the rows plays no part


@pytest.mark.parametrize("labels", [np.ones((90, 1), np.int64), np.ones((90, 1))])
def test_equal_texts_lie_on_one_side(labels: np.ndarray) -> None:
    keys = [f"text {k % 30}" for k in range(90)]
    splits = stratified_split(keys, labels, ["a"], 0.2, 0.0, 0)
    assert all(len({s for s, k in zip(splits, keys, strict=True) if k == key}) == 1 for key in keys)
    assert set(splits) == {"train", "validation"}


def test_too_few_values_to_split() -> None:
    with pytest.raises(ValueError, match="too few to be split"):
        stratified_split(["a", "b"], np.ones((2, 1)), ["price"], 0.2, 0.2, 0)


# ------------------------------------------------------------------------------------------------ figures


def test_value_scores_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(1e6, 3, 400)
    guess = truth + generator.normal(0, 1, 400)
    found = value_scores(truth, guess, np.arange(400) // 8)
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, guess))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(truth, guess))
    assert found["r2"] == pytest.approx(r2_score(truth, guess))
    assert found["mae_interval"]["blocks"] == 50 and found["mae_interval"]["over"] == "blocks"
    # An independent bootstrap, block by block.
    drawn = []
    for _ in range(1000):
        rows = (generator.integers(0, 50, 50)[:, None] * 8 + np.arange(8)).ravel()
        drawn.append(r2_score(truth[rows], guess[rows]))
    ends = np.quantile(drawn, [0.025, 0.975])
    assert found["r2_interval"]["low"] == pytest.approx(ends[0], abs=0.006)
    assert found["r2_interval"]["high"] == pytest.approx(ends[1], abs=0.006)


def test_value_scores_of_equal_targets() -> None:
    found = value_scores(np.full(5, 2.0), np.arange(5.0))
    assert found["r2"] is None and found["r2_interval"] is None and found["mae"] == pytest.approx(1.2)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_r2_knows_no_unit(scale: float) -> None:
    generator = np.random.default_rng(0)
    truth, guess = generator.normal(size=(2, 50))
    assert value_scores(truth * scale, guess * scale)["r2"] == pytest.approx(value_scores(truth, guess)["r2"])


@pytest.mark.parametrize(
    ("truth", "guess", "says"),
    [
        ([], [], "one row of the same length"),
        ([1.0, 2.0], [1.0], "one row of the same length"),
        ([[1.0], [2.0]], [[1.0], [2.0]], "one row of the same length"),
        ([1.0, np.nan], [1.0, 2.0], "'price' some are not"),
        ([1.0, 2.0], [1.0, np.inf], "'price' some are not"),
    ],
)
def test_values_that_have_no_scores(truth: list[Any], guess: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        value_scores(truth, guess, name="price")


@pytest.mark.parametrize(
    "labels",
    [
        [[1, 0], [1, 0], [0, 0]],  # the second neither there nor predicted: it does not count
        [[1, 1], [1, 0], [0, 0]],  # there once and never predicted: it counts, with 0
    ],
)
def test_which_labels_count_in_the_macro_average(labels: list[list[int]]) -> None:
    truth = np.array(labels)
    guess = truth * [1, 0]
    seen = [k for k in range(2) if truth[:, k].any()]
    macro, micro, each = label_f1(truth, guess, None)
    assert macro is not None and micro is not None and each is not None
    assert macro["mean"] == pytest.approx(f1_score(truth, guess, average="macro", labels=seen, zero_division=0))
    assert micro["mean"] == pytest.approx(f1_score(truth, guess, average="micro", zero_division=0))


def test_f1_of_labels_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, guess = generator.integers(0, 2, (2, 200, 3))
    results = SeveralLabels().results(guess.astype(np.float32), truth, ("a", "b", "c"), np.arange(200) // 5)
    for name in ("macro", "micro"):
        assert results[f"{name}_f1"] == pytest.approx(f1_score(truth, guess, average=name))
        interval = results[f"{name}_f1_interval"]
        assert interval["low"] < results[f"{name}_f1"] < interval["high"]
    assert label_f1(truth, guess, np.zeros(200, np.int64)) == (None, None, None)


# ------------------------------------------------------------------------------------------------ training


def run(module: TransferModule, source: pl.LightningDataModule, where: Path, epochs: int = 2) -> dict[str, Any]:
    trainer = tiny.tiny_trainer(where, [ResumableCheckpoint(), RunReport()], max_epochs=epochs)
    trainer.fit(module, datamodule=source)
    trainer.test(module, datamodule=source, verbose=False)
    trainer.predict(module, datamodule=source, return_predictions=False)
    return dict(read_summary(where)["test"])


STRATEGIES: dict[str, Callable[[HuggingFaceText], TransferModule]] = {
    "fine-tune": lambda b: FineTune(b, lr=0.01),
    "probe": LinearProbe,
    "probe, sgd": lambda b: LinearProbe(b, solver="sgd", lr=0.05),
    "LoRA": lambda b: LoRAFineTune(b, r=2, lr=0.02),
    "adapters": lambda b: AdapterFineTune(b, lr=0.02),
    "prompts": lambda b: PromptTuning(b, tokens=2, lr=0.02),
    "from scratch": lambda b: FromScratch(b, lr=0.01),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in STRATEGIES.items()])
@pytest.mark.parametrize("how", [pytest.param(LABELS["lists"], id="labels"), pytest.param(VALUES["two"], id="values")])
def test_every_strategy(
    make: Any, how: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if draws := make is LinearProbe:
        monkeypatch.delenv("LIGHTNING_TL_PICTURES")
    torch.manual_seed(0)
    test = run(make(backbone(folder)), data(folder, "rows.parquet", **how), tmp_path)
    rows = pq.read_table(tmp_path / "predictions" / "test.parquet").to_pylist()
    new = pq.read_table(tmp_path / "predictions" / "predict.parquet").to_pylist()
    assert len(rows) == test["samples"] == len(new)
    text = (tmp_path / "summary.txt").read_text()
    if how is LABELS["lists"]:
        assert test["task"] == "several labels" and "micro-F1" in text
        assert all(isinstance(row["label"], list) and isinstance(row["predicted"], list) for row in rows)
        assert [row["predicted"] for row in rows] == [row["label"] for row in new]
        assert test["logged"]["test_macro_f1"] == pytest.approx(test["macro_f1"], abs=1e-5)
    else:
        assert test["task"] == "values" and "R²" in text and "95% intervals" in text
        truth, guess = (np.array([row[name] for row in rows]) for name in ("label", "predicted"))
        assert truth[:, 0].mean() > 900 and abs(guess[:, 0].mean() - truth[:, 0].mean()) < 250
        np.testing.assert_allclose(guess, np.array([row["predicted"] for row in new]), rtol=1e-5)
        assert test["values"][1]["mae"] == pytest.approx(mean_absolute_error(truth[:, 1], guess[:, 1]), rel=1e-5)
        assert (tmp_path / "pictures" / "predicted_against_true.png").is_file() == draws


def test_one_value(folder: Path, tmp_path: Path) -> None:
    test = run(LinearProbe(backbone(folder)), data(folder, **VALUES["one"]), tmp_path)
    (value,) = test["values"]
    assert test["logged"]["test_mae"] == pytest.approx(value["mae"], rel=1e-4)
    assert test["logged"]["test_r2"] == pytest.approx(value["r2"], abs=1e-4)
    rows = pq.read_table(tmp_path / "predictions" / "test.parquet").to_pylist()
    assert all(isinstance(row["predicted"], float) for row in rows)


def test_zero_shot_is_for_one_label(folder: Path, tmp_path: Path) -> None:
    for how in (LABELS["lists"], VALUES["one"]):
        with pytest.raises(ValueError, match="for one label a sample, but the targets are"):
            tiny.tiny_trainer(tmp_path).fit(ZeroShot(backbone(folder)), datamodule=data(folder, "rows.parquet", **how))


def test_the_probe_of_values_is_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 6)) @ np.diag([1, 2, 3, 0.1, 5, 1])
    target = features @ generator.normal(size=(6, 2)) + generator.normal(size=(200, 2))
    tensors = tuple(torch.tensor(v, dtype=torch.float32) for v in (features, target))
    solution = solve_linear(tensors, tensors, 2, nn.MSELoss(), [0.1])  # type: ignore[arg-type]
    scaled = (features - features.mean(0)) / features.std(0)
    peer = Ridge(alpha=0.1 * 200 * 2 / 2).fit(scaled, target)  # mean over samples and targets, penalty halved
    own = tensors[0] @ solution.weight.T + solution.bias
    np.testing.assert_allclose(own.numpy(), peer.predict(scaled), atol=1e-3)


def test_the_probe_of_labels_is_a_logistic_regression_each() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 5))
    target = (features @ generator.normal(size=(5, 2)) + generator.normal(size=(300, 2)) > 0).astype(float)
    tensors = tuple(torch.tensor(v, dtype=torch.float32) for v in (features, target))
    solution = solve_linear(tensors, tensors, 2, SeveralLabels().loss(), [0.05])  # type: ignore[arg-type]
    scaled = (features - features.mean(0)) / features.std(0)
    for k in range(2):
        peer = LogisticRegression(C=1 / (0.05 * 300 * 2), tol=1e-8).fit(scaled, target[:, k])
        own = (tensors[0] @ solution.weight.T + solution.bias)[:, k].sigmoid()
        np.testing.assert_allclose(own.numpy(), peer.predict_proba(scaled)[:, 1], atol=2e-3)


def test_values_are_standardised_by_the_training_split_and_kept(folder: Path, tmp_path: Path) -> None:
    source, module = data(folder, **VALUES["two"]), FineTune(backbone(folder), lr=0.01)
    run(module, source, tmp_path, epochs=1)
    truth = source.records.labels[source.indices["train"]]
    state = torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)["state_dict"]
    np.testing.assert_allclose(state["task.mean"], truth.mean(0), rtol=1e-6)
    np.testing.assert_allclose(state["task.std"], truth.std(0), rtol=1e-6)


@pytest.mark.parametrize("hidden", [None, 8])
def test_the_exported_model_gives_values_in_their_units(hidden: int | None, folder: Path, tmp_path: Path) -> None:
    module, source = FineTune(backbone(folder), lr=0.01, head_hidden=hidden), data(folder, **VALUES["two"])
    run(module, source, tmp_path, epochs=1)
    exported = load_exported(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "classifier.json").read_text())["task"] == "values"
    batch = next(iter(source.test_dataloader()))
    with torch.no_grad():
        wanted = module.eval().probabilities(module(batch["inputs"]))
        torch.testing.assert_close(exported(batch["inputs"]), wanted, rtol=1e-4, atol=1e-2)


def test_a_head_of_ones_own_is_folded() -> None:
    task, head = Values([5.0], [3.0]), nn.Sequential(nn.Linear(4, 1), nn.Tanh())
    features = torch.randn(3, 4)
    torch.testing.assert_close(task.folded(head)(features), task.predictions(head(features)))


@pytest.mark.parametrize(
    "how", [pytest.param(LABELS["columns"], id="labels"), pytest.param(VALUES["two"], id="values")]
)
def test_resumed_runs_end_with_the_same_bits(how: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    def make() -> TransferModule:
        torch.manual_seed(0)
        return FineTune(backbone(folder), lr=0.01, dropout=0.1)

    tiny.check_resumes(make, tmp_path, data=lambda: data(folder, **how))


def test_a_loss_of_ones_own(folder: Path, tmp_path: Path) -> None:
    module = FineTune(backbone(folder), lr=0.01, loss=nn.HuberLoss())
    run(module, data(folder, **VALUES["one"]), tmp_path, epochs=1)
    assert isinstance(module.loss, nn.HuberLoss)
    with pytest.raises(ValueError, match="leave them out, or loss"):
        FineTune(backbone(folder), loss=nn.HuberLoss(), class_weights="balanced")


@pytest.mark.parametrize("option", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}, {"class_weights": [1.0]}])
def test_options_of_labels_are_refused_for_values(option: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave"):
        tiny.tiny_trainer(tmp_path).fit(FineTune(backbone(folder), **option), datamodule=data(folder, **VALUES["one"]))


def test_images_of_a_table(tmp_path: Path) -> None:
    from PIL import Image

    generator, rows = np.random.default_rng(0), []
    for k in range(24):
        Image.fromarray(generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
        rows.append({"path": f"{k}.png", "a": k % 2, "b": int(k % 3 == 0), "cover": k / 7})
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    kinds = {"several labels": {"label_column": ["a", "b"]}, "values": {"label_column": "cover", "task": "regression"}}
    for kind, options in kinds.items():
        source = ManifestDataModule(
            tmp_path / "t.csv", batch_size=8, num_workers=0, augmentation=nn.Identity(), **options
        )
        trained = FineTune(tiny.tiny_vit(tmp_path), lr=0.01)
        test = run(trained, source, tmp_path / kind, epochs=1)
        assert test["task"] == kind
        targets = [row["cover"] for row in rows]
        found = describe_run(trained, source)
        assert found.task == kind and found.class_names == (("a", "b") if kind == "several labels" else ("cover",))
        if kind == "values":
            kept = [targets[int(k)] for k in source.indices["train"]]
            assert [*found.targets["mean"], *found.targets["std"]] == pytest.approx([np.mean(kept), np.std(kept)])
        config = json.loads((tmp_path / kind / "model" / "config.json").read_text())
        assert config["problem_type"] == ("multi_label_classification" if kind == "several labels" else "regression")


# ------------------------------------------------------------------------------------------------ several processes


def ddp_run(folder: str, how: str) -> tuple[pl.LightningModule, pl.LightningDataModule]:
    torch.manual_seed(0)
    options = {**LABELS, **VALUES}[how]
    return FineTune(backbone(Path(folder)), lr=0.01), data(Path(folder), **options)


class Build:
    """What a process makes; can be pickled."""

    def __init__(self, folder: Path, how: str) -> None:
        self.folder, self.how = str(folder), how

    def __call__(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        return ddp_run(self.folder, self.how)


@pytest.mark.parametrize("how", ["columns", "two"])
def test_two_processes_agree(how: str, folder: Path, tmp_path: Path) -> None:
    first, second = tiny_run.launch(
        tiny_run.Run(
            str(tmp_path), build=Build(folder, how), extra=list_of_nothing, world_size=2, trainer={"max_epochs": 1}
        )
    )
    assert first is not None and second is not None and "error" not in first, first
    assert first["weights"] == second["weights"]


def list_of_nothing() -> list[pl.Callback]:
    return [pl.Callback()]


# ------------------------------------------------------------------------------------------------ weights of classes


class Counted(tiny.TinyData):
    """Three classes, counted."""

    def training_counts(self) -> tuple[dict[str, int], int]:
        counts = np.bincount(tiny.TinyImages(self.size).target.numpy(), minlength=3)
        return dict(zip(self.class_names, counts.tolist(), strict=True)), self.size


def weights(given: Any, source: pl.LightningDataModule, where: Path) -> Tensor:
    module = tiny.tiny_module(class_weights=given)
    tiny.tiny_trainer(where, max_epochs=1).fit(module, datamodule=source)
    assert isinstance(module.loss.weight, Tensor)
    return module.loss.weight


def test_class_weights(tmp_path: Path) -> None:
    counts = np.bincount(tiny.TinyImages(56).target.numpy(), minlength=3)
    np.testing.assert_allclose(weights("balanced", Counted(), tmp_path), 56 / (3 * counts), rtol=1e-6)
    assert weights({"b": 2.0}, Counted(), tmp_path).tolist() == [1.0, 2.0, 1.0]
    assert weights([1.0, 0.0, 3.0], Counted(), tmp_path).tolist() == [1.0, 0.0, 3.0]


@pytest.mark.parametrize(
    ("given", "source", "says"),
    [
        ({"urban": 2.0}, Counted, "names urban, which no class is called; the classes are a, b, c"),
        ([1.0, 2.0], Counted, "must have 3 values, got 2"),
        ("balanced", tiny.TinyData, "needs a data module that counts"),
    ],
)
def test_class_weights_that_cannot_be(given: Any, source: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        weights(given, source(), tmp_path)


@pytest.mark.parametrize("given", [[-1.0, 2.0], [0.0, 0.0], [], {"a": -1.0}, "balance"])
def test_class_weights_are_checked_at_once(given: Any) -> None:
    with pytest.raises(ValueError, match="class_weights must be"):
        tiny.tiny_module(class_weights=given)


def test_labels_are_balanced_by_those_without_them() -> None:
    np.testing.assert_allclose(SeveralLabels().balanced(np.array([10, 50, 100]), 100), [9, 1, 0.01])


# ------------------------------------------------------------------------------------------------ heads of one's own


class Two(Dataset[dict[str, Any]]):
    """A class and a value for each image."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(index))
        target = {"kind": torch.tensor(index % 3), "size": torch.tensor(index / 4)}
        return {"inputs": image, "target": target, "index": torch.tensor(index)}


class TwoHeads(TransferModule):
    def configure_head(self, feature_dim: int, num_classes: int) -> nn.Module:
        return nn.ModuleDict({"kind": nn.Linear(feature_dim, num_classes), "size": nn.Linear(feature_dim, 1)})

    def forward(self, inputs: Any) -> Any:
        features = self.backbone(inputs)
        return {"kind": self.head["kind"](features), "size": self.head["size"](features)[:, 0]}  # type: ignore[index]

    def step(self, batch: Any) -> StepOutput:
        outputs, target = self(batch["inputs"]), batch["target"]
        loss = nn.functional.cross_entropy(outputs["kind"], target["kind"])
        loss = loss + nn.functional.mse_loss(outputs["size"], target["size"])
        return StepOutput(loss, outputs["kind"], target["kind"])


def test_two_heads_train_test_and_predict(tmp_path: Path) -> None:
    module = TwoHeads(tiny.TinyBackbone(), num_classes=3)
    loader = DataLoader(Two(), batch_size=8)
    trainer = tiny.tiny_trainer(tmp_path, [RunReport(export=False)], max_epochs=1)
    trainer.fit(module, loader, loader)
    trainer.test(module, loader, verbose=False)
    assert read_summary(tmp_path)["test"]["task"] == "one label"
    given = trainer.predict(module, loader)
    assert given is not None
    rows = pq.read_table(tmp_path / "predictions" / "predict.parquet").to_pylist()
    assert len(rows) == 16 and rows[0].keys() == {"id", "kind", "size"}
    np.testing.assert_allclose(rows[0]["kind"], given[0]["kind"][0], rtol=1e-6)  # type: ignore[index]
    assert rows[0]["size"] == pytest.approx(float(given[0]["size"][0]))  # type: ignore[index]


class OneOutput(FineTune):
    def configure_loss(self) -> nn.Module:
        return nn.BCEWithLogitsLoss()

    def configure_metrics(self, num_classes: int) -> dict[str, Any]:
        return {}

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def step(self, batch: Any) -> StepOutput:
        logits = self(batch["inputs"])
        return StepOutput(self.loss(logits[:, 0], (batch["target"] > 0).float()), logits, batch["target"])


def test_one_output(tmp_path: Path) -> None:
    loader = DataLoader(tiny.TinyImages(16, augment=False), batch_size=8)
    trainer = tiny.tiny_trainer(tmp_path, [RunReport(export=False)], max_epochs=1)
    module = OneOutput(tiny.TinyBackbone(), num_classes=1)
    trainer.fit(module, loader, loader)
    trainer.test(module, loader, verbose=False)
    trainer.predict(module, loader)
    assert read_summary(tmp_path)["test"]["task"] == "other"
    rows = pq.read_table(tmp_path / "predictions" / "predict.parquet").to_pylist()
    assert rows[0].keys() == {"id", "probabilities"}  # no class that an output below 0.5 would be given


def test_one_class_of_one_label_is_refused(tmp_path: Path) -> None:
    loader = DataLoader(tiny.TinyImages(16), batch_size=8)
    with pytest.raises(ValueError, match="can only be right: num_classes must be at least 2"):
        tiny.tiny_trainer(tmp_path).fit(FineTune(tiny.TinyBackbone(), num_classes=1), loader)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        FineTune(tiny.TinyBackbone(), num_classes=0)


def test_a_task_given_to_the_module(tmp_path: Path) -> None:
    loader = DataLoader(Sized(), batch_size=8)
    module = FineTune(tiny.TinyBackbone(), num_classes=1, task=Values([2.0], [1.0]))
    trainer = tiny.tiny_trainer(tmp_path, [RunReport(export=False)], max_epochs=1, plugins=[SafeCheckpointIO()])
    trainer.fit(module, loader, loader)
    trainer.test(module, loader, verbose=False)
    test = read_summary(tmp_path)["test"]
    assert test["values"][0]["name"] == "0"
    assert test["logged"]["test_mae"] == pytest.approx(test["values"][0]["mae"], rel=1e-4)


def test_a_task_of_another_number_of_values(tmp_path: Path) -> None:
    module = FineTune(tiny.TinyBackbone(), num_classes=3, task=Values([2.0], [1.0]))
    with pytest.raises(ValueError, match="for 1 targets, but there are 3"):
        tiny.tiny_trainer(tmp_path).fit(module, DataLoader(Sized(), batch_size=8))


class Sized(Two):
    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        return {**sample, "target": sample["target"]["size"]}  # [batch], which must not spread over [batch, 1]


def test_the_task_of_the_data_must_be_the_models(folder: Path, tmp_path: Path) -> None:
    module = FineTune(backbone(folder), task=OneLabel())
    with pytest.raises(ValueError, match="the model's task is one label, but the targets of TextDataModule are values"):
        tiny.tiny_trainer(tmp_path).fit(module, datamodule=data(folder, **VALUES["one"]))


def test_data_of_another_task_than_the_runs(folder: Path) -> None:
    run = RunDescription(task="several labels", class_names=("0", "1"))
    source = data(folder, label="good")  # classes 0 and 1, as the labels are called
    source.read_for(run, whole=True)
    source.indices = {name: np.arange(0) for name in ("train", "validation", "test")}
    with pytest.raises(ValueError, match=r"learned several labels, but the targets of .* are one label"):
        _ = source.task
