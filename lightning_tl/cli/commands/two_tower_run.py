"""`TwoTowerCLI`: opens the run of a retrieval recipe, without a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lightning_tl.cli.commands.built_two_tower import built_for_everything, built_for_windows
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.retrieval import TwoTower

if TYPE_CHECKING:
    from datamodules import InteractionDataModule


class TwoTowerCLI(TransferCLI):
    """Reads a run as `predict` does, and builds model and data but no Trainer."""

    command: ClassVar[str]

    def instantiate_classes(self) -> None:
        """Build model and data; there is no Trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = (self.field(self.config_init, name) for name in ("model", "data"))

    def opened(self, everything: bool = True) -> tuple[TwoTower, InteractionDataModule, Path]:
        """The model with its trained weights, its data, and the folder of the run.

        Args:
            everything: all events are known, and none are kept for a validation or test.
        """
        module, run = self.model, self.options.run
        if not isinstance(module, TwoTower) or run is None:
            raise UserError(
                f"{self.command} needs the run of a retrieval recipe; {run} trained a {type(module).__name__}"
            )
        checkpoint = Path(str(self.field(self.config, "ckpt_path")))
        build = built_for_everything if everything else built_for_windows
        return module, build(module, self.datamodule, checkpoint), run
