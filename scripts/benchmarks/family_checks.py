"""What `families.py` asks of one family: does it open, train under every adaptation, export, and read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lightning_tl.adaptation
import lightning_tl.backbones
from lightning_tl.adaptation import Adaptation
from lightning_tl.backbones import Backbone
from lightning_tl.contracts.batches import ClassificationBatch
from lightning_tl.strategies.fine_tune import FineTune

TOLERANCE = 1e-4
RATE = 1e-2  # so large that a change which is lost or added twice shows in the logits
CLASSES = ("field", "lake", "town")
SAMPLES = 4
Adaptations = Mapping[str, Callable[[], Adaptation]]


@dataclass
class Row:
    """One family's line of the table.

    Args:
        family: its name.
        opens: width of the features and number of layer groups, such as `16 / 3`; empty where it does not open.
        trains: adaptations under which a step trained what it should.
        exports: `own` where the family's own classifier holds the head, `two parts` where the head lies beside.
        reads_back: adaptations whose exported folder gave the same logits.
        refused: adaptation, or `opens`, to what was said.
        wrong: likewise, to what is not as it should be.
    """

    family: str
    opens: str = ""
    trains: list[str] = field(default_factory=list)
    exports: str = ""
    reads_back: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the family opens, trains, exports and reads back, Full and Frozen; nothing is wrong elsewhere."""
        needed = {"Full", "Frozen"}
        return not self.wrong and bool(self.opens) and needed <= set(self.trains) and needed <= set(self.reads_back)

    @property
    def honest(self) -> bool:
        """Whether all of it is right or refused in one line, before any training."""
        return not self.wrong


def check_family(family: str, opened: Callable[[], Backbone], adaptations: Adaptations, folder: Path) -> Row:
    """Try one family.

    Args:
        opened: its backbone, from a folder on disk.
        adaptations: by name; fresh ones, as each is applied once.
        folder: for what is exported.
    """
    row = Row(family)
    try:
        backbone = opened()
        _check_features(backbone)
        row.opens = f"{backbone.feature_dim} / {len(backbone.layer_groups())}"
    except Exception as error:
        _note(row, "opens", error)
        return row
    for name, adaptation in adaptations.items():
        try:
            module = _trained(opened(), adaptation())
            row.trains.append(name)
            line = module.export(folder / name)
            if name == "Full":
                row.exports = "own" if line.startswith(("transformers.", "timm.")) else "two parts"
            _check_read_back(module, line)
            row.reads_back.append(name)
        except Exception as error:
            _note(row, name, error)
    return row


class CheckError(Exception):
    """A check that fails."""


def _note(row: Row, what: str, error: Exception) -> None:
    text = " ".join(str(error).split())
    one_line = len(str(error).strip().splitlines()) == 1
    if isinstance(error, (ValueError, OSError)) and not isinstance(error, CheckError) and one_line:
        row.refused[what] = text
    else:
        row.wrong[what] = f"{type(error).__name__}: {text}"


@torch.no_grad()
def _check_features(backbone: Backbone) -> None:
    """Features of a batch are those of its samples one by one."""
    inputs = backbone.eval().example_inputs(SAMPLES)
    features = backbone(inputs)
    if features.shape != (SAMPLES, backbone.feature_dim):
        raise CheckError(f"feature_dim is {backbone.feature_dim}, the features are {list(features.shape)}")
    single = torch.cat([backbone(_sample(inputs, k)) for k in range(SAMPLES)])
    _check_close(single, features, "features one by one")


def _sample(inputs: Any, k: int) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[k : k + 1]
    return {name: value[k : k + 1] for name, value in inputs.items()}


def _check_close(found: Tensor, wanted: Tensor, what: str) -> None:
    scale = max(1.0, float(wanted.abs().max()))
    gap = float((found - wanted).abs().max()) / scale
    if not gap <= TOLERANCE:
        raise CheckError(f"{what} differ by {gap:.1e}")


def _trained(backbone: Backbone, adaptation: Adaptation) -> FineTune:
    """A module after two steps, checked: what may train moves, what is frozen stays, the loss is finite."""
    torch.manual_seed(0)
    module = FineTune(backbone, adaptation=adaptation, num_classes=len(CLASSES), lr=RATE)
    module.class_names = CLASSES
    module.configure_model()
    module.train()
    parameters = dict(module.named_parameters())
    before = {name: value.detach().clone() for name, value in parameters.items()}
    trained = {name for name, value in parameters.items() if value.requires_grad}
    optimizer = torch.optim.Adam([parameters[name] for name in sorted(trained)], lr=RATE)
    batch: ClassificationBatch = {
        "inputs": backbone.example_inputs(SAMPLES),
        "target": torch.arange(SAMPLES) % len(CLASSES),
        "index": torch.arange(SAMPLES),
    }
    for _ in range(2):
        loss = _loss(module, batch)
        if not math.isfinite(float(loss.detach())):
            raise CheckError(f"the loss is {float(loss):g}")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    lost = [name for name in trained if parameters[name].grad is None]
    still = [name for name in trained - set(lost) if _stays(parameters[name], before[name])]
    moved = [name for name in parameters.keys() - trained if not torch.equal(parameters[name], before[name])]
    for names, what in ((lost, "get no gradient"), (still, "stay where they are"), (moved, "move although frozen")):
        if names:
            raise CheckError(f"{len(names)} weights {what}: {sorted(names)[0]}")
    if not any(name.startswith("backbone.") for name in trained) and type(adaptation).__name__ != "Frozen":
        raise CheckError("nothing of the backbone trains")
    return module.eval()


def _loss(module: FineTune, batch: ClassificationBatch) -> Tensor:
    try:
        return module.step(batch).loss
    except (ValueError, OSError) as error:
        raise CheckError(f"refused only while it trains: {error}") from error


def _stays(parameter: Tensor, before: Tensor) -> bool:
    """Whether a weight did not move although its gradient is more than rounding."""
    pulled = parameter.grad is not None and float(parameter.grad.abs().max()) > 1e-6
    return pulled and torch.equal(parameter, before)


@torch.no_grad()
def _check_read_back(module: FineTune, line: str) -> None:
    """The line of Python that an export gives loads a model with the same logits."""
    import timm
    import transformers

    from lightning_tl.backbones.hugging_face.images.hugging_face_export import logits_of

    inputs = module.backbone.example_inputs(SAMPLES)
    modules = {"timm": timm, "transformers": transformers, "lightning_tl": lightning_tl}
    model = eval(line, modules).eval()
    if isinstance(inputs, dict) and line.startswith("transformers."):
        found = model(**inputs).logits
    else:
        found = logits_of(model, inputs) if line.startswith("transformers.") else model(inputs)
    _check_close(found, module(inputs), "logits read back")
