"""The resolved configuration of a run, as a file that is a recipe itself."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from lightning_tl.cli.program import program
from lightning_tl.cli.reading.lasting_paths import with_lasting_paths
from lightning_tl.reports import CsvMetrics
from lightning_tl.reports.attempt import attempt

ONLY_THIS_START = ("ckpt_path", "weights_only", "config")
"""Fields that belong to one start of a run, not to the run."""


class SaveRunConfig(SaveConfigCallback):
    """Writes `config.yaml` into the run folder when training starts, and hands its fields to the user's loggers.

    A resumed run keeps the file that it has until its checkpoint was accepted: fields that it refuses must not stand in
    the way of the next resume.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "save_to_log_dir": False})
        self._waits = False

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write `config.yaml`, and hand its fields to the user's loggers; of a resumed run later."""
        there = (Path(trainer.default_root_dir) / "config.yaml").exists()
        self._waits = there and stage == "fit"
        if not there:
            self._write(trainer, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The checkpoint has been read, and the module has taken it."""
        if self._waits:
            self._write(trainer, "fit")
            self._waits = False

    def _write(self, trainer: pl.Trainer, stage: str) -> None:
        path = Path(trainer.default_root_dir) / "config.yaml"
        fields = yaml.safe_load(self.parser.dump(self.config, skip_unset=False, format="yaml"))
        for name in ONLY_THIS_START:
            fields.pop(name, None)
        fields["trainer"]["default_root_dir"] = None  # run again from this file, it makes a folder of its own
        fields = with_lasting_paths(fields)  # a run can be opened from any folder
        if (checkpoint := fields.get("checkpoint")) and checkpoint.get("dirpath"):
            checkpoint["dirpath"] = str(Path(checkpoint["dirpath"]).expanduser().resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
        header = f"# Every field of this run. Run it again: {program()} fit --recipe THIS_FILE\n"
        path.write_text(header + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")
        for logger in trainer.loggers if stage == "fit" else ():
            if not isinstance(logger, CsvMetrics | WandbLogger):  # which have the file
                name = type(logger).__name__
                attempt(f"the configuration in {name}", partial(logger.log_hyperparams, copy.deepcopy(fields)))


def saved_fields(run: Path) -> dict[str, Any]:
    """The configuration in a run folder."""
    fields: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return fields
