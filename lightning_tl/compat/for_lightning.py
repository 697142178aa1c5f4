"""What Lightning's Trainer and loops keep to themselves; seen in lightning 2.6.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import LearningRateFinder
    from lightning.pytorch.strategies import Strategy

# ---------------------------------------------------------------- where a fit stands


def accumulates(trainer: pl.Trainer) -> bool:
    """Whether the batch that is done was not followed by an optimizer step.

    `_should_accumulate`: it knows the last batch of an epoch and the strategy's own accumulation, which no public
    counter does.
    """
    return bool(trainer.fit_loop._should_accumulate())


def ends_epoch(trainer: pl.Trainer) -> bool:
    """Whether the batch that is done was the last one of its epoch.

    `_num_ready_batches_reached`: the public `is_last_batch` of the progress is set later, and not for a limit.
    """
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def validates_now(trainer: pl.Trainer) -> bool:
    """Whether a validation follows the batch that is done; False while no data are being read.

    `_should_check_val_fx` and the `_data_fetcher` that it reads: four settings decide, and Lightning asks no other.
    """
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and bool(trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher))


def has_validated(trainer: pl.Trainer) -> bool:
    """Whether the validation of this fit has read a batch.

    `_has_run` of the loop: its public counters stay where nothing was read.
    """
    return bool(trainer.fit_loop.epoch_loop.val_loop._has_run)


# ---------------------------------------------------------------- what it has logged


def results_of_epoch(trainer: pl.Trainer) -> Any:
    """The running sums behind the epoch's logged training values, by key.

    `_results` of the epoch's loop: `trainer.callback_metrics` has what came of them alone.
    """
    return trainer.fit_loop.epoch_loop._results


def forget_computed(result: Any) -> None:
    """Let one of `results_of_epoch` be computed anew after its sums were changed.

    `_computed`: torchmetrics forgets by itself only what its own `update` has made stale.
    """
    result._computed = None


def row_of_step(trainer: pl.Trainer) -> tuple[int, dict[str, Any]] | None:
    """The step that loggers are told next and the values of it; None where none are due.

    `_logger_connector` with its `_first_loop_iter`, and `_batches_that_stepped`: `trainer.logged_metrics` is filled
    only afterwards, and the steps of loggers are not `trainer.global_step` where there are several optimizers.
    """
    connector = trainer._logger_connector
    if not connector.should_update_logs or connector._first_loop_iter is None:
        return None
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped), dict(connector.metrics["log"])


def log_row(trainer: pl.Trainer, values: dict[str, Any], step: int) -> None:
    """Give all loggers a row, in a hook in which `log` may not be called.

    `_logger_connector.log_metrics`: it also keeps `trainer.logged_metrics` as it would have been.
    """
    trainer._logger_connector.log_metrics(values, step=step)


def take_back_a_step(loops: dict[str, Any]) -> None:
    """In the state of a fit's loops, as in a checkpoint, lessen by one the step that loggers are told.

    `_batches_that_stepped` under that key: checkpoints have no other name of it.
    """
    loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


# ---------------------------------------------------------------- what it was given


def sources_of_fit(trainer: pl.Trainer) -> dict[str, Any]:
    """Where this fit takes its loaders from, for `train` and `validation`.

    `_data_source` of the loops: what was given to `trainer.fit` has no public name until it was replaced and wrapped.
    """
    fit = trainer.fit_loop
    return {"train": fit._data_source, "validation": fit.epoch_loop.val_loop._data_source}


def batch_on_device(trainer: pl.Trainer, batch: Any) -> Any:
    """A batch of a loader as a step of a loop would get it: converted, through the hooks of transfer, on the device.

    `_on_before_batch_transfer` of the module: the public hook may lie in the data module or in the module.
    """
    batch = trainer.precision_plugin.convert_input(batch)
    return trainer.strategy.batch_to_device(trainer.lightning_module._on_before_batch_transfer(batch))


def searched_attribute(finder: LearningRateFinder) -> str:
    """The attribute that a learning-rate finder is to search; empty where it was not told.

    `_attr_name`: an argument of its constructor, kept under this name alone.
    """
    return finder._attr_name


def searches_rate(trainer: pl.Trainer) -> bool:
    """Whether what runs is the trial of a learning-rate search.

    `_LRCallback`, which a search puts in the place of all callbacks: it says so nowhere else.
    """
    from lightning.pytorch.tuner.lr_finder import _LRCallback

    return any(isinstance(callback, _LRCallback) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def compiled_whole(module: pl.LightningModule) -> bool:
    """Whether a LightningModule was put through `torch.compile` as a whole.

    `_compiler_ctx`: Lightning unwraps such a module and keeps this of the wrapper.
    """
    return module._compiler_ctx is not None


def start_method(strategy: Strategy) -> str:
    """How a strategy starts its processes: `popen` runs the command again, the others go on from what is in memory.

    `_start_method` of DDPStrategy: the name by which it was chosen does not tell all of them.
    """
    from lightning.pytorch.strategies import DDPStrategy

    return strategy._start_method if isinstance(strategy, DDPStrategy) else "popen"
