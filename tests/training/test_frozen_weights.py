"""Checkpoints hold what was trained; the frozen rest is named, hashed, and taken from the backbone again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TinyBackbone, TinyData, tiny_trainer, weights_hash

from lightning_tl.adaptation import Adaptation, Frozen, Full, LoRA, TopGroups
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.storage.tensor_digest import tensor_digest
from lightning_tl.strategies import LoRAFineTune
from lightning_tl.training.transfer_module import TransferModule

ADAPTATIONS: list[tuple[Adaptation, int]] = [  # and how many of the backbone's 11 parameters stay in a checkpoint
    (Full(), 11),
    (TopGroups(1), 4),
    (Frozen(), 0),
    (LoRA(r=2, targets="all-linear"), 6),
]


def build(adaptation: Adaptation, seed: int = 0, **options: Any) -> TransferModule:
    torch.manual_seed(seed)
    return TransferModule(TinyBackbone(), adaptation, lr=0.05, **options)


def fitted(folder: Path, module: TransferModule, resume: str | None = None, epochs: int = 3) -> str:
    kept = ResumableCheckpoint(dirpath=folder)
    trainer = tiny_trainer(folder, [kept], max_epochs=3)
    if epochs < 3:
        module.on_train_epoch_end = lambda: setattr(trainer, "should_stop", trainer.current_epoch + 1 == epochs)  # type: ignore[method-assign]
    trainer.fit(module, datamodule=TinyData(), ckpt_path=resume, weights_only=True)
    return str(folder / "last.ckpt")


@pytest.mark.parametrize(("adaptation", "kept"), ADAPTATIONS, ids=lambda value: type(value).__name__)
def test_only_what_was_trained(adaptation: Adaptation, kept: int, tmp_path: Path) -> None:
    module = build(adaptation)
    checkpoint = torch.load(fitted(tmp_path, module), weights_only=True)
    parameters = {name for name, _ in module.backbone.named_parameters(prefix="backbone")}
    stored = checkpoint["state_dict"]
    assert len(stored.keys() & parameters) == kept
    buffers = {name for name, _ in module.named_buffers()}
    assert buffers <= stored.keys() and any("running_mean" in name for name in buffers)
    assert {"head.weight", "head.bias"} <= stored.keys()
    assert ("frozen" in checkpoint) == (not isinstance(adaptation, Full))


@pytest.mark.parametrize("adaptation", [pair[0] for pair in ADAPTATIONS], ids=lambda value: type(value).__name__)
def test_a_resumed_run_and_a_test_see_whole_weights(adaptation: Adaptation, tmp_path: Path) -> None:
    whole = build(adaptation)
    fitted(tmp_path / "whole", whole)
    last = fitted(tmp_path / "part", build(adaptation), epochs=2)
    resumed = build(adaptation)
    last = fitted(tmp_path / "part", resumed, resume=last)
    assert weights_hash(resumed) == weights_hash(whole)
    other = build(adaptation)
    tiny_trainer(tmp_path).test(other, datamodule=TinyData(), ckpt_path=last, weights_only=True, verbose=False)
    assert weights_hash(other) == weights_hash(whole)


@pytest.mark.parametrize(
    "adaptation",
    [TopGroups(1), Frozen(), LoRA(r=2, targets="all-linear")],
    ids=lambda adaptation: type(adaptation).__name__,
)
def test_other_frozen_weights_are_refused(adaptation: Adaptation, tmp_path: Path) -> None:
    last = fitted(tmp_path, build(adaptation), epochs=1)
    trainer = tiny_trainer(tmp_path)
    with pytest.raises(ValueError, match=r"beside the frozen weights of tiny \(hash \w{12}\), but this run's"):
        trainer.test(build(adaptation, seed=1), datamodule=TinyData(), ckpt_path=last, weights_only=True, verbose=False)
    if isinstance(adaptation, LoRA):  # whose layers have other names than those of the plain backbone
        with pytest.raises(ValueError, match="take the same pretrained weights and the same adaptation"):
            trainer.test(build(TopGroups(2)), datamodule=TinyData(), ckpt_path=last, weights_only=True, verbose=False)


@pytest.mark.parametrize("arguments", [{}, {"pretrained": "tiny", "weights": False}])
def test_weights_that_lie_nowhere_else_are_kept(arguments: dict[str, Any], tmp_path: Path) -> None:
    module = build(TopGroups(1))
    module.backbone.arguments = arguments
    last = fitted(tmp_path, module)
    other = build(TopGroups(1), seed=1)
    other.backbone.arguments = arguments
    tiny_trainer(tmp_path).test(other, datamodule=TinyData(), ckpt_path=last, weights_only=True, verbose=False)
    assert weights_hash(other) == weights_hash(module)


@pytest.mark.parametrize("adaptation", [Frozen(), LoRA(r=2, targets="all-linear")], ids=lambda v: type(v).__name__)
def test_a_precision_that_rounds_the_frozen_weights(adaptation: Adaptation, tmp_path: Path) -> None:
    kept = ResumableCheckpoint(dirpath=tmp_path)
    trainer = tiny_trainer(tmp_path, [kept], max_epochs=1, precision="bf16-true")
    trainer.fit(build(adaptation), datamodule=TinyData())
    for precision in ("bf16-true", "32-true"):
        again = tiny_trainer(tmp_path, precision=precision)
        last = str(tmp_path / "last.ckpt")
        again.test(build(adaptation), datamodule=TinyData(), ckpt_path=last, weights_only=True, verbose=False)


def test_a_lora_checkpoint_of_minilm_is_below_one_megabyte(tmp_path: Path) -> None:
    module = LoRAFineTune(HuggingFaceText(), num_classes=6)
    trainer = tiny_trainer(tmp_path, [ResumableCheckpoint(dirpath=tmp_path)])
    trainer.strategy.connect(module)
    module.trainer = trainer
    module.configure_model()
    trainer.fit_loop.epoch_loop.max_steps = 10
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad])
    module(module.backbone.example_inputs(2)).square().sum().backward()  # type: ignore[operator]
    optimizer.step()
    trainer.strategy.optimizers = [optimizer]
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert checkpoint["optimizer_states"][0]["state"]
    assert checkpoint["frozen"]["backbone"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert (tmp_path / "one.ckpt").stat().st_size < 1_000_000


def test_digest() -> None:
    weights = {"b": torch.arange(3.0), "a": torch.tensor(1, dtype=torch.int64), "c": torch.zeros(0)}
    same = tensor_digest(dict(reversed(weights.items())))
    assert tensor_digest(weights) == same and len(same) == 64
    for change in (
        {"b": torch.arange(3.0).view(3, 1)},
        {"b": torch.arange(3.0).double()},
        {"b": torch.tensor([0.0, 1.0, 2.0000002])},
        {"d": torch.zeros(1)},
    ):
        assert tensor_digest({**weights, **change}) != same
    assert tensor_digest({"x": torch.ones(2, dtype=torch.bfloat16)})
