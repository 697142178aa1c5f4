"""What a finished run does later: on other data, in another place, without what it was trained on."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from cli_runs import error_of, make_job
from PIL import Image
from tiny_text import WORDS, save_text_model

from lightning_tl.cli import main
from lightning_tl.contracts.run_description import FORMAT, RunDescription, class_places

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

COLOURS = {"field": 30, "lake": 130, "town": 220}  # classes that a few epochs tell apart


def pictures(folder: Path, classes: dict[str, int], count: int = 12, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    for name, grey in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            pixels = np.clip(grey + draw.integers(-20, 20, (8, 8, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images, moved away from where it was made; its training data are gone."""
    home = tmp_path_factory.mktemp("home")
    recipe = make_job(home)
    shutil.rmtree(home / "images")
    pictures(home / "images", COLOURS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
        options = ["--data.root=images", "--trainer.max_epochs=12", "--model.lr=0.03", "--unfreezing=null"]
        main(["--recipe", str(recipe), *options, "--model.backbone.pretrained=vit"])
    (run,) = (home / "runs" / "mine").iterdir()
    moved = tmp_path_factory.mktemp("elsewhere") / "a run"
    shutil.move(run, moved)
    shutil.move(home / "images", home / "away")
    return moved


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_what_is_written_down(run: Path) -> None:
    found = RunDescription.read(run)
    assert found is not None
    assert (found.class_names, found.input["kind"], found.input["image_size"]) == (tuple(COLOURS), "images", 8)
    assert {split: part["samples"] for split, part in found.splits.items()} == {
        split: sum(part["classes"].values()) for split, part in found.splits.items()
    }
    assert sum(part["samples"] for part in found.splits.values()) == 36
    assert {"python", "torch", "lightning", "transformers"} <= set(found.versions)
    assert len(found.data["train_sha256"]) == 64
    config = yaml.safe_load((run / "config.yaml").read_text())
    for path in (
        config["data"]["init_args"]["root"],
        config["model"]["init_args"]["backbone"]["init_args"]["pretrained"],
    ):
        assert Path(path).is_absolute()
    assert json.loads((run / "summary.json").read_text())["data"]["splits"] == found.splits


def test_loose_images_are_predicted_in_their_order_anywhere(run: Path) -> None:
    loose = pictures(Path("loose"), {"b/x": 130, "a": 30, ".": 220}, count=3, seed=9)
    main(["predict", "--run", "run", f"--data.predict_root={loose}"])
    found = pd.read_parquet(run / "predictions" / "predict.parquet")
    expected = ["00.png", "01.png", "02.png", "a/00.png", "a/01.png", "a/02.png"]
    assert found["id"].tolist() == [*expected, "b/x/00.png", "b/x/01.png", "b/x/02.png"]
    assert found["label"].tolist() == ["town"] * 3 + ["field"] * 3 + ["lake"] * 3


@pytest.mark.parametrize("data", ["ManifestDataModule", "ImageFolderDataModule", "SatelliteDataModule"])
def test_any_images_may_be_read(data: str, run: Path) -> None:
    loose = pictures(Path("loose"), {"a": 30, "b": 220}, count=2, seed=9)
    listed = pd.DataFrame({"path": ["b/01.png", "a/00.png", "b/00.png"]})
    listed.to_csv(loose / "list.csv", index=False)
    options = {
        "ManifestDataModule": [f"--data.manifest={loose}/list.csv"],
        "ImageFolderDataModule": [f"--data.root={loose}"],
        "SatelliteDataModule": [f"--data.predict_root={loose}"],
    }[data]
    main(["predict", "--run", "run", f"--data=datamodules.{data}", *options])
    found = pd.read_parquet(run / "predictions" / "predict.parquet")
    order = listed.path.tolist() if data == "ManifestDataModule" else ["a/00.png", "a/01.png", "b/00.png", "b/01.png"]
    assert found["id"].tolist() == order
    assert found["label"].tolist() == ["town" if name[0] == "b" else "field" for name in order]


def test_a_test_on_other_images_matches_names_and_leaves_the_run_as_it_was(run: Path, capsys) -> None:
    before = contents(run)
    other = pictures(Path("other"), {"town": 220, "field": 30}, count=5, seed=4)  # numbers 0 and 1 there, 2 and 0 here
    main(["test", "--run", "run", f"--data.root={other}"])
    out = capsys.readouterr()
    assert "Test on 10 samples" in out.out and "no images are of lake: the other" in out.out
    (beside,) = (run / "tests").iterdir()
    summary = json.loads((beside / "summary.json").read_text())
    assert summary["test"]["accuracy"] == 1.0
    assert {c["name"]: c["support"] for c in summary["test"]["classes"]} == {"field": 5, "lake": 0, "town": 5}
    after = {name: value for name, value in contents(run).items() if not name.startswith("tests/")}
    assert after == before


def test_classes_that_the_model_does_not_know_are_refused_by_name(run: Path, capsys) -> None:
    other = pictures(Path("other"), {"town": 220, "brook": 130, "moor": 10})
    message = error_of(["test", "--run", "run", f"--data.root={other}"], capsys)
    assert "has classes that the run's model does not know: 'brook', 'moor'; it knows field, lake, town" in message
    assert not (run / "tests").exists()


def test_embeddings_of_other_images(run: Path) -> None:
    loose = pictures(Path("loose"), {"a": 30, "b": 220}, count=2)
    main(["embed", "--run", "run", f"--data.root={loose}", "--output=found.npy", "--precision=32"])
    assert np.load("found.npy").shape == (4, 16)
    assert pd.read_parquet("found.ids.parquet")["id"].tolist() == ["a/00.png", "a/01.png", "b/00.png", "b/01.png"]


def test_going_on_needs_the_same_classes(run: Path, capsys) -> None:
    more = ["fit", "--resume", "run", "--trainer.max_epochs=13"]
    assert "there is no folder" in error_of(more, capsys)
    pictures(Path("renamed"), {"field": 30, "pond": 130, "town": 220})
    assert "does not know: 'pond'" in error_of([*more, "--data.root=renamed"], capsys)
    pictures(Path("fewer"), {"field": 30, "town": 220})
    assert "'lake' has 0 train" in error_of([*more, "--data.root=fewer"], capsys)
    pictures(Path("same"), dict(reversed(COLOURS.items())))
    main([*more, "--data.root=same"])
    assert json.loads((run / "summary.json").read_text())["test"]["accuracy"] > 0.9


@pytest.mark.parametrize("option", ["--data.split_seed=1", "--data.test_fraction=0.5"])
def test_what_was_trained_on_is_not_scored_by_another_split(option: str, run: Path, capsys) -> None:
    message = error_of(["test", "--run", "run", option], capsys)
    assert "is not the run's: its own data would be parted otherwise" in message


def test_a_damaged_description_is_said(run: Path, capsys) -> None:
    (run / "run.json").write_text("{")
    assert "run.json is damaged" in error_of(["predict", "--run", "run"], capsys)
    (run / "run.json").write_text(json.dumps({"format": FORMAT + 1}))
    assert "update it" in error_of(["predict", "--run", "run"], capsys)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_names", 5),
        ("class_names", ["field", "field", "lake"]),
        ("class_names", ["field", 1, "lake"]),
        ("columns", [1]),
        ("splits", {"train": 3}),
        ("task", {}),
        ("cut", "no"),
    ],
)
def test_a_description_of_other_kinds_of_values_is_said(field: str, value: object, run: Path, capsys) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, field: value}))
    assert f"run.json is damaged ({field})" in error_of(["predict", "--run", "run"], capsys)


