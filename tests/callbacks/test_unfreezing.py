"""Progressive unfreezing in one process: what trains when, and that nothing else moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from tiny import TinyData, TinyImages, tiny_module, tiny_trainer
from torch import Tensor, nn

from lightning_tl.adaptation import Frozen, TopGroups
from lightning_tl.adaptation.base import Adaptation
from lightning_tl.backbones.base import Backbone
from lightning_tl.callbacks import DiscriminativeLearningRates, ProgressiveUnfreezing, ResumableCheckpoint
from lightning_tl.training.transfer_module import TransferModule

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*groups never train"),  # runs here are short on purpose
    pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of"),
]

ORDER = ["embeddings", "block.0", "block.1", "head"]


class Recorder(Callback):
    """Copies of the weights before and after each epoch, and what trained in it."""

    def __init__(self) -> None:
        self.before: list[dict[str, Tensor]] = []
        self.after: list[dict[str, Tensor]] = []
        self.groups: list[list[str]] = []
        self.losses: list[float] = []
        self.frozen_gradients = 0

    @staticmethod
    def copy(module: nn.Module) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in module.state_dict().items()}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TransferModule)
        self.before.append(self.copy(pl_module))
        self.groups.append(pl_module.trainable_groups)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        for parameter in pl_module.parameters():
            self.frozen_gradients += not parameter.requires_grad and parameter.grad is not None
            assert not parameter.requires_grad or parameter.grad is not None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.after.append(self.copy(pl_module))
        self.losses.append(float(trainer.callback_metrics["val_loss"]))

    def changed(self, epoch: int, module: TransferModule) -> set[str]:
        """Groups of which some bit of a parameter changed in an epoch."""
        moved = self._moved(epoch)
        return {group.name for group in module.layer_groups() if group.parameter_names & moved}

    def changed_statistics(self, epoch: int) -> set[str]:
        """Blocks of which BatchNorm's running statistics changed in an epoch."""
        return {f"block.{name.split('.')[2]}" for name in self._moved(epoch) if "running" in name}

    def _moved(self, epoch: int) -> set[str]:
        after = self.after[epoch]
        return {name for name, value in self.before[epoch].items() if not torch.equal(value, after[name])}


def fit(
    folder: Path,
    unfreezing: ProgressiveUnfreezing,
    *more: Callback,
    module: dict[str, Any] | None = None,
    **trainer: Any,
) -> tuple[TransferModule, Recorder, pl.Trainer]:
    recorder, model = Recorder(), tiny_module(**(module or {}))
    run = tiny_trainer(folder, [unfreezing, *more, recorder], **trainer)
    run.fit(model, datamodule=TinyData())
    return model, recorder, run


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [ORDER[3:], ORDER[2:], ORDER[1:], ORDER]),
        ({"epochs_per_phase": 2}, [ORDER[3:], ORDER[3:], ORDER[2:], ORDER[2:], ORDER[1:]]),
        ({"groups_per_phase": 2}, [ORDER[3:], ORDER[1:], ORDER, ORDER]),
        ({"milestones": [1, 4]}, [ORDER[3:], ORDER[2:], ORDER[2:], ORDER[2:], ORDER[1:], ORDER[1:]]),
        # The first epoch of a phase sets the mark, the second cannot beat it by 100.
        ({"monitor": "val_loss", "patience": 1, "min_delta": 100.0}, [ORDER[3:]] * 2 + [ORDER[2:]] * 2 + [ORDER[1:]]),
    ],
)
def test_thaws_from_the_last_group_to_the_first(
    options: dict[str, Any], expected: list[list[str]], tmp_path: Path
) -> None:
    unfreezing = ProgressiveUnfreezing(**options)
    module, recorder, _ = fit(tmp_path, unfreezing, max_epochs=len(expected))
    assert recorder.groups == expected
    assert recorder.frozen_gradients == 0
    for epoch, groups in enumerate(expected):
        assert recorder.changed(epoch, module) == set(groups), f"epoch {epoch}"
        assert recorder.changed_statistics(epoch) == {g for g in groups if g.startswith("block")}
    starts = [epoch for epoch in range(len(expected)) if epoch == 0 or expected[epoch] != expected[epoch - 1]]
    assert [(e["epoch"], e["step"]) for e in unfreezing.history] == [(epoch, 7 * epoch) for epoch in starts]


