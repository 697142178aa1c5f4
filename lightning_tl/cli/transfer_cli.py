"""The command line proper: LightningCLI with run folders, reports and named callbacks."""

from __future__ import annotations

import logging
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.model_helpers import is_overridden

import datamodules  # noqa: F401  # so that its classes can be named without their module
import lightning_tl.backbones
import lightning_tl.strategies  # noqa: F401
from lightning_tl.callbacks import (
    DiscriminativeLearningRates,
    GracefulInterrupt,
    ProgressiveUnfreezing,
    ProgressLines,
    ResumableCheckpoint,
    SafeCheckpointIO,
    TrainingInterrupted,
)
from lightning_tl.callbacks.run_description_writer import RunDescriptionWriter
from lightning_tl.callbacks.run_folder_report import RunFolderReport
from lightning_tl.callbacks.run_report import RunReport
from lightning_tl.cli.checks.calibrated import calibrate
from lightning_tl.cli.checks.devices import check_devices
from lightning_tl.cli.checks.nulls import check_nulls
from lightning_tl.cli.checks.other_report import check_other_report
from lightning_tl.cli.checks.predicts import check_predicts
from lightning_tl.cli.checks.trainer_values import check_trainer_values
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.options import Options
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.lasting_paths import of_another_class, other_split, sources
from lightning_tl.cli.reading.recipe_parser import RecipeParser
from lightning_tl.cli.reading.save_run_config import SaveRunConfig, saved_fields
from lightning_tl.cli.run_folder import can_go_on, is_first_process, new_run_folder, take_back, unused
from lightning_tl.compat.lightning_cli import SubcommandCLI
from lightning_tl.contracts.reported import AnswersUntrained, ReportedModule
from lightning_tl.contracts.run_description import DataOfARun, RunDescription
from lightning_tl.pretraining import OnlineProbe
from lightning_tl.reports import CsvMetrics, WandbReport, finish_wandb, wandb_logger
from lightning_tl.reports.summary import short_path
from lightning_tl.retrieval import RetrievalReport
from lightning_tl.training.guests import check_processes

REPORTS = ("report", "retrieval_report")
DROPPABLE = ("unfreezing", "learning_rates", "early_stopping", "probe")
_NO_NEWS = (
    ".*does not have many workers.*",  # the data modules know better than the number of cores
    ".*deprecated in v4.49.0.*",
    ".*LeafSpec.*is deprecated.*",
    ".*Checkpoint directory .* exists.*",
    ".*is not supported by the model summary.*",
)


