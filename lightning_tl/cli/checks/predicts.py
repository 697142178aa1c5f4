"""Whether `predict` is for a run."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from lightning_tl.cli.errors import UserError
from lightning_tl.contracts.reported import ReportedModule

_OWN = ("forward", "predict_step")


def check_predicts(model: Any) -> None:
    """Refuse to predict by a module that answers nothing, as one that pretrains a backbone.

    Raises:
        UserError: naming what serves its runs.
    """
    kind = type(model).__name__
    if isinstance(model, ReportedModule):
        if not model.can_predict:
            other = model.next_command.format(run="RUN_FOLDER")
            raise UserError(f"predict is not for a run of {kind}; use {other}")
        return
    if all(getattr(type(model), name) is getattr(pl.LightningModule, name) for name in _OWN):
        raise UserError(
            f"predict is not for a run of {kind}, which answers nothing by itself: open what it trained in a recipe "
            "that does, with --model.backbone.pretrained=RUN_FOLDER/model"
        )