def test_frozen_batch_norm_may_follow_the_data(tmp_path: Path) -> None:
    module, recorder, _ = fit(tmp_path, ProgressiveUnfreezing(adapt_batch_norm=True, epochs_per_phase=9), max_epochs=2)
    assert recorder.changed(0, module) == {"head"}, "weights of frozen groups stay"
    assert recorder.changed_statistics(0) == {"block.0", "block.1"}
    assert not module.backbone.blocks[0][3].training, "dropout of frozen groups is off"  # type: ignore[index]
    assert module.backbone.blocks[0][1].training  # type: ignore[index]


@pytest.mark.parametrize(
    "trainer", [{"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.5}]
)
def test_with_trainer_options(trainer: dict[str, Any], tmp_path: Path) -> None:
    module, recorder, _ = fit(tmp_path, ProgressiveUnfreezing(warmup_steps=2), **trainer)
    assert [recorder.changed(epoch, module) for epoch in range(4)] == [set(ORDER[3 - e :]) for e in range(4)]
    assert recorder.frozen_gradients == 0


def test_first_step_after_a_thaw_has_the_gradients_of_all_its_batches(tmp_path: Path) -> None:
    """Accumulated by Lightning over two batches of 8 of the new phase, and by hand over the same 16 samples."""
    seen: list[dict[str, Any]] = []
    got: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}

    class Spy(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1 and batch_idx < 2:
                weights.update(Recorder.copy(pl_module) if batch_idx == 0 else {})
                seen.append(batch)

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            if trainer.current_epoch == 1 and not got:
                got.update({n: p.grad.clone() for n, p in pl_module.named_parameters() if p.grad is not None})

    unfreezing = ProgressiveUnfreezing(groups_per_phase=3)
    module, _, _ = fit(tmp_path, unfreezing, Spy(), accumulate_grad_batches=2, max_epochs=2, module={"blocks": 0})
    module.load_state_dict(weights)
    module.zero_grad()
    for batch in seen:
        (nn.functional.cross_entropy(module(batch["inputs"]), batch["target"]) / 2).backward()
    expected = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys() and len(got) == 5
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name])


def test_early_stopping_ends_phases_and_then_the_training(tmp_path: Path) -> None:
    never_better = EarlyStopping("val_loss", patience=1, min_delta=100.0)
    unfreezing = ProgressiveUnfreezing(epochs_per_phase=50)
    _, recorder, trainer = fit(tmp_path, unfreezing, never_better, max_epochs=20)
    # Epoch 0 sets the mark; each further epoch uses up a patience of 1.
    assert recorder.groups == [ORDER[3:], ORDER[3:], ORDER[2:], ORDER[1:], ORDER]
    assert trainer.should_stop and len(unfreezing.history) == 4
    assert all("early stopping" in entry["reason"] for entry in unfreezing.history[1:])


def test_early_stopping_for_another_reason_ends_the_training(tmp_path: Path) -> None:
    reached = EarlyStopping("val_loss", stopping_threshold=100.0)
    _, recorder, _ = fit(tmp_path, ProgressiveUnfreezing(epochs_per_phase=50), reached, max_epochs=5)
    assert recorder.groups == [ORDER[3:]]


def test_returns_to_the_best_weights_of_a_phase(tmp_path: Path) -> None:
    unfreezing = ProgressiveUnfreezing(monitor="val_loss", patience=2, restore_best=True)
    # A rate at which the loss goes up and down.
    _, recorder, _ = fit(tmp_path, unfreezing, module={"lr": 2.0, "backbone_lr": 0.5}, max_epochs=12)
    assert len(unfreezing.history) > 1
    differed = False
    for entry, following in zip(unfreezing.history, unfreezing.history[1:], strict=False):
        epochs = range(entry["epoch"], following["epoch"])
        best = min(epochs, key=lambda epoch: recorder.losses[epoch])
        for name, value in recorder.before[following["epoch"]].items():
            assert torch.equal(value, recorder.after[best][name]), name
        differed |= best != epochs[-1]
    assert differed, "some phase ended after its best epoch"


class EveryOtherParameter(Adaptation):
    """As an adapter would: only some parameters of a group may train."""

    def apply(self, backbone: Backbone) -> None:
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_("weight" in name)


def test_goes_only_where_the_adaptation_lets_it(tmp_path: Path) -> None:
    module, recorder, _ = fit(tmp_path, ProgressiveUnfreezing(), module={"adaptation": TopGroups(1)})
    assert recorder.groups == [ORDER[3:], ORDER[2:], ORDER[2:], ORDER[2:]]
    module, recorder, _ = fit(tmp_path, ProgressiveUnfreezing(), module={"adaptation": EveryOtherParameter()})
    assert recorder.groups[3] == ORDER
    start, end = recorder.before[0], recorder.after[-1]
    moved = {name for name, _ in module.named_parameters() if not torch.equal(start[name], end[name])}
    names = {name for name, _ in module.named_parameters()}
    assert moved == {name for name in names if "weight" in name or name.startswith("head")}


