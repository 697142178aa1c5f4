"""Arms that start from different weights: what they are made of, and what is told of the weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from datamodules import ImageFolderDataModule, UnlabelledImagesDataModule
from lightning_tl.backbones import TorchvisionResNet
from lightning_tl.choosing.study import StudyPlan, arm_of
from lightning_tl.choosing.study.compare import Chosen
from lightning_tl.choosing.study.plan import Cell
from lightning_tl.choosing.study.report_weights import weights_section
from lightning_tl.choosing.study.scores import same_network
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.choosing.study.weights import Weights, arms_of_weights
from lightning_tl.cli.commands.compare_options import read_compare_options
from lightning_tl.cli.commands.compare_plan import plan_of
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.reading.recipes import find_recipe
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.seen_images import SEEN, count_seen, write_seen

TIMM = "lightning_tl.backbones.TimmBackbone"


def base(recipe: str = "satellite_fine_tune") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(find_recipe(recipe).read_text(encoding="utf-8"))
    return found


def told(folder: Path, **provenance: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder


def test_every_strategy_from_every_weights(tmp_path: Path) -> None:
    mine = told(tmp_path / "model", objective="DINO", steps=1200, started_from="lightning_tl/satellite-vit-tiny")
    given = [f"mine={mine}", "nothing=none", f"imagenet={TIMM}:efficientnet-lite0"]
    strategies = [arm_of(name, base()) for name in ("linear_probe", "fine_tune", "from_scratch", "colour_statistics")]
    arms = arms_of_weights(strategies, [Weights.parse(text) for text in given])
    names = [f"{s}-{w}" for s in ("linear_probe", "fine_tune") for w in ("mine", "nothing", "imagenet")]
    assert [arm.name for arm in arms] == [*names, "from_scratch", "colour_statistics"]
    by_name = {arm.name: arm for arm in arms}
    usual = arm_of("fine_tune", base())
    assert by_name["fine_tune-mine"].backbone["init_args"] == {"pretrained": str(mine), "weights": True}
    assert by_name["fine_tune-mine"].search == usual.search and by_name["fine_tune-mine"].pretrained
    assert by_name["fine_tune-nothing"].backbone["init_args"] == {"weights": False}
    assert not by_name["fine_tune-nothing"].pretrained
    assert by_name["fine_tune-imagenet"].backbone == {
        "class_path": TIMM,
        "init_args": {"pretrained": "efficientnet-lite0", "weights": True},
    }
    assert by_name["fine_tune-mine"].weights == {
        "name": "mine",
        "place": str(mine),
        "told": "DINO, 1,200 steps, from lightning_tl/satellite-vit-tiny",
    }
    assert same_network(by_name["fine_tune-mine"], by_name["fine_tune-nothing"])
    assert same_network(by_name["fine_tune-mine"], by_name["from_scratch"])
    assert not same_network(by_name["fine_tune-imagenet"], by_name["fine_tune-nothing"])
    assert usual == arm_of("fine_tune", base()), "the strategy itself is as it was"

    plan = StudyPlan("r", arms)
    again = StudyPlan.from_json(json.dumps(plan.as_json()))
    assert (
        again.as_json() == plan.as_json() and again.arm("fine_tune-mine").weights == plan.arm("fine_tune-mine").weights
    )
    assert "weights" not in usual.as_json(), "studies of earlier versions go on"
    assert arms_of_weights(strategies, []) == strategies


RESNET = "lightning_tl.backbones.TorchvisionResNet"


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("none", None),
        ("resnet18", "DEFAULT"),
    ],
)
def test_weights_of_torchvision_are_named(place: str, wanted: str | None) -> None:
    """Where other backbones say whether there are any."""
    recipe = base()
    recipe["model"]["init_args"]["backbone"] = {"class_path": RESNET, "init_args": {"pretrained": "resnet18"}}
    (arm,) = arms_of_weights([arm_of("fine_tune", recipe)], [Weights.parse(f"a={place}")])
    assert arm.backbone == {"class_path": RESNET, "init_args": {"pretrained": "resnet18", "weights": wanted}}
    TorchvisionResNet(**{**arm.backbone["init_args"], "weights": None})  # type: ignore[index]


def test_a_backbone_that_cannot_be_told_to_start_from_nothing() -> None:
    recipe = base()
    recipe["model"]["init_args"]["backbone"] = "torch.nn.Identity"
    with pytest.raises(ValueError, match="Identity has no argument weights with a default"):
        arms_of_weights([arm_of("fine_tune", recipe)], [Weights("a", "none")])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{run}", "has no config.json, so it is not a saved model; it looks like a run, whose model is {run}/model"),
        ("{empty}", "has no config.json, so it is not a saved model"),
        ("{run}/modle", "there is no folder or file"),
        ("./modle", "there is no folder or file modle"),
        ("lightning_tl/satelite-vit-tiny", "ships with this project"),
    ],
)
def test_a_place_without_weights_is_told_before_anything_runs(place: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    places = {"run": tmp_path / "run", "empty": tmp_path / "empty"}
    words = ["--recipe", "satellite_fine_tune", "--weights", f"a={place.format(**places)}", "b=none"]
    wanted = read_compare_options(words)
    assert wanted.recipe is not None
    with pytest.raises(FileNotFoundError, match=re.escape(message.format(**places))):
        plan_of(wanted, wanted.recipe)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("none", "nothing: fresh weights"),
        ("nowhere/model", "not said: there is no provenance.json beside them"),
        ("lightning_tl/satellite-vit-tiny", "SimCLR, temperature 0.5, 2,000 steps"),
    ],
)
def test_what_is_told_of_weights(place: str, expected: str) -> None:
    assert Weights.parse(f"a={place}").told.startswith(expected)


@pytest.mark.parametrize("text", ["", "mine", "=x", "a b=x", "mine=", "../a=x"])
def test_what_is_no_weights(text: str) -> None:
    with pytest.raises(ValueError, match="weights are given as NAME=FOLDER, NAME=CLASS:FOLDER or NAME=none"):
        Weights.parse(text)


def test_weights_in_vain() -> None:
    with pytest.raises(ValueError, match="weights of one name stand twice: a"):
        arms_of_weights([arm_of("fine_tune", base())], [Weights("a", "none"), Weights("a", "x")])
    with pytest.raises(ValueError, match="no strategy starts from pretrained weights"):
        arms_of_weights([arm_of("from_scratch", base())], [Weights("a", "none")])


def test_on_the_command_line() -> None:
    words = ["--recipe", "satellite_fine_tune", "--strategies", "linear_probe", "--weights", "a=none", "b=x/y"]
    wanted = read_compare_options(words)
    assert wanted.recipe is not None and wanted.weights == ("a=none", "b=x/y")
    names = [arm.name for arm in plan_of(wanted, wanted.recipe).arms]
    assert names == ["linear_probe-a", "linear_probe-b", "colour_statistics"]
    log = read_compare_options(["--recipe", "two_tower", "--weights", "a=none"])
    assert log.recipe is not None
    with pytest.raises(UserError, match="--weights is for classification"):
        plan_of(log, log.recipe)


# -------------------------------------------------------------------- weights that saw the test


def pictures(root: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name)
    return root


def test_a_run_tells_of_test_images_that_its_weights_saw(tmp_path: Path) -> None:
    names = [f"{split}/{kind}/{k}.png" for split in ("train", "val", "test") for kind in "ab" for k in range(4)]
    root, ready = pictures(tmp_path / "all", names), {"image_size": 8, "mean": [0.5] * 3, "std": [0.2] * 3}
    seen = tmp_path / "mine"  # three of the test's among them, under other names
    for k, name in enumerate(["test/a/0.png", "test/a/1.png", "test/b/2.png", "train/a/0.png"]):
        seen.mkdir(exist_ok=True)
        (seen / f"{k}.png").write_bytes((root / name).read_bytes())
    data = UnlabelledImagesDataModule(seen, **ready, num_workers=0)
    data.setup("fit")
    write_seen(tmp_path, data.image_digests)
    assert count_seen(tmp_path, data.image_digests) == 4 and count_seen(tmp_path / "none", []) is None

    labelled = ImageFolderDataModule(root, **ready, num_workers=0)
    labelled.serve(Conditions(weights=tmp_path))
    labelled.setup("fit")
    (note,) = [note for note in labelled.notes if note.startswith(SEEN)]
    assert note == f"{SEEN}3 of 8 test images are among those of {tmp_path}"
    other = ImageFolderDataModule(root, **ready, num_workers=0)
    other.setup("fit")
    assert not [note for note in other.notes if note.startswith(SEEN)]

    arms = arms_of_weights([arm_of("fine_tune", base())], [Weights("mine", str(tmp_path)), Weights("no", "none")])
    plan, folder = StudyPlan("r", arms, draws=1), StudyFolder(tmp_path / "study")
    cell = Cell("fine_tune-mine", None, 0, 1e-3)
    run = folder.run(cell)
    run.mkdir(parents=True)
    (run / "summary.json").write_text(json.dumps({"notes": ["other", note]}))
    part = weights_section(plan, folder, Chosen(rates={("fine_tune-mine", None): 1e-3, ("fine_tune-no", None): 1e-3}))
    assert part.sentences == [f"mine: {note}. Its scores are not of images unseen."]
    assert [row[0] for row in part.rows] == ["mine", "no"] and part.rows[1][2] == "nothing: fresh weights"
