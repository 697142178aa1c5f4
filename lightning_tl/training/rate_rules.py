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


def scaled_rates(
    rules: Sequence[RateRules], groups: Sequence[LayerGroup], base_rates: Mapping[str, float]
) -> dict[str, float]:
    """The groups' rates with the factors of all rules."""
    rates = dict(base_rates)
    for each in rules:
        scales = each.rate_scales(groups, base_rates)
        rates = {name: rate * scales.get(name, 1.0) for name, rate in rates.items()}
    return rates


def check_rules_are_heard(
    module: pl.LightningModule, rules: Sequence[RateRules], groups: Sequence[LayerGroup], asked: bool, scheduled: bool
) -> None:
    """Check that an own `configure_optimizers` lets callbacks set the rates.

    Args:
        module: whose `configure_optimizers` was called.
        rules: what the callbacks want of the rates.
        groups: those that may train.
        asked: whether it asked for the groups' rates.
        scheduled: whether the module sets the rates of each step.

    Raises:
        ValueError: it does not, and a callback wants to.
    """
    ones = {group.name: 1.0 for group in groups}
    unheard = [] if asked else [each for each in rules if each.rate_scales(groups, ones)]
    late = [] if scheduled else [each for each in rules if each.needs_steps()]
    for each in (*unheard, *late):
        raise ValueError(
            f"{type(each).__name__} sets learning rates, and configure_optimizers of {type(module).__name__} does "
            "not ask for them: return self.scheduled(optimizer) there, with an optimizer over "
            "self.optimizer_groups(), such as self.scheduled(torch.optim.SGD(self.optimizer_groups()))"
        )
