"""Every recipe is short, says what it shows, and runs."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from cli_runs import make_job
from movielens_files import movielens
from tiny_clip import save_clip
from tiny_masks import mask_folder
from tiny_nli import save_nli
from tiny_pairs import write_pairs
from tiny_rasters import reflectances, write_raster
from tiny_retrieval import write_log
from tiny_text import save_text_model

from datamodules.texts.text_data import REVIEWS
from lightning_tl.cli import main
from lightning_tl.cli.reading.recipes import find_recipe, first_line, recipes

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")  # runs here are short on purpose

NAMES = sorted(recipes())
SHORT = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
]


def reviews(folder: Path) -> Path:
    """Some of the shipped reviews as a table of the user's own."""
    table = pd.read_parquet(REVIEWS)
    few = table.groupby(["department", "split"]).head(8)
    few[["text", "department", "split"]].to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every part of a recipe that names a class, with its arguments."""
    if isinstance(node, dict):
        if "class_path" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def default_of(cls: type, name: str) -> Any:
    for base in cls.__mro__:
        parameters = inspect.signature(vars(base)["__init__"]).parameters if "__init__" in vars(base) else {}
        if name in parameters:
            return parameters[name].default
    raise AssertionError(f"{cls.__name__} takes no {name}")


def test_the_recipes_that_are_promised() -> None:
    promised = {"vit", "linear_probe", "from_scratch", "fine_tune", "vit_base", "efficientnet"}
    assert {f"satellite_{name}" for name in (*promised, "lora")} <= set(NAMES)
    texts = {"zero_shot", "linear_probe", "fine_tune", "progressive", "lora", "adapters", "prompt_tuning"}
    assert {"two_tower", "movielens_two_tower", "streamrec_two_tower"} <= set(NAMES)
    assert {f"streamrec_track_{track}" for track in "abc"} <= set(NAMES)
    assert {f"text_{name}" for name in (*texts, "from_scratch", "distilbert")} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_says_what_to_expect(name: str) -> None:
    path = find_recipe(name)
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert "Expect" in first_line(path) and len(first_line(path)) > 30


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_no_default(name: str) -> None:
    for part in objects(yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))):
        module, _, class_name = part["class_path"].rpartition(".")
        cls = getattr(importlib.import_module(module), class_name)
        for argument, value in part.get("init_args", {}).items():
            assert default_of(cls, argument) != value, f"{class_name}.{argument} = {value} is the default"


@pytest.mark.parametrize("name", NAMES)
def test_print_config(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", name, "--print_config"])
    assert exit_.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["class_path"].startswith("lightning_tl.")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped reviews are read and cut into tokens once for all recipes."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def few_reviews(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for a few of the shipped reviews, whose tokens are there at once."""
    return [f"--data.path={reviews(tmp_path_factory.mktemp('few'))}", "--data.label=department"]


