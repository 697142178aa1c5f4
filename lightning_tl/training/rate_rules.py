"""`RateRules`: what a callback says of the learning rates of layer groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning.pytorch as pl

from lightning_tl.contracts.layer_groups import LayerGroup


class RateRules:
    """Base of callbacks that move learning rates: the module asks those of its Trainer, anew in each fit.

    Nothing is set on the module, so that a callback that is not there, or not any more, has no effect.
    """

    def rate_scales(self, groups: Sequence[LayerGroup], base_rates: Mapping[str, float]) -> dict[str, float]:
        """Factor of each group's base rate, for the whole fit; groups not named get 1.

        Args:
            groups: those that may train, ordered from input to output.
            base_rates: the rate of each without any callback.
        """
        return {}

    def ramps(self, step: int) -> dict[str, float]:
        """Factor in [0, 1] of each group's rate at an optimizer step; groups not named get 1.

        Args:
            step: optimizer steps done so far in the run.
        """
        return {}

    def needs_steps(self) -> bool:
        """Whether the ramps do more than `requires_grad` does, so that someone has to set the rates of each step."""
        return False


def rate_rules(trainer: pl.Trainer) -> list[RateRules]:
    """What the Trainer's callbacks say of rates."""
    return [callback for callback in trainer.callbacks if isinstance(callback, RateRules)]  # type: ignore[attr-defined]
