"""`RunDescriptionWriter`: writes `run.json` when training starts."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_tl.callbacks.run_folder_report import only_trying, run_folder
from lightning_tl.contracts.run_description import (
    DescribedData,
    DescribedModule,
    RunDescription,
    input_fields,
)
from lightning_tl.version import versions


class RunDescriptionWriter(Callback):
    """Writes the account of a run, once its data and its model are built and before anything is trained.

    A run that goes on keeps its first description, but for the samples where these have changed meanwhile.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `run.json`, now that model and data know each other."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or only_trying(trainer):
            return
        first, now = RunDescription.read(folder), describe_run(pl_module, getattr(trainer, "datamodule", None))
        if first is None:
            now.write(folder)
        elif first.splits and now.splits != first.splits:
            again = dataclasses.replace(first, splits=now.splits, dropped=now.dropped, cut=now.cut, data=now.data)
            again.write(folder)


def describe_run(module: pl.LightningModule, data: Any) -> RunDescription:
    """What is known of a run whose data and model are built."""
    told: dict[str, Any] = data.describe() if isinstance(data, DescribedData) else {}
    backbone = getattr(module, "backbone", None)
    frozen = {"weights": getattr(backbone, "arguments", {}).get("pretrained")} if backbone is not None else {}
    if (digest := getattr(module, "frozen_digest", None)) is not None:
        frozen["frozen_sha256"] = digest
    return RunDescription(
        **{
            **(module.describe() if isinstance(module, DescribedModule) else {}),
            **told,
            "input": told.get("input") or input_fields(getattr(backbone, "input_spec", None)),
            "model": {"class": f"{type(module).__module__}.{type(module).__qualname__}", **frozen},
            "versions": versions(),
        }
    )