def test_a_backbone_that_arrives_in_evaluation_mode_trains_with_its_dropout(tmp_path: Path) -> None:
    module = tiny_module()
    module.backbone.eval()  # as from_pretrained leaves it
    modes: list[bool] = []

    class Spy(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            modes.append(pl_module.backbone.blocks[0][3].training)

    tiny_trainer(tmp_path, [Spy()], max_epochs=2).fit(module, datamodule=TinyData())
    assert all(modes)


def test_vision_transformer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from lightning_tl.backbones import HuggingFaceVision

    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=4, patch_size=2
    )
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    module = TransferModule(HuggingFaceVision(str(tmp_path / "vit")), lr=0.05)
    recorder, unfreezing = Recorder(), ProgressiveUnfreezing(decay=0.5)
    tiny_trainer(tmp_path, [unfreezing, recorder], max_epochs=4).fit(module, datamodule=TinyData())
    names = [group.name for group in module.layer_groups()]
    for epoch in range(4):
        assert recorder.changed(epoch, module) == set(names[len(names) - 1 - epoch :])


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs_per_phase": 0}, "epochs_per_phase must be at least 1, got 0"),
        ({"epochs_per_phase": 1, "monitor": "val_loss"}, "epochs_per_phase and monitor both say when a phase ends"),
        ({"milestones": []}, "milestones must be epochs from 1 on in rising order, got []"),
        ({"milestones": [0, 2]}, "got [0, 2]"),
        ({"milestones": [3, 3]}, "got [3, 3]"),
        ({"groups_per_phase": 0}, "groups_per_phase must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"decay": 1.3}, "decay must be in (0, 1], got 1.3"),
        ({"decay": 0.0}, "decay must be in (0, 1], got 0.0"),
        ({"restore_best": True}, "restore_best needs a metric"),
        ({"monitor": "val_loss", "mode": "best"}, "mode must be min or max, got 'best'"),
        ({"monitor": "val_loss", "patience": 0}, "patience must be at least 1, got 0"),
        ({"monitor": "val_loss", "min_delta": -0.1}, "min_delta must not be negative, got -0.1"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ProgressiveUnfreezing(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "more", "module", "message"),
    [
        ({"milestones": [1, 2, 3, 4]}, [], {}, "start 4 further phases, but there are only 3"),
        ({"monitor": "val_los"}, [], {}, "'val_los', which is not logged; did you mean 'val_loss'?"),
        ({"decay": 0.5}, [DiscriminativeLearningRates()], {}, "leave one of them out"),
        ({"decay": 0.5}, [], {"layer_decay": 0.9}, "leave one of them out"),
        ({}, [], {"adaptation": Frozen()}, "there is nothing to unfreeze: the adaptation Frozen"),
    ],
)
def test_bad_settings(
    options: dict[str, Any], more: list[Callback], module: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        fit(tmp_path, ProgressiveUnfreezing(**options), *more, module=module)
    assert message in str(caught.value)


def test_resuming_with_other_settings_is_an_error(tmp_path: Path) -> None:
    fit(tmp_path, ProgressiveUnfreezing(), ResumableCheckpoint(), max_epochs=3)
    trainer = tiny_trainer(tmp_path, [ProgressiveUnfreezing(groups_per_phase=2)], max_epochs=4)
    with pytest.raises(ValueError, match="resume with the settings of the run that wrote it"):
        trainer.fit(tiny_module(), datamodule=TinyData(), ckpt_path=str(tmp_path / "checkpoints/last.ckpt"))


def test_warns_when_the_run_is_too_short(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"2 of the backbone's 3 groups never train \(embeddings, block.0\)"):
        fit(tmp_path, ProgressiveUnfreezing(), max_epochs=2)


def test_other_modules_are_refused(tmp_path: Path) -> None:
    class Plain(pl.LightningModule):
        def training_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> None: ...

    loader = torch.utils.data.DataLoader(TinyImages(8))
    with pytest.raises(
        TypeError,
        match=r"ProgressiveUnfreezing needs a module with layer groups, such as .*TransferModule, got Plain",
    ):
        tiny_trainer(tmp_path, [ProgressiveUnfreezing()]).fit(Plain(), loader)
