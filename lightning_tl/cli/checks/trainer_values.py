"""Numbers of the Trainer that Lightning takes, and fails on later."""

from __future__ import annotations

from typing import Any

from lightning_tl.cli.errors import UserError

_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "max_epochs": -1,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": 0,
    "num_nodes": 1,
    "num_sanity_val_steps": -1,
    "gradient_clip_val": 0,
    "limit_train_batches": 0,
    "limit_val_batches": 0,
    "limit_test_batches": 0,
    "limit_predict_batches": 0,
    "overfit_batches": 0,
}
_NOTHING = ("max_epochs", "max_steps", "limit_train_batches")  # with 0 of which nothing is learned
_SEEDS = 2**32


def check_trainer_values(trainer: Any, seed: Any, training: bool = False) -> None:
    """Refuse numbers that no run can have.

    Args:
        trainer: the Trainer's fields.
        seed: as `seed_everything` takes it.
        training: whether a model is to be trained.

    Raises:
        UserError: naming the field, its value and the limit.
    """
    for name, least in _LEAST.items():
        value = trainer.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
            raise UserError(f"trainer.{name} must be at least {least}, got {value}")
        if training and name in _NOTHING and value == 0 and not isinstance(value, bool):
            raise UserError(f"trainer.{name} is 0, so that nothing would be trained; take at least 1")
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed < _SEEDS:
        raise UserError(f"seed_everything must be from 0 to {_SEEDS - 1}, got {seed}")
