"""`FinishedRunCLI`: opens a run on images, texts or a log to make something that answers, without a Trainer."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.cli.errors import UserError
from lightning_tl.cli.program import program
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.summary import short_path


class FinishedRunCLI(TransferCLI):
    """Reads a run as `predict` does, and builds model and data but no Trainer; the data are not read."""

    def instantiate_classes(self) -> None:
        """Build model and data."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = (self.field(self.config_init, name) for name in ("model", "data"))

    @property
    def folder(self) -> Path:
        """Of the run."""
        assert self.options.run is not None, "the command has a run"
        return self.options.run

    @property
    def checkpoint(self) -> Path:
        """With the weights."""
        return Path(str(self.field(self.config, "ckpt_path")))

    def description(self) -> RunDescription:
        """What the run noted.

        Raises:
            UserError: it noted nothing.
        """
        found = RunDescription.read(self.folder)
        if found is None:
            raise UserError(f"{self.folder} does not say what its model reads (it has no run.json): train it again")
        return found

    def temperature(self, description: RunDescription) -> float | None:
        """By which the logits of these weights are divided."""
        kept = description.calibration
        fits = kept.get("checkpoint") == self.checkpoint.name and "temperature" in kept
        return float(kept["temperature"]) if fits else None

    def value_range(self) -> tuple[float, float] | None:
        """Of pixels.

        Raises:
            UserError: the run's images are read in a way of its own.
        """
        own = getattr(type(self.datamodule), "read_image", None)
        if own is not None and not own.__module__.startswith("datamodules."):
            raise UserError(
                f"{own.__qualname__} reads images in a way of its own, and a bundle reads image files: answer with "
                f"{program()} predict --run {short_path(self.folder)}"
            )
        return getattr(getattr(self.datamodule, "values", None), "value_range", None)