def test_weights_of_another_model_are_said(run: Path, capsys) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "class_names": ["field", "lake"]}))
    loose = pictures(Path("loose"), {"a": 30}, count=2)
    message = error_of(["predict", "--run", "run", f"--data.predict_root={loose}"], capsys)
    assert message.startswith("the checkpoint is of another model than the one that is built (size mismatch for head.")


SIGNALLING = """\
import os
from lightning.pytorch.callbacks import Callback

class At(Callback):
    def __init__(self, hook: str, number: int) -> None:
        setattr(self, hook, lambda *args, **kwargs: os.kill(os.getpid(), number))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("subcommand", "hook"), [("predict", "on_predict_batch_end"), ("test", "on_test_batch_end")])
def test_a_signal_ends_a_test_or_a_prediction_at_once(
    subcommand: str, hook: str, number: int, run: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("signalling.py").write_text(SIGNALLING)
    other = pictures(Path("other"), COLOURS, count=2)
    sender = f"--trainer.callbacks=[{{class_path: signalling.At, init_args: {{hook: {hook}, number: {int(number)}}}}}]"
    with pytest.raises(SystemExit) as end:
        main([subcommand, "--run", "run", f"--data.root={other}", sender])
    assert end.value.code == 128 + number
    assert capsys.readouterr().err.endswith("\nStopped.\n")
    assert {name: value for name, value in contents(run).items() if ".rank0." not in name} == before


def test_a_signal_in_the_test_after_training_says_how_to_go_on(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("signalling.py").write_text(SIGNALLING)
    recipe = make_job(tmp_path)
    sender = "--trainer.callbacks=[{class_path: signalling.At, init_args: {hook: on_test_batch_end, number: 2}}]"
    short = ["--trainer.max_epochs=1", "--unfreezing=null", "--run_folder=run"]
    with pytest.raises(SystemExit) as end:
        main(["--recipe", str(recipe), *short, sender])
    assert end.value.code == 130
    assert capsys.readouterr().err.endswith("Stopped. Go on with:\n  lightning-tl fit --resume run\n")
    main(["fit", "--resume", "run", "--trainer.callbacks=null"])
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@pytest.mark.filterwarnings("ignore:.*could not be made")  # more than the one that is asked for
def test_what_was_found_is_told_though_it_cannot_be_written(run: Path, capsys) -> None:
    (run / "tests").write_text("no folder")
    other = pictures(Path("other"), COLOURS, count=3)
    with pytest.warns(UserWarning, match=r"summary\.txt could not be made"):
        main(["test", "--run", "run", f"--data.root={other}"])
    assert "Test on 9 samples" in capsys.readouterr().out


def test_half_an_export_is_taken_back(run: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    shutil.rmtree(run / "model")
    other = pictures(Path("other"), COLOURS)
    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", _half_written)
    with pytest.warns(UserWarning, match=r"the exported model could not be made \(OSError: .*No space left"):
        main(["fit", "--resume", "run", "--trainer.max_epochs=13", f"--data.root={other}"])
    assert not (run / "model").exists()
    assert "from_pretrained" not in capsys.readouterr().out


def _half_written(model: object, folder: Path, **options: object) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text("{")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.filterwarnings("ignore:.*could not be written")  # at each row
def test_a_log_that_cannot_be_written_loses_no_training(run: Path, capsys) -> None:
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").mkdir()
    (run / "summary.json").unlink()
    other = pictures(Path("other"), COLOURS)
    with pytest.warns(UserWarning, match=r"metrics\.csv could not be written \(Is a directory\)"):
        main(["fit", "--resume", "run", "--trainer.max_epochs=13", f"--data.root={other}"])
    out = capsys.readouterr().out
    assert "Test on" in out and "trained on" in out
    (run / "summary.json").unlink()
    main(["fit", "--resume", "run", "--trainer.max_epochs=13", f"--data.root={other}"])  # nothing is left to train
    assert "trained on" in capsys.readouterr().out


def test_trying_a_prediction_leaves_what_was_predicted(run: Path) -> None:
    loose = pictures(Path("loose"), {"a": 30}, count=3)
    predict = ["predict", "--run", "run", f"--data.predict_root={loose}", "--data.batch_size=1"]
    main(predict)
    main([*predict, "--trainer.fast_dev_run=true"])
    assert len(pd.read_parquet(run / "predictions" / "predict.parquet")) == 3


def test_the_line_that_loads_the_model_is_that_of_the_moved_run(run: Path, capsys) -> None:
    root = pictures(Path("again"), COLOURS)
    shutil.move(root, "images")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    saved["data"]["init_args"]["root"] = str(Path("images").resolve())
    (run / "config.yaml").write_text(yaml.safe_dump(saved))
    main(["test", "--run", "run"])
    assert 'AutoModelForImageClassification.from_pretrained("run/model")' in capsys.readouterr().out
    load = json.loads((run / "summary.json").read_text())["model"]["load"]
    assert load.endswith(f'from_pretrained("{run / "model"}")')


def test_a_run_of_an_earlier_version_is_read_by_its_predictions(run: Path) -> None:
    (run / "run.json").unlink()
    loose = pictures(Path("loose"), {"a": 130}, count=2, seed=9)
    main(["predict", "--run", "run", f"--data.predict_root={loose}"])
    assert pd.read_parquet(run / "predictions" / "predict.parquet")["label"].tolist() == ["lake", "lake"]


def test_statistics_of_the_training_images_go_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_job(tmp_path)
    main(["--recipe", str(recipe), "--data.normalisation=data", "--trainer.max_epochs=1", "--unfreezing=null"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    main(["predict", "--run", str(run)])
    kept = pd.read_parquet(run / "predictions" / "predict.parquet").set_index("id")
    shutil.move(tmp_path / "images", tmp_path / "loose")
    main(["predict", "--run", str(run), "--data.predict_root=loose"])
    alone = pd.read_parquet(run / "predictions" / "predict.parquet").set_index("id").loc[kept.index]
    assert np.abs(np.stack(alone.probabilities) - np.stack(kept.probabilities)).max() < 1e-6


def test_a_run_without_a_test_leaves_its_best_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_job(tmp_path)
    main(["--recipe", str(recipe), "--test=false", "--unfreezing=null", "--trainer.max_epochs=1"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert (run / "model" / "config.json").is_file()
    before = contents(run / "model")
    assert "AutoModelForImageClassification" in capsys.readouterr().out
    main(["test", "--run", str(run)])
    assert contents(run / "model") == before


def test_names_not_numbers() -> None:
    assert class_places(["c", "a"], ["a", "b", "c"], "new.csv") == [2, 0]
    with pytest.raises(ValueError, match=r"new\.csv has a class .* does not know: 'd'; it knows a, b"):
        class_places(["a", "d"], ["a", "b"], "new.csv")


# -------------------------------------------------------------------- texts

TOPICS = {"clothes": ("dress", "shirt", "jacket"), "land": ("house", "car", "red"), "water": ("boat", "fish", "wet")}


def table(path: Path, topics: dict[str, tuple[str, ...]], count: int, seed: int, **more: object) -> Path:
    draw = np.random.default_rng(seed)
    rows = [
        {"body": " ".join(draw.permutation([*draw.choice(WORDS, 4), *draw.choice(own, 3)])), "topic": topic, **more}
        for topic, own in topics.items()
        for _ in range(count)
    ]
    pd.DataFrame(rows).sample(frac=1, random_state=seed).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("texts")
    save_text_model("bert", home)
    table(home / "own.csv", TOPICS, 30, 0)
    recipe = home / "mine.yaml"
    recipe.write_text(f"""\
