"""`Rebuildable`: a module around one backbone that can be loaded from its checkpoint alone."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from lightning_tl.backbones.base import Backbone
from lightning_tl.training.built_from import arguments_of, given_arguments, note_building


class Rebuildable(pl.LightningModule):
    """Notes in checkpoints with which arguments it was built, and keeps its backbone's names when that is compiled."""

    num_classes: int | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__new__(cls)
        if args or kwargs:  # else a copy is being made
            object.__setattr__(module, "_given", given_arguments(cls, args, kwargs))
        return module

    def __setattr__(self, name: str, value: Any) -> None:
        # torch.compile(module.backbone), assigned back: compiled in place, so that names and groups stay as they are.
        super().__setattr__(name, compiled_in_place(value))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        note_building(checkpoint, getattr(self, "_given", {}), num_classes=self.num_classes)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As Lightning's; what is not given is built as it was, where the checkpoint can say how.

        Raises:
            ValueError: naming the arguments that have to be given.
        """
        built = arguments_of(checkpoint_path, kwargs, cls.__name__)
        return super().load_from_checkpoint(checkpoint_path, *args, **built)


def compiled_in_place(value: Any) -> Any:
    """For a backbone that `torch.compile` has wrapped, the backbone itself, compiled; anything else as it is."""
    inner = getattr(value, "_orig_mod", None)
    if not isinstance(inner, Backbone):
        return value
    inner._compiled_call_impl = value.dynamo_ctx(inner._call_impl)  # as `nn.Module.compile` does
    return inner
