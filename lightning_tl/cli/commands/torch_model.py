"""`torch_model`: what answers for a run of which no graph can be written."""

from __future__ import annotations

from pathlib import Path

import torch

from lightning_tl.bundling.reads_of import reads_of
from lightning_tl.bundling.torch_predictor import TorchPredictor
from lightning_tl.bundling.torch_recommender import torch_recommender
from lightning_tl.bundling.trained_module import trained_module
from lightning_tl.cli.commands.built_two_tower import built_for_everything
from lightning_tl.cli.commands.finished_run import FinishedRunCLI
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options, read_options
from lightning_tl.retrieval import TwoTower
from lightning_tl.serving.answering import PredictingModel, RecommendingModel
from lightning_tl.training.transfer_module import TransferModule


class TorchModelCLI(FinishedRunCLI):
    """Opens a run as what `serve` asks.

    Args:
        options: of the run.
        why: no graph answers.
    """

    served: PredictingModel | RecommendingModel

    def __init__(self, options: Options, why: str) -> None:
        self.why = why
        super().__init__(options)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        module = self.model
        if isinstance(module, TwoTower):
            data, own = built_for_everything(module, self.datamodule, self.checkpoint), self.description()
            self.served = torch_recommender(module, data, own, self.folder, self.checkpoint, self.why)
            return
        if not isinstance(module, TransferModule):
            raise UserError(f"{self.folder} trained a {type(module).__name__}, which has no answers to be served")
        description = self.description()
        reads = reads_of(module, description, self.value_range())
        module = trained_module(module, description, self.checkpoint)
        self.served = TorchPredictor(
            module, description, self.folder, reads, self.temperature(description), self.checkpoint, self.why
        )


def torch_model(run: Path, threads: int, why: str) -> PredictingModel | RecommendingModel:
    """The model of a run, computed by torch.

    Args:
        run: its folder.
        threads: of one answer.
        why: no graph answers.

    Raises:
        ValueError, OSError: the run cannot be opened, or gives nothing that can be served.
    """
    torch.set_num_threads(threads)
    return TorchModelCLI(read_options(["predict", f"--run={run}"]), why).served
