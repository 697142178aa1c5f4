"""`trained_module`: the module of a finished run with its weights, without its data."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.callbacks import SafeCheckpointIO
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import OneLabel, PixelLabels, SeveralLabels, Task, Values
from lightning_tl.training.transfer_module import TransferModule


def trained_module(
    module: TransferModule, description: RunDescription, checkpoint: Path, dense: bool = False
) -> TransferModule:
    """A new module with task, classes and weights of a run, in evaluation mode on the CPU.

    Args:
        module: as the run's recipe builds it.
        description: of the run.
        checkpoint: of the run.
        dense: whether a model that labels pixels will do, too.

    Raises:
        ValueError: the run says nothing of its outputs, or the checkpoint is of another model.
    """
    if not description.class_names:
        raise ValueError("the run does not say what its outputs are (run.json has no class_names): train it again")
    module.task = PixelLabels() if dense and description.task == PixelLabels.name else _task(description)
    module.class_names, module.num_classes = description.class_names, len(description.class_names)
    if (spec := description.image_spec) is not None:
        module.backbone.take_input(spec)
    module.configure_model()
    loaded = SafeCheckpointIO().load_checkpoint(checkpoint)
    module.on_load_checkpoint(loaded)
    module.load_state_dict(loaded["state_dict"])
    return module.eval()


def _task(description: RunDescription) -> Task:
    if description.task == "one label":
        return OneLabel()
    if description.task == "several labels":
        return SeveralLabels()
    if description.task == "values":
        if not {"mean", "std"} <= description.targets.keys():
            raise ValueError("the run does not say the scale of its values (run.json has no targets): train it again")
        return Values(description.targets["mean"], description.targets["std"])
    if description.task == PixelLabels.name:
        raise ValueError(
            "the run labels pixels, which bundles, their services and predict --output do not: predict --run writes "
            "masks, and the run's folder model is read by lightning_tl.backbones.load_exported"
        )
    raise ValueError(
        f"the run's task is {description.task or 'not known'}; a bundle's is one label, several labels or values "
        "a sample"
    )
