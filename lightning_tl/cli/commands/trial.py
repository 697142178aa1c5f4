"""`trial`: a run of a sweep whose pruner may end it early; started by `sweep`, not by people."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.callbacks import Callback

from lightning_tl.choosing.sweep.prune_trial import PruneTrial, TrialPlace
from lightning_tl.cli.options import read_options
from lightning_tl.cli.transfer_cli import TransferCLI


class TrialCLI(TransferCLI):
    """What `fit` does, with a callback that tells the sweep of each epoch.

    Args:
        arguments: the trial's place as text, and the command line of the run.
        started: when the command began, in seconds since 1970.
    """

    def __init__(self, arguments: Sequence[str], started: float) -> None:
        self.prune = PruneTrial(TrialPlace.from_text(arguments[0]))
        super().__init__(read_options(arguments[1:]), started)

    def callbacks(self) -> list[Callback]:
        """The recipe's, and the sweep's."""
        return [*super().callbacks(), self.prune]
