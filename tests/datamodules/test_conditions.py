"""Data modules go by what they are handed, or by a Trainer's own conditions, and by nothing else."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import tiny
import tiny_retrieval
import torch
from torch import nn

import lightning_tl
from datamodules import SatelliteDataModule
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.strategies import FineTune, LinearProbe
from lightning_tl.tasks.task import HasTask

SPEC = ImageSpec(4, 3, (0.5,) * 3, (0.5,) * 3)


def data(**options: object) -> SatelliteDataModule:
    return SatelliteDataModule(batch_size=32, num_workers=0, seed=3, augmentation=nn.Identity(), **options)  # type: ignore[arg-type]


def test_a_trainer_says_what_it_serves(tmp_path: Path) -> None:
    found: list[Conditions] = []

    class Ask(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            found.append(trainer.datamodule.conditions)  # type: ignore[attr-defined]

    module = FineTune(tiny.tiny_vit(tmp_path))
    trainer = tiny.tiny_trainer(tmp_path, [Ask()], max_steps=1, limit_val_batches=0, overfit_batches=1)
    trainer.fit(module, datamodule=data())
    spec = module.backbone.input_spec
    device, weights = torch.device("cpu"), tmp_path / "vit"
    assert found == [Conditions(spec, "HuggingFaceVision", device, 0, 1, 1, shuffle=False, weights=weights)]


@pytest.mark.parametrize("ranks", [1, 3])
def test_what_is_handed_in_needs_no_trainer(ranks: int) -> None:
    seen = []
    for rank in range(ranks):
        module = data()
        module.serve(Conditions(SPEC, "Own", rank=rank, world_size=ranks))
        module.setup("test")
        batches = list(module.test_dataloader())
        assert batches[0]["inputs"].shape[1:] == (3, 4, 4)
        seen.append(np.concatenate([batch["index"] for batch in batches]))
    alone = data()
    alone.serve(Conditions(SPEC))
    alone.setup("test")
    assert sorted(np.concatenate(seen)) == sorted(alone.indices["test"].tolist())


def runtime_protocols() -> list[type]:
    """Those of the package that are asked for by `isinstance`."""
    root = Path(lightning_tl.__path__[0])
    files = [path for path in sorted(root.rglob("*.py")) if "@runtime_checkable" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in files]
    kinds = [kind for name in names for kind in vars(importlib.import_module(name)).values() if isinstance(kind, type)]
    return [kind for kind in kinds if getattr(kind, "_is_runtime_protocol", False) and kind.__module__ in names]


def test_protocols_ask_for_nothing_that_some_pythons_do_not_see(tmp_path: Path) -> None:
    """From Python 3.12 on `isinstance` does not call `__getattr__`, by which torch gives submodules and parameters."""
    backbone, protocols, missing = tiny.tiny_vit(tmp_path), runtime_protocols(), object()
    module = FineTune(backbone)
    hidden = [
        f"{protocol.__name__}.{name} of {type(value).__name__}"
        for protocol in protocols
        if protocol is not HasTask  # asked of data modules, which are no torch modules
        for value in (module, backbone, tiny_retrieval.tiny_two_tower())
        for name in {*vars(protocol), *vars(protocol).get("__annotations__", ())}
        if not name.startswith("_") and hasattr(value, name) and inspect.getattr_static(value, name, missing) is missing
    ]
    assert len(protocols) > 20 and hidden == []
    assert (
        Conditions.of_model(module)
        == Conditions.of_model(backbone)
        == Conditions(backbone.input_spec, "HuggingFaceVision", weights=tmp_path / "vit")
    )


@pytest.mark.parametrize("model", [nn.Linear(2, 2), None])
def test_models_that_say_nothing(model: object) -> None:
    told = Conditions.of_model(model)
    assert told.input_spec is None and told.reader == ("Linear" if model else "no model")


def test_a_probe_leaves_the_data_as_they_were(tmp_path: Path) -> None:
    """The data module's next fit may be another strategy's, and reads images again."""
    module = data()
    before = set(vars(module))
    tiny.tiny_trainer(tmp_path / "a", max_epochs=1).fit(LinearProbe(tiny.tiny_vit(tmp_path)), datamodule=module)
    assert {"train_dataloader", "val_dataloader"} & set(vars(module)) == set() and before <= set(vars(module))
    after = FineTune(tiny.tiny_vit(tmp_path))
    tiny.tiny_trainer(tmp_path / "b", max_steps=1, limit_val_batches=1).fit(after, datamodule=module)
    assert "inputs" in next(iter(module.train_dataloader()))
