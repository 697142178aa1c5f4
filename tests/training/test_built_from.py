"""Modules built in Python are loaded from their checkpoint alone, and a compiled backbone keeps its names."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TinyBackbone, TinyData, tiny_module, tiny_trainer, tiny_vit, weights_hash

from lightning_tl.adaptation import AdaptThenThaw, LoRA, TopGroups
from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing, ResumableCheckpoint
from lightning_tl.strategies import FineTune, FromScratch, LoRAFineTune
from lightning_tl.training.schedules import OneCycle, TorchSchedule
from lightning_tl.training.transfer_module import TransferModule

MODULES: dict[str, Callable[[Any], TransferModule]] = {
    "defaults": lambda vit: FineTune(vit),
    "everything": lambda vit: FineTune(
        vit,
        TopGroups(1),
        lr=0.01,
        class_weights=[1.0, 2.0, 3.0],
        schedule=OneCycle(0.2),
        optimizer=torch.optim.SGD,
        head_hidden=4,
    ),
    "kwargs": lambda vit: FromScratch(vit, lr=0.02, dropout=0.1),
    "LoRA": lambda vit: LoRAFineTune(vit, lr=0.02),
    "two steps": lambda vit: FineTune(vit, AdaptThenThaw(LoRA(2), 1)),
}


def saved(module: TransferModule, folder: Path) -> Path:
    tiny_trainer(folder, [ResumableCheckpoint()], max_epochs=1).fit(module, datamodule=TinyData())
    return folder / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("name", MODULES)
def test_loaded_without_arguments(name: str, tmp_path: Path) -> None:
    module = MODULES[name](tiny_vit(tmp_path))
    path = saved(module, tmp_path)
    loaded = type(module).load_from_checkpoint(path)
    assert weights_hash(loaded) == weights_hash(module)
    assert (loaded.lr, loaded.num_classes, loaded.make_optimizer) == (module.lr, 3, module.make_optimizer)
    assert type(loaded.schedule) is type(module.schedule) and vars(loaded.schedule) == vars(module.schedule)
    assert type(loaded.adaptation) is type(module.adaptation)
    given = type(module).load_from_checkpoint(path, lr=0.5)
    assert given.lr == 0.5, "what is given stays"


def test_what_a_checkpoint_cannot_hold_has_to_be_given(tmp_path: Path) -> None:
    schedule = TorchSchedule(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1))
    module = tiny_module(schedule=schedule)
    path = saved(module, tmp_path)
    message = r"backbone \(was TinyBackbone\), schedule \(was TorchSchedule\).*\(path, backbone=…, schedule=…\)"
    with pytest.raises(ValueError, match=message):
        TransferModule.load_from_checkpoint(path)
    loaded = TransferModule.load_from_checkpoint(path, backbone=TinyBackbone(), schedule=schedule)
    assert weights_hash(loaded) == weights_hash(module)


def test_a_checkpoint_names_no_class_of_others(tmp_path: Path) -> None:
    path = saved(FineTune(tiny_vit(tmp_path)), tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["built_from"]["backbone"] = {"class": "subprocess.Popen", "arguments": {"args": ["true"]}}
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"names the class subprocess\.Popen"):
        FineTune.load_from_checkpoint(path)


@pytest.mark.parametrize(
    "path",
    [
        "lightning_tl.storage.partial_file.write_whole",  # a function
        "lightning_tl.__main__.main",  # a module whose import runs it
        "torch.optim.lr_scheduler.warnings",  # a module
        "lightning_tl.strategies.Gone",
    ],
)
def test_a_checkpoint_names_classes_alone(path: str, tmp_path: Path) -> None:
    torch.save({"built_from": {"backbone": {"class": path, "arguments": {}}}, "state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=f"there is no class {path}"):
        FineTune.load_from_checkpoint(tmp_path / "x.ckpt")


def test_modules_are_copied_as_before(tmp_path: Path) -> None:
    module = FineTune(tiny_vit(tmp_path), num_classes=3)
    assert weights_hash(copy.deepcopy(module)) == weights_hash(module)
    assert weights_hash(pickle.loads(pickle.dumps(module))) == weights_hash(module)


def test_a_compiled_backbone_keeps_its_names_and_groups(tmp_path: Path) -> None:
    def fitted(compiled: bool) -> TransferModule:
        module = tiny_module()
        if compiled:
            module.backbone = torch.compile(module.backbone, backend=counting)  # type: ignore[assignment]
        callbacks = [ProgressiveUnfreezing(), DiscriminativeLearningRates(0.5)]
        saved_in = tmp_path / str(compiled)
        tiny_trainer(saved_in, [*callbacks, ResumableCheckpoint()]).fit(module, datamodule=TinyData())
        return module

    calls: list[int] = []

    def counting(graph: Any, inputs: Any) -> Any:
        calls.append(1)
        return graph.forward

    eager, compiled = fitted(False), fitted(True)
    assert calls and isinstance(compiled.backbone, TinyBackbone)
    assert weights_hash(eager) == weights_hash(compiled)
    states = [torch.load(tmp_path / str(k) / "checkpoints/last.ckpt", weights_only=True) for k in (False, True)]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()


def test_a_whole_module_is_not_compiled(tmp_path: Path) -> None:
    module: Any = torch.compile(tiny_module(), backend="eager")
    with pytest.raises(ValueError, match=r"compile its backbone, module\.backbone"):
        tiny_trainer(tmp_path).fit(module, datamodule=TinyData())
