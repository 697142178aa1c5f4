"""The parser of recipes and fields."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from lightning_tl.cli.errors import fail
from lightning_tl.cli.reading.explain import explain

_NONE = re.compile(r"--[\w.]+=None")


class RecipeParser(LightningArgumentParser):
    """Refuses abbreviated options, and answers a mistake with one line that names what comes nearest."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False  # else --trainer.max_epoch silently means max_epochs
        super().__init__(*args, **kwargs)

    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Also of a class within a class, whose null jsonargparse hands on as the word None."""
        if isinstance(args, list) and len(args) == 1 and not self.exit_on_error and _NONE.fullmatch(str(args[0])):
            args = [f"{str(args[0]).removesuffix('None')}null"]
        return super().parse_args(args, *more, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with one sentence in place of the usage."""
        if not self.exit_on_error:  # jsonargparse tries alternatives with parsers of its own, which must raise
            super().error(message, ex)
        fail(explain(getattr(ex, "subcommand_parser", None) or self, message))
