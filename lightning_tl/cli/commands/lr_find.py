"""`lr_find`: learning rates for a recipe, by a range test."""

from __future__ import annotations

import json
import shlex
import tempfile
import warnings
from typing import Any

import lightning.pytorch as pl

from lightning_tl.choosing.rates.growing import FEWEST, Growing
from lightning_tl.choosing.rates.picture import draw_curve
from lightning_tl.choosing.rates.range_test import RangeTest
from lightning_tl.choosing.rates.rate_fields import multiplied, rate_fields
from lightning_tl.cli.commands.lr_find_options import LrFindOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.program import program
from lightning_tl.cli.run_folder import is_first_process
from lightning_tl.cli.transfer_cli import TransferCLI
from lightning_tl.compat.lightning_cli import SubcommandCLI
from lightning_tl.reports.summary import short_path
from lightning_tl.storage.partial_file import write_whole

_SETTINGS = {
    "logger": False,
    "max_epochs": 1,
    "max_steps": -1,
    "max_time": None,
    "fast_dev_run": False,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "val_check_interval": None,
    "check_val_every_n_epoch": 1,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class LrFindCLI(TransferCLI):
    """Reads recipe and fields as `fit` does, and trains for a few steps whose rates grow; there is no run folder.

    Args:
        wanted: from `read_lr_find_options`.
    """

    def __init__(self, wanted: LrFindOptions) -> None:
        self.wanted = wanted
        self.test = RangeTest(Growing(wanted.low, wanted.high, wanted.steps))
        warnings.filterwarnings("ignore", ".*groups never train")  # in this one epoch, but they will
        with tempfile.TemporaryDirectory() as scratch:
            self.scratch = scratch
            super().__init__(wanted.options)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """One epoch without validation, checkpoints and reports."""
        settings = self.field(self.config_init, "trainer")
        keys = self.parser_of(self.subcommand).callback_keys
        if "checkpoint" in keys:
            keys.remove("checkpoint")
        self.save_config_callback = None
        named = [self.field(self.config_init, name) for name in ("unfreezing", "learning_rates")]
        own = {
            "callbacks": [*(callback for callback in named if callback is not None), self.test],
            "plugins": settings.plugins,
            "default_root_dir": self.scratch,
        }
        try:
            return SubcommandCLI.instantiate_trainer(self, **_SETTINGS, **own)
        except (ValueError, TypeError) as error:
            raise UserError(f"trainer: {error}") from error

    def run_subcommand(self, subcommand: str) -> None:
        """See the class."""
        said = ""
        try:
            self.trainer.fit(self.model, datamodule=self.datamodule)
        except FloatingPointError as error:
            said = str(error)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):
                raise SystemExit(130) from None
            raise
        done = len(self.test.curve.losses)
        if done < FEWEST:
            factor = self.test.growing.factor(max(0, done - (not said)))
            raise UserError(
                f"the loss ran away after {done} steps already, with the rates times {factor:.3g}: begin lower (--low)"
                f"{f', or look at the data: {said}' if said else ''}"
            )
        if is_first_process():
            self._tell()

    def _tell(self) -> None:
        test, path = self.test, self.wanted.output
        steps = test.growing.steps
        factor = test.curve.suggestion(steps)
        draw_curve(test.curve, steps, factor, path)
        learning_rates = self.field(self.config, "learning_rates")
        explicit = learning_rates.as_dict().get("init_args") if learning_rates else None
        before = rate_fields(self.field(self.config, "model").as_dict(), explicit)
        after = {} if factor is None else multiplied(before, factor)
        told = {**vars(test.curve), "smoothed": test.curve.smoothed(steps), "rates": test.own}
        write_whole(path.with_suffix(".json"), json.dumps({"factor": factor, "fields": after, **told}, indent=2) + "\n")
        print(f"\n{len(test.curve.losses)} steps; picture: {short_path(path)}")
        if factor is None:
            low, high = (f"{test.curve.factors[place]:.3g}" for place in (0, -1))
            raise UserError(
                f"the loss fell nowhere by more than chance between {low} and {high} times the recipe's rates: look at "
                "the picture, take more steps, another range (--low, --high) or larger batches"
            )
        print(f"the loss fell fastest with every rate times {factor:.3g}")
        for name, rate in test.own.items():
            print(f"  {name}: {rate:.3g} → {rate * factor:.3g}")
        if not before:
            print("the model has no field of that name (lr, …_lr): set its rates to these yourself")
            return
        flags = [f"--{name}={json.dumps(value) if isinstance(value, dict) else value}" for name, value in after.items()]
        kept = [word for word in self.wanted.fields if word.split("=")[0].removeprefix("--") not in after]
        words = ["--recipe", self.wanted.recipe, *kept, *flags]
        print(f"next:\n  {program()} {' '.join(shlex.quote(word) for word in words)}")
