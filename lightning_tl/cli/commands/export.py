"""`export`: a finished run as a bundle."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.cli.commands.built_two_tower import built_for_everything
from lightning_tl.cli.commands.export_options import ExportOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.program import program
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.summary import short_path
from lightning_tl.retrieval import TwoTower
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.training.transfer_module import TransferModule


class ExportCLI(TransferCLI):
    """Reads a run as `predict` does, builds model and data but no Trainer, and writes the bundle.

    Args:
        options: from `read_export_options`.
    """

    def __init__(self, options: ExportOptions) -> None:
        self.wanted = options
        super().__init__(options.run)

    def instantiate_classes(self) -> None:
        """Build model and data; there is no Trainer, and the data are not read."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = (self.field(self.config_init, name) for name in ("model", "data"))

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        try:
            from lightning_tl.bundling import export_two_towers
        except ModuleNotFoundError as error:
            raise UserError(
                f'export needs {error.name}; install it with: python -m pip install "lightning-tl[export,serve]"'
            ) from None
        run, module = self.options.run, self.model
        assert run is not None, "export has a run"
        description = RunDescription.read(run)
        if description is None:
            raise UserError(f"{run} does not say what its model reads (it has no run.json): train it again")
        checkpoint = Path(str(self.field(self.config, "ckpt_path")))
        if isinstance(module, TwoTower):
            data = built_for_everything(module, self.datamodule, checkpoint)
            print("writing the user tower, the users and the index, and comparing answers with torch's", flush=True)
            manifest = export_two_towers(module, data, description, run, self.wanted.output, checkpoint)
        elif isinstance(module, TransferModule):
            manifest = self._classifier(module, description, run, checkpoint)
        else:
            raise UserError(f"export is for runs on images, texts and logs; {run} trained a {type(module).__name__}")
        size = sum(path.stat().st_size for path in self.wanted.output.rglob("*") if path.is_file()) / 2**20
        folder = short_path(self.wanted.output)
        print(f"bundle      {folder} ({size:.1f} MiB, version {manifest.version[:12]})")
        print(f"difference  {manifest.card['difference_to_torch']:.1g} at most to torch's answers")
        print(f"next        {program()} serve --bundle {folder}")

    def _classifier(self, module: TransferModule, description: RunDescription, run: Path, checkpoint: Path) -> Manifest:
        from lightning_tl.bundling import export_bundle, trained_module

        kept = description.calibration
        temperature = (
            float(kept["temperature"]) if kept.get("checkpoint") == checkpoint.name and "temperature" in kept else None
        )
        own = getattr(type(self.datamodule), "read_image", None)
        if own is not None and not own.__module__.startswith("datamodules."):
            raise UserError(
                f"{own.__qualname__} reads images in a way of its own, and a bundle reads image files: answer with "
                f"{program()} predict --run {short_path(run)}"
            )
        print("writing the graph, and comparing its answers with torch's", flush=True)
        return export_bundle(
            trained_module(module, description, checkpoint),
            description,
            run,
            self.wanted.output,
            getattr(getattr(self.datamodule, "values", None), "value_range", None),
            temperature,
            checkpoint,
        )
