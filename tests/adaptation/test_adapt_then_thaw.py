"""An adaptation first, then the backbone's own groups, in one schedule."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from cli_runs import make_job
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from ranks import on_two_ranks
from tiny import TinyBackbone, TinyData, check_resumes, tiny_trainer, tiny_vit, weights_hash

from lightning_tl.adaptation import Adapters, AdaptThenThaw, Full, LoRA, Prompts, VisualPrompts, load_adapted
from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.callbacks import ProgressiveUnfreezing
from lightning_tl.cli import main
from lightning_tl.contracts.layer_groups import check_partition
from lightning_tl.strategies import FineTune

pytestmark = pytest.mark.filterwarnings("ignore:.*groups never train")

FIRST = {
    "LoRA": lambda: LoRA(2, dropout=0.1),
    "Adapters": lambda: Adapters(3),
    "VisualPrompts": lambda: VisualPrompts(2),
}


class Watch(Callback):
    """Keeps the weights at the start of every epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.modes: list[list[bool]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append({name: value.clone() for name, value in pl_module.backbone.state_dict().items()})  # type: ignore[union-attr,operator]
        dropouts = [
            m for name, m in pl_module.named_modules() if "lora_dropout" in name and type(m).__name__ == "Dropout"
        ]
        self.modes.append([m.training for m in dropouts])

    on_train_end = on_train_epoch_start


def module(folder: Path, first: Adaptation, n: int = 2) -> FineTune:
    return FineTune(tiny_vit(folder), adaptation=AdaptThenThaw(first, n), lr=0.02)


@pytest.mark.parametrize("name", FIRST)
def test_first_the_added_parameters_then_the_top_blocks(name: str, tmp_path: Path) -> None:
    model, watch = module(tmp_path, FIRST[name]()), Watch()
    unfreezing = ProgressiveUnfreezing(milestones=[2, 3])
    tiny_trainer(tmp_path, [unfreezing, watch], max_epochs=4).fit(model, datamodule=TinyData())
    check_partition(model, model.layer_groups())
    assert [entry["groups"] for entry in unfreezing.history] == [
        ["adaptation", "head"],
        ["block.1", "adaptation", "head"],
        ["block.0", "block.1", "adaptation", "head"],
    ]

    def moved(before: int, after: int) -> set[str]:
        """Which of the backbone's parts changed between the starts of two epochs."""
        one, other = watch.states[before], watch.states[after]
        changed = [key for key in one if not torch.equal(one[key], other[key])]
        added = {"added" for key in changed if any(part in key for part in ("lora_", ".adapter.", ".prompts."))}
        own = {
            key.split("layers.")[1][0]
            for key in changed
            if "layers." in key and not any(part in key for part in ("lora_", ".adapter.", ".prompts."))
        }
        return added | own | {key for key in changed if "embeddings" in key}

    assert moved(0, 1) == {"added"} and moved(1, 2) == {"added"}
    assert moved(2, 3) == {"added", "1"}
    assert moved(3, 4) == {"added", "0", "1"}
    if name == "LoRA":
        assert all(all(mode) for mode in watch.modes[:4]), "its dropout works inside frozen blocks too"


def test_everything_that_may_train_is_in_the_optimizer_from_the_start(tmp_path: Path) -> None:
    """Also what is zero at first (LoRA's B) and what is frozen at first (the blocks)."""
    model = module(tmp_path, LoRA(2))
    tiny_trainer(tmp_path, [ProgressiveUnfreezing(milestones=[1])], max_epochs=1).fit(model, datamodule=TinyData())
    optimizer = model.optimizers().optimizer  # type: ignore[union-attr]
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = dict(model.named_parameters())
    assert {id(names[name]) for name in model.adapted_parameters} == held
    assert any("lora_B" in name for name in model.adapted_parameters)
    rates = model.group_rates()
    assert rates["adaptation"] == rates["head"] == 0.02
    assert rates["block.1"] == rates["block.0"] == pytest.approx(0.002)


@pytest.mark.parametrize("name", FIRST)
def test_resumed_runs_end_the_same(name: str, tmp_path: Path) -> None:
    unfreezing = [ProgressiveUnfreezing(milestones=[1, 2])]
    check_resumes(lambda: module(tmp_path, FIRST[name]()), tmp_path, lambda: copy.deepcopy(unfreezing))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FIRST)
