"""`export`: a finished run as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_tl.cli.commands.built_two_tower import built_for_everything
from lightning_tl.cli.commands.export_options import ExportOptions
from lightning_tl.cli.commands.finished_run import FinishedRunCLI
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.program import program
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.summary import short_path
from lightning_tl.retrieval import TwoTower
from lightning_tl.serving.bundle.manifest import Manifest
from lightning_tl.training.transfer_module import TransferModule

if TYPE_CHECKING:
    from lightning_tl.bundling.validation_samples import RawSamples

_MEASURED = 1_000  # samples of validation, for what 8 bits cost


class ExportCLI(FinishedRunCLI):
    """Reads a run as `predict` does, builds model and data but no Trainer, and writes the bundle.

    Args:
        options: from `read_export_options`.
    """

    def __init__(self, options: ExportOptions) -> None:
        self.wanted = options
        super().__init__(options.run)

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        try:
            from lightning_tl.bundling import export_two_towers
        except ModuleNotFoundError as error:
            raise UserError(
                f'export needs {error.name}; install it with: python -m pip install "lightning-tl[export,serve]"'
            ) from None
        run, module = self.folder, self.model
        description, checkpoint = self.description(), self.checkpoint
        if isinstance(module, TwoTower):
            if self.wanted.int8:
                raise UserError(
                    "--int8 is for runs on images and texts: the user tower of two towers is small as it is"
                )
            data = built_for_everything(module, self.datamodule, checkpoint)
            print("writing the user tower, the users and the index, and comparing answers with torch's", flush=True)
            manifest = export_two_towers(
                module, data, description, run, self.wanted.output, checkpoint, self.wanted.pictures
            )
        elif isinstance(module, TransferModule):
            manifest = self._classifier(module, description, run, checkpoint)
        else:
            raise UserError(f"export is for runs on images, texts and logs; {run} trained a {type(module).__name__}")
        size = sum(path.stat().st_size for path in self.wanted.output.rglob("*") if path.is_file()) / 2**20
        folder = short_path(self.wanted.output)
        print(f"bundle      {folder} ({size:.1f} MiB, version {manifest.version[:12]})")
        if shown := manifest.card.get("pictures"):
            print(f"pictures    of {shown['items']:,} items, {shown['bytes'] / 2**20:.1f} MiB of it")
        if lost := manifest.card.get("int8"):
            print(
                f"int8        {lost['score']} {lost['int8']:.3f} instead of {lost['float32']:.3f} on "
                f"{lost['samples']:,} validation samples"
            )
        print(f"difference  {manifest.card['difference_to_torch']:.1g} at most to torch's answers")
        print(f"next        {program()} serve --bundle {folder}")

    def _classifier(self, module: TransferModule, description: RunDescription, run: Path, checkpoint: Path) -> Manifest:
        from lightning_tl.bundling import export_bundle, trained_module

        value_range = self.value_range()
        module = trained_module(module, description, checkpoint)
        samples = self._validation(module, description) if self.wanted.int8 else None
        print("writing the graph, and comparing its answers with torch's", flush=True)
        return export_bundle(
            module,
            description,
            run,
            self.wanted.output,
            value_range,
            self.temperature(description),
            checkpoint,
            samples,
        )

    def _validation(self, module: TransferModule, description: RunDescription) -> RawSamples:
        from lightning_tl.bundling.validation_samples import validation_samples

        try:
            return validation_samples(module, self.datamodule, description, _MEASURED)
        except (ValueError, OSError) as error:
            raise UserError(
                f"--int8 measures what it loses on the run's validation samples, and these cannot be read: {error}"
            ) from None