def chips(folder: Path) -> Path:
    """A table of rasters of four bands, as `chips` writes them."""
    rows = ["path,label,split"]
    for number in range(18):
        write_raster(folder / f"{number}.tif", reflectances(4, 8, number), ("B02", "B03", "B04", "B08"))
        rows.append(f"{number}.tif,{('crop', 'wood')[number % 2]},{('train', 'validation', 'test')[number // 2 % 3]}")
    (folder / "chips.csv").write_text("\n".join(rows))
    return folder / "chips.csv"


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run(
    name: str, cache: Path, few_reviews: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own: list[str] = []
    if name == "earth_segmentation":
        own = [f"--data.manifest={mask_folder(tmp_path / 'chips') / 'chips.csv'}", "--data.batch_size=6"]
        own += ["--unfreezing.milestones=null", "--unfreezing.epochs_per_phase=1"]
    if name == "satellite_vit_base":  # the user brings the images, the hub the weights
        make_job(tmp_path)
        own = [f"--data.root={tmp_path / 'images'}", f"--model.backbone.pretrained={tmp_path / 'vit'}"]
    if name in ("satellite_vit", "text_progressive", "streamrec_track_c"):  # milestones must lie within the epochs
        own = ["--unfreezing.milestones=null", "--unfreezing.epochs_per_phase=1"]
    if name.startswith("text_"):
        own += ["--data.labels_per_class=3", "--data.batch_size=8", f"--data.cache={cache}"]
    if name == "pretrain_text_mlm":
        own = ["--data.batch_size=8", f"--data.cache={cache}", *few_reviews[:1], "--data.max_length=32"]
        own += [f"--probe.{option.removeprefix('--')}" for option in few_reviews]
        own += ["--probe.data.labels_per_class=3", "--probe.neighbours=3", f"--probe.data.cache={cache}"]
    if name.startswith("satellite_") and name != "satellite_vit_base":
        own += ["--data.labels_per_class=4", "--data.batch_size=12"]
    if name == "pretrain_images_dino":
        make_job(tmp_path)
        own = [f"--data.root={tmp_path / 'images'}", f"--model.backbone.pretrained={tmp_path / 'vit'}"]
        own += ["--data.batch_size=8", "--data.local_size=4", "--model.prototypes=64"]
    if name == "pretrain_images_masked":
        make_job(tmp_path)
        own = [f"--data.root={tmp_path / 'images'}", "--model.backbone.pretrained=resnet18"]
        own += ["--model.backbone.weights=null", "--model.backbone.image_size=32", "--model.mask_size=8"]
        own += ["--data.batch_size=8"]
    if name.startswith("pretrain_satellite") and name != "pretrain_satellite_clip":
        own += ["--data.batch_size=16", "--probe.data.labels_per_class=10", "--probe.neighbours=5"]
    if name in ("pretrain_clip", "continue_clip"):  # the user brings the pairs, the hub the weights
        make_job(tmp_path)
        weights = {"pretrain_clip": f"--model.backbone.pretrained={tmp_path / 'vit'}"}
        own = [weights.get(name) or f"--model.pretrained={save_clip('clip', tmp_path)}", "--data.batch_size=4"]
        own += [f"--data.path={write_pairs(tmp_path / 'pairs')}", f"--data.cache={cache}"]
    if name == "pretrain_satellite_clip":
        own += ["--data.more_tiles=0", "--data.batch_size=8", f"--data.cache={cache}"]
        own += ["--test=false"]
    if name == "satellite_zero_shot":  # the hub has the weights
        own = [f"--model.backbone.pretrained={save_clip('clip', tmp_path)}"]
    if name == "text_zero_shot_nli":
        own += [f"--model.nli={save_nli(tmp_path)}"]
    if name.startswith("text_") and name != "text_linear_probe":  # which reads all that is shipped
        own += [*few_reviews, "--data.max_length=32"]
    if name == "text_distilbert":
        own += [f"--model.backbone.pretrained={save_text_model('distilbert', tmp_path)}"]
    if name == "movielens_two_tower":
        own = [f"--data.root={movielens(tmp_path / 'ml', parquet=False)}", "--data.uniform_negatives=0"]
    if name == "two_tower":
        own = [
            f"--data.{table}={write_log(tmp_path / 'log') / table}.parquet" for table in ("events", "items", "users")
        ]
    if name == "earth_multiband":
        own = [f"--data.manifest={chips(tmp_path / 'chips')}", "--data.indices=[ndvi]"]
    if name.startswith("streamrec"):
        own += ["--data.world.users=60", "--data.world.items=100", "--data.world.days=30"]
        own += ["--data.uniform_negatives=0"]
    if "two_tower" in name or name.startswith("streamrec"):
        own += [f"--data.cache={tmp_path / 'cache'}", "--data.batch_size=8", "--checkpoint.monitor=null"]
    main(["--recipe", name, *SHORT, *own])
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "config.yaml").is_file() and (run / "checkpoints" / "last.ckpt").is_file()
