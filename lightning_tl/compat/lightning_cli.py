"""`SubcommandCLI`: LightningCLI with public hooks in the place of private ones."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI


class SubcommandCLI(LightningCLI):
    """What a command line of ours asks of LightningCLI, or decides in its place; seen in lightning 2.6.6.

    Lightning's documentation names methods to override before and after a subcommand alone, not in its place.
    """

    asked: str | None = None
    """The subcommand whose fields are read; None for all, which takes as long for each of them."""

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # a static method there
        """The subcommand that was asked for, and what of its method's arguments are no fields."""
        known = LightningCLI.subcommands()
        return known if self.asked is None else {self.asked: known[self.asked]}

    def field(self, config: Any, name: str) -> Any:
        """The value of a field, under the subcommand where there is one; None where it is not there.

        `_get`: which of the two levels holds the fields is known there.
        """
        return self._get(config, name)

    def parser_of(self, subcommand: str | None) -> LightningArgumentParser:
        """The parser of a subcommand.

        `_parser`: `self.parser` is that of all of them, without their fields.
        """
        return self._parser(subcommand)

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand that was chosen; override it to do so otherwise.

        `_run_subcommand`: LightningCLI calls it at the end of its constructor, and no public hook there.
        """
        super()._run_subcommand(subcommand)

    def subcommand_arguments(self, subcommand: str) -> dict[str, Any]:
        """What the Trainer's method of the subcommand's name is called with; override it to change that.

        `_prepare_subcommand_kwargs`: fields of the command line alone reach the method otherwise.
        """
        return super()._prepare_subcommand_kwargs(subcommand)

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_subcommand(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return self.subcommand_arguments(subcommand)

    def _parse_ckpt_path(self) -> None:
        """Nothing: by Lightning's rule a checkpoint's hyperparameters would beat what the user types."""
