"""What is told of progressive unfreezing before training starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning_utilities.core.rank_zero import rank_zero_warn

from lightning_tl.callbacks.discriminative_learning_rates import DiscriminativeLearningRates
from lightning_tl.callbacks.phase_boundary import early_stops
from lightning_tl.callbacks.unfreezing.phase_trigger import Milestones
from lightning_tl.contracts.notice import Notice
from lightning_tl.training.trained_module import TrainedModule

if TYPE_CHECKING:
    from lightning_tl.callbacks.unfreezing.progressive_unfreezing import ProgressiveUnfreezing


def check_alone(unfreezing: ProgressiveUnfreezing, module: TrainedModule, callbacks: Iterable[Callback]) -> None:
    """Raise ValueError where something else thaws the same groups, or sets the same rates."""
    others = [callback for callback in callbacks if callback is not unfreezing]
    if any(isinstance(callback, type(unfreezing)) for callback in others):
        raise ValueError("two ProgressiveUnfreezing would thaw the same groups; leave one of them out")
    scaled = any(isinstance(callback, DiscriminativeLearningRates) for callback in others) or module.layer_decay != 1
    if unfreezing.decay is not None and scaled:
        raise ValueError(
            f"ProgressiveUnfreezing(decay={unfreezing.decay}) sets the rates of all groups, and so does "
            "DiscriminativeLearningRates or the module's layer_decay; leave one of them out"
        )


def check_something_thaws(module: TrainedModule, backbone: list[str]) -> None:
    """Raise ValueError where the adaptation trains the head alone.

    Args:
        module: whose adaptation is named.
        backbone: the groups of the backbone that may train.
    """
    if not backbone:
        kinds = dict.fromkeys(f"the adaptation {type(tower.adaptation).__name__}" for tower in module.towers())
        what = " and ".join(kinds) or "the model"
        raise ValueError(
            f"there is nothing to unfreeze: {what} trains only the head; use Full or TopGroups, or leave it out"
        )


def check_lengths(unfreezing: ProgressiveUnfreezing, trainer: pl.Trainer, backbone: list[str]) -> None:
    """Raise ValueError for more milestones than phases; warn where the run is too short to thaw everything.

    Args:
        unfreezing: whose phases are checked.
        trainer: whose epochs or steps they must fit into.
        backbone: the groups of the backbone that may train, from input to output.
    """
    trigger, each = unfreezing.trigger, unfreezing.groups_per_phase
    if isinstance(trigger, Milestones):
        needed = -(-len(backbone) // each)
        if len(trigger.milestones) > needed:
            raise ValueError(
                f"milestones {trigger.milestones} start {len(trigger.milestones)} further phases, but "
                f"there are only {needed} with groups_per_phase={each} "
                f"(groups: {', '.join(backbone)})"
            )
    if early_stops(trainer):
        return  # phases may be shorter
    epochs = trainer.max_epochs
    changes = trigger.changes_before(epochs) if epochs is not None and epochs > 0 else None
    if changes is not None and changes * each < len(backbone):
        frozen = [name for name in backbone if name not in unfreezing.groups_in(changes)]
        rank_zero_warn(
            f"with max_epochs={epochs}, {len(frozen)} of the backbone's {len(backbone)} groups never train "
            f"({', '.join(frozen)}); train longer, raise groups_per_phase, or use TopGroups if that is meant",
            category=Notice,
        )