# Own texts.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args: {{backbone: {{class_path: lightning_tl.backbones.HuggingFaceText, init_args: {{pretrained: bert}}}}}}
data:
  class_path: datamodules.TextDataModule
  init_args: {{path: own.csv, text: body, label: topic, cache: {home}/cache, batch_size: 8}}
trainer: {{max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}}
""")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
        main(["--recipe", str(recipe)])
    (run,) = (home / "runs" / "mine").iterdir()
    (home / "own.csv").unlink()
    return run


def test_texts_without_labels_each_a_row_in_their_order(text_run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "new.csv", TOPICS, 7, 5)
    new = pd.read_csv("new.csv").drop(columns="topic")
    new["body"] = new["body"].where(np.arange(len(new)) % 3 > 0, new["body"] + " boat" * 9)  # of different lengths
    new.to_csv("new.csv", index=False)
    main(["predict", "--run", str(text_run), "--data.path=new.csv"])
    found = pd.read_parquet(text_run / "predictions" / "predict.parquet")
    assert found["id"].tolist() == [f"row-{k + 1}" for k in range(21)]
    new.iloc[::-1].to_csv("back.csv", index=False)
    main(["predict", "--run", str(text_run), "--data.path=back.csv"])
    back = pd.read_parquet(text_run / "predictions" / "predict.parquet")
    gap = np.abs(np.stack(found["probabilities"]) - np.stack(back["probabilities"])[::-1])
    assert gap.max() < 1e-5


@pytest.mark.parametrize(
    ("columns", "samples"),
    [({}, 15), ({"split": "train"}, 15), ({"split": "test"}, 15)],
    ids=["no split", "train", "test"],
)
def test_a_table_of_one_kind_is_scored_whole(
    columns, samples, text_run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "new.csv", TOPICS, 5, 3, **columns)
    main(["test", "--run", str(text_run), "--data.path=new.csv"])
    assert "Test on 15 samples" in capsys.readouterr().out


def test_labels_of_texts_are_matched_by_name(text_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(text_run / "model")
    table(tmp_path / "swap.csv", {"cars": ("house",), "land": ("red",), "sport": ("boat",)}, 6, 2)
    message = error_of(["test", "--run", str(text_run), "--data.path=swap.csv"], capsys)
    assert "does not know: 'cars', 'sport'; it knows clothes, land, water" in message
    table(tmp_path / "one.csv", {"water": TOPICS["water"]}, 1, 2)  # a single row of a single class
    main(["test", "--run", str(text_run), "--data.path=one.csv"])
    assert contents(text_run / "model") == before


def test_zero_shot_needs_neither_labels_nor_training(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    save_text_model("bert", tmp_path)
    table(tmp_path / "labelled.csv", TOPICS, 4, 1)
    pd.read_csv("labelled.csv").drop(columns="topic").to_csv("bare.csv", index=False)
    words = "--model.descriptions={clothes: dress, land: house, water: boat}"
    common = ["--recipe", "text_zero_shot", "--data.text=body", "--data.label=topic", f"--data.cache={tmp_path}/cache"]
    common += ["--model.backbone.pretrained=bert", "--model.backbone.pooling=mean", "--trainer.accelerator=cpu"]
    main(["predict", *common, "--data.path=bare.csv", words, "--run_folder=bare"])
    assert pd.read_parquet("bare/predictions/predict.parquet")["id"].tolist() == [f"row-{k + 1}" for k in range(12)]
    main(["test", *common, "--data.path=labelled.csv", words, "--run_folder=scored"])
    assert "Test on 12 samples" in capsys.readouterr().out
    missing = ["predict", *common, "--data.path=bare.csv", "--model.descriptions=null", "--run_folder=none"]
    assert "which classes there are is not known: describe them" in error_of(missing, capsys)
