"""`embed`: the embeddings of a recipe's data, by its backbone or by a trained one."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from lightning_tl.cli.commands.embed_options import EmbedOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import is_first_process
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.embedding import Embedder, EmbeddingSettings, OutputFile, Ranks, backbone_of, load_trained_backbone
from lightning_tl.training.frozen_weights import backbone_name
from lightning_tl.training.transfer_module import TransferModule


class EmbedCLI(TransferCLI):
    """Reads recipe and fields as `predict` does, builds model and data but no Trainer, and embeds.

    Args:
        options: from `read_embed_options`.
    """

    def __init__(self, options: EmbedOptions) -> None:
        self.wanted = options
        self.settings = EmbeddingSettings(
            options.precision, options.batch_size, options.batch_tokens, options.save_every
        )
        self.output = OutputFile(options.output, options.overwrite)
        super().__init__(options.run)

    def before_instantiate_classes(self) -> None:
        """No more than this: pretrained weights do, and each process has one device."""
        self.leave_paths_of_another_class()

    def instantiate_classes(self) -> None:
        """Build model and data; there is no Trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.model = self.field(self.config_init, "model")
        self.datamodule = self.field(self.config_init, "data")
        if self.datamodule is None:
            raise UserError(f"the recipe {self.options.name} has no data to embed; name a data module with --data")
        if self.options.run is not None:
            self.read_for_the_run()

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        backbone = backbone_of(self.model)
        name = backbone_name(backbone)
        checkpoint = self.field(self.config, "ckpt_path")
        if checkpoint is not None:
            if not isinstance(self.model, TransferModule):
                raise UserError(
                    f"embed is not for a run of {type(self.model).__name__}, which pretrains: name a recipe with data "
                    "to embed and open what the run trained, with --model.backbone.pretrained=RUN_FOLDER/model"
                )
            load_trained_backbone(self.model, Path(checkpoint))
            name = f"{name} as trained in {self.options.run or checkpoint}"
        split = None if self.wanted.split == "all" else self.wanted.split
        accelerator = str(self.field(self.config, "trainer").accelerator)
        with Ranks() as ranks:
            embedder = Embedder(backbone, name, self.datamodule, split, self.settings, ranks, accelerator)  # type: ignore[arg-type]
            _hint_at_idle_gpus(embedder.device)
            embedder.write(self.output, self.wanted.overwrite)


def _hint_at_idle_gpus(device: torch.device) -> None:
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and gpus > 1 and int(os.environ.get("WORLD_SIZE", "1")) == 1 and is_first_process():
        script = program().rpartition(" ")[2] if program().endswith(".py") else "scripts/embed.py"
        print(f"using 1 of {gpus} GPUs; all of them: torchrun --nproc-per-node={gpus} {script} …", flush=True)