def test_exported_with_what_was_thawed(name: str, tmp_path: Path) -> None:
    model = module(tmp_path, FIRST[name](), n=1)
    model.class_names = ("a", "b", "c")
    callback = ProgressiveUnfreezing(milestones=[1])
    tiny_trainer(tmp_path, [callback], max_epochs=2).fit(model, datamodule=TinyData())
    line = model.export(tmp_path / "model")
    inputs = model.backbone.example_inputs(3)
    with torch.no_grad():
        expected = model.eval()(inputs)
        if name == "LoRA":
            assert "AutoModelForImageClassification" in line and not (tmp_path / "adapter").exists()
            found = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "model")(
                pixel_values=inputs
            )
            torch.testing.assert_close(found.logits, expected, rtol=1e-5, atol=1e-5)
        else:
            torch.testing.assert_close(load_adapted(tmp_path / "model")(inputs), expected, rtol=0, atol=0)


def test_tied_weights_follow_their_first_name() -> None:
    backbone = TinyBackbone(3)
    backbone.blocks[2][0].weight = backbone.blocks[1][0].weight  # type: ignore[index,union-attr]
    AdaptThenThaw(LoRA(2, targets="embed"), 2).apply(backbone)
    assert backbone.blocks[1][0].weight.requires_grad and not backbone.blocks[0][0].weight.requires_grad  # type: ignore[index,union-attr]


def train_on_a_rank(folder: str) -> tuple[str, list[str]]:
    backbone = HuggingFaceVision(f"{folder}/vit")
    model = FineTune(backbone, adaptation=AdaptThenThaw(LoRA(2), 2), lr=0.02)
    callback = ProgressiveUnfreezing(milestones=[1, 2])
    tiny_trainer(folder, [callback], devices=2, strategy="ddp", max_epochs=3).fit(model, datamodule=TinyData())
    return weights_hash(model), model.trainable_groups


def test_two_processes_stay_the_same(tmp_path: Path) -> None:
    tiny_vit(tmp_path)
    first, second = on_two_ranks(train_on_a_rank, tmp_path, str(tmp_path))
    assert first == second
    assert first[1] == ["block.0", "block.1", "adaptation", "head"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptThenThaw(Full()), "needs an adaptation that adds parameters, such as LoRA or Adapters, got Full"),
        (lambda: AdaptThenThaw(LoRA(), 0), "n of at least 1 layer group, got 0; use LoRA"),
        (lambda: AdaptThenThaw(LoRA(), 99).apply(HuggingFaceVision()), "n=99, but the backbone has 7 layer groups"),
        (lambda: AdaptThenThaw(Prompts(), 1).apply(HuggingFaceVision()), "Prompts needs a HuggingFaceText"),
    ],
)
def test_mistakes(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_job(tmp_path)
    text = recipe.read_text().replace(
        "  init_args:\n    backbone:",
        "  init_args:\n    adaptation:\n"
        "      class_path: lightning_tl.adaptation.AdaptThenThaw\n      init_args:\n"
        "        first: {class_path: lightning_tl.adaptation.LoRA, init_args: {r: 2}}\n        n: 1\n    backbone:",
        1,
    )
    recipe.write_text(text)
    main(["--recipe", str(recipe), "--unfreezing.epochs_per_phase=2"])
    (run,) = (tmp_path / "runs" / "mine").iterdir()
    assert "AutoModelForImageClassification" in (run / "summary.txt").read_text()
    assert "adaptation" in (run / "metrics.csv").read_text().splitlines()[0]