class TransferCLI(SubcommandCLI):
    """Runs one subcommand when constructed.

    Args:
        options: what stands outside the recipe, from `read_options`.
        started: when the command began, in seconds since 1970.
    """

    def __init__(self, options: Options, started: float | None = None) -> None:
        self.options, self.asked = options, options.subcommand
        self.started = time.time() if started is None else started
        self.run_folder: Path | None = options.run
        self.report: RunFolderReport | None = None
        self.new_data = False  # whether a finished run reads other data than its own
        _quieten()
        try:
            super().__init__(
                parser_class=RecipeParser,
                save_config_callback=SaveRunConfig,
                save_config_kwargs={"overwrite": True},
                trainer_defaults={"log_every_n_steps": 10},
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,  # our checkpoints hold tensors and plain numbers only
                args=options.arguments,
            )
        except BaseException:
            if self.run_folder is not None and self.run_folder != options.run:
                take_back(self.run_folder)
            raise

    # ---------------------------------------------------------------- the fields

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = parser.parse_args(args)  # type: ignore[arg-type]
        subcommand = self.config.get("subcommand")
        fields = self.config.get(subcommand, self.config) if subcommand else self.config
        check_trainer_values(fields.trainer, fields.get("seed_everything"), subcommand == "fit")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--unfreezing", type=ProgressiveUnfreezing | None, default=None, help="last group to first")
        parser.add_argument(
            "--learning_rates", type=DiscriminativeLearningRates | None, default=None, help="a rate for each group"
        )
        parser.add_argument("--early_stopping", type=EarlyStopping | None, default=None, help="stop in time")
        parser.add_argument(
            "--probe", type=OnlineProbe | None, default=None, help="of pretraining: on labelled samples"
        )
        parser.add_lightning_class_args(ResumableCheckpoint, "checkpoint")
        parser.add_class_arguments(RunReport, "report", skip={"started"})
        parser.add_class_arguments(RetrievalReport, "retrieval_report", skip={"started"})
        parser.add_argument("--wandb", type=bool, default=False, help="log to Weights & Biases as well")
        parser.add_argument("--test", type=bool, default=True, help="fit: test the best checkpoint at the end")

    # ---------------------------------------------------------------- building

    def before_instantiate_classes(self) -> None:
        for name in ("model", "data"):
            check_nulls(self.field(self.config, name), name)
        self.leave_paths_of_another_class()
        trainer = self.field(self.config, "trainer")
        check_devices(trainer.accelerator, trainer.devices)

    def instantiate_classes(self) -> None:
        self.config_init = self.parser.instantiate(self.config)
        self.datamodule = self.field(self.config_init, "data")
        self.model = self.field(self.config_init, "model")
        untrained = isinstance(self.model, AnswersUntrained)
        if self.subcommand != "fit" and self.field(self.config, "ckpt_path") is None and not untrained:
            raise UserError(f"{self.subcommand} needs trained weights: give --run RUN_FOLDER or --ckpt_path FILE")
        self.read_for_the_run()
        if self.subcommand == "predict":
            check_predicts(self.model)
        self.trainer = self.instantiate_trainer()

    def leave_paths_of_another_class(self) -> None:
        """Another data module than the run's does not read where the run's did, unless told to."""
        if self.options.run is not None:
            data, saved = self.field(self.config, "data"), saved_fields(self.options.run).get("data")
            for name in of_another_class(data, saved, self.options.arguments):
                del data.init_args[name]

    def read_for_the_run(self) -> None:
        """Let the data be read for the model of the run, if there is one, and not as if one were to be trained."""
        run = self.options.run
        calibrate(self.model, self.options, self.field(self.config, "ckpt_path"))
        if run is not None:
            given, saved = self.field(self.config, "data"), saved_fields(run).get("data")
            self.new_data = self.subcommand != "fit" and sources(given) != sources(saved)
            if self.subcommand in ("test", "validate") and not self.new_data and (name := other_split(given, saved)):
                raise UserError(
                    f"data.{name} is not the run's: its own data would be parted otherwise than in training, and what "
                    "was trained on be scored; leave it out"
                )
            description = RunDescription.read(run)
        elif self.subcommand != "fit" and isinstance(self.model, AnswersUntrained):
            self.new_data, description = True, self.model.description()
        else:
            return
        if description is not None and isinstance(self.datamodule, DataOfARun):
            self.datamodule.read_for(description, self.new_data)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        settings = self.field(self.config_init, "trainer")
        if self.run_folder is None:
            wanted = settings.default_root_dir or self.options.run_folder
            self.run_folder = new_run_folder(self.options.name, Path(wanted).resolve() if wanted else None)
        if settings.enable_checkpointing is False:
            self.parser_of(self.subcommand).callback_keys.remove("checkpoint")
        own = {
            "default_root_dir": str(self.run_folder),
            "callbacks": [*_as_list(settings.callbacks), *self.callbacks()],
            "logger": self._loggers(settings.logger),
            "plugins": [*_as_list(settings.plugins), SafeCheckpointIO()],
        }
        try:
            trainer = super().instantiate_trainer(**own, **kwargs)
            check_processes(trainer)
            return trainer
        except (ValueError, TypeError) as error:  # settings that do not go together, told by Lightning itself
            raise UserError(f"trainer: {error}") from error

    def callbacks(self) -> list[Callback]:
        named = [self.field(self.config_init, name) for name in DROPPABLE]
        callbacks = [callback for callback in named if callback is not None]
        model, usual = self.model, self.parser_of(self.subcommand).get_defaults()
        own = model.report if isinstance(model, ReportedModule) else None
        for other in (name for name in REPORTS if name != own):
            check_other_report(self.field(self.config, other), usual[other], other, own, type(model).__name__)
        if own is not None and isinstance(model, ReportedModule):
            report: RunFolderReport = self.field(self.config_init, own)
            report.started = self.started
            if self.field(self.config, "trainer").enable_checkpointing is not False:  # else there is nothing to open
                report.next_command = report.next_command or f"{program()} {model.next_command}"
            if self.options.run is not None and self.subcommand == "test":
                report.folder = self._folder_of_the_test() if self.new_data else None
                report.export = report.export and report.exports_again
            callbacks.append(report)
            self.report = report
            callbacks += [WandbReport()] if self.field(self.config, "wandb") else []
        if self.field(self.config, "trainer").enable_progress_bar is not False and not sys.stdout.isatty():
            callbacks.append(ProgressLines())
        return [*callbacks, RunDescriptionWriter(), GracefulInterrupt()]

    def _folder_of_the_test(self) -> Path:
        """Where the results on other data go: beside the run's own, which they do not replace."""
        assert self.run_folder is not None
        return unused(self.run_folder / "tests" / time.strftime("%Y%m%d-%H%M%S"))

    def _loggers(self, given: Logger | list[Logger] | bool | None) -> list[Logger] | bool:
        if given is False:
            return False
        assert self.run_folder is not None
        if self.new_data and self.options.run is not None:
            return False  # metrics.csv is of the run's own data
        loggers: list[Logger] = [CsvMetrics(self.run_folder)]
        if self.field(self.config, "wandb"):
            loggers.append(wandb_logger(self.run_folder, self.field(self.config, "ckpt_path")))
        return [*loggers, *([] if given is True else _as_list(given))]

    # ---------------------------------------------------------------- running

    def subcommand_arguments(self, subcommand: str) -> dict[str, Any]:
        own = {"predict": {"return_predictions": False}, "test": {"verbose": False}}  # the report writes and prints
        return {**super().subcommand_arguments(subcommand), "weights_only": True, **own.get(subcommand, {})}

    def after_fit(self) -> None:
        if self.trainer.interrupted:
            return
        if not self.field(self.config, "test") or not self._has_test() or self.trainer.limit_test_batches == 0:
            self._finish_untested()
            return
        best = self._best()
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, weights_only=True, verbose=False)

    def _best(self) -> str | None:
        kept = self.trainer.checkpoint_callback
        return getattr(kept, "best_model_path", "") or getattr(kept, "last_model_path", "") or None

    def _finish_untested(self) -> None:
        """Export the best weights, as a test would, and say what there is to say."""
        best = self._best()
        if not isinstance(self.report, RunReport):
            if self.report is not None and self.run_folder is not None and is_first_process():
                summary = self.run_folder / "summary.txt"
                print(summary.read_text(encoding="utf-8") if summary.is_file() else "", end="", flush=True)
            return
        if best is not None:
            checkpoint = SafeCheckpointIO().load_checkpoint(best)
            self.model.on_load_checkpoint(checkpoint)
            self.model.load_state_dict(checkpoint["state_dict"])
        self.report.finish_untested(self.trainer, self.model, best)

    def _has_test(self) -> bool:
        data = self.datamodule
        if data is None or not is_overridden("test_dataloader", data, pl.LightningDataModule):
            return False
        return getattr(data, "has_test", True) and is_overridden("test_step", self.model, pl.LightningModule)

    def run_subcommand(self, subcommand: str) -> None:
        try:
            super().run_subcommand(subcommand)
        except TrainingInterrupted as interrupt:
            if is_first_process():
                fit = subcommand == "fit"
                print(self._resume_text(interrupt.checkpoint) if fit else "\nStopped.", file=sys.stderr)
            raise
        except SystemExit as end:  # by Lightning, of a Ctrl-C before our handler was there
            if isinstance(end.__context__, KeyboardInterrupt):
                raise SystemExit(130) from None
            raise
        finally:
            if self.field(self.config, "wandb"):
                finish_wandb(failed=sys.exc_info()[0] is not None)

    def _resume_text(self, checkpoint: str | None) -> str:
        run = self.run_folder
        if run is None or checkpoint is None or not can_go_on(run):
            return "\nStopped before there was anything to keep."
        return f"\nStopped. Go on with:\n  {program()} fit --resume {shlex.quote(short_path(run))}"


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _quieten() -> None:
    """Leave out what Lightning tells that is no news to a user of a recipe."""
    for text in _NO_NEWS:
        warnings.filterwarnings("ignore", text)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(lambda record: not str(record.msg).startswith(("💡", "Seed set", "TPU")))
