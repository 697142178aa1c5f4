"""Learning rates that fall from the output towards the input."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from lightning_tl.contracts.layer_groups import LayerGroup, depths
from lightning_tl.training.rate_rules import RateRules
from lightning_tl.training.trained_module import TrainedModule


def decayed_scales(groups: Sequence[LayerGroup], decay: float) -> dict[str, float]:
    """Scale of each group's rate: 1 for the last of a backbone and those outside it, `decay` times less before it.

    Args:
        groups: those that may train, ordered from input to output.
        decay: in (0, 1].
    """
    below = depths(group.name for group in groups)
    return {group.name: decay ** below.get(group.name, 0) for group in groups}


def check_decay(decay: float) -> float:
    """Return `decay` if it lies in (0, 1]."""
    if not 0 < decay <= 1:
        raise ValueError(f"decay must be in (0, 1], got {decay}; 1 gives every group of the backbone the same rate")
    return decay


def transfer_module(pl_module: pl.LightningModule, callback: Callback) -> TrainedModule:
    """The module as what these callbacks need."""
    if not isinstance(pl_module, TrainedModule) or not pl_module.has_layer_groups():
        raise TypeError(
            f"{type(callback).__name__} needs a module with layer groups, such as a subclass of "
            f"lightning_tl.training.transfer_module.TransferModule, got {type(pl_module).__name__}"
        )
    return pl_module


class DiscriminativeLearningRates(Callback, RateRules):
    """Give each layer group a learning rate of its own (Howard & Ruder 2018, ULMFiT, section 3.2).

    The last group of the backbone keeps the rate `backbone_lr`, each group before it has `decay` times the rate of the
    one after it, and the head keeps `lr`. ULMFiT divides by 2.6 at each layer, which is a decay of 0.38. The schedule
    moves all rates together, so their ratios stay.

    Args:
        decay: rate of a group over the rate of the group after it, in (0, 1].
        rates: absolute learning rates by group name, in place of the decayed ones.
    """

    def __init__(self, decay: float = 0.3, rates: dict[str, float] | None = None) -> None:
        self.decay = check_decay(decay)
        self.rates = dict(rates or {})
        for name, rate in self.rates.items():
            if not rate > 0:
                raise ValueError(
                    f"the learning rate of group '{name}' must be above 0, got {rate}; "
                    "use the adaptation TopGroups to leave groups frozen"
                )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that nothing else sets the rates of groups."""
        module = transfer_module(pl_module, self)
        if module.layer_decay != 1:
            raise ValueError(
                f"layer_decay={module.layer_decay} of the module and DiscriminativeLearningRates(decay={self.decay}) "
                "would multiply; leave one of them out"
            )

    def rate_scales(self, groups: Sequence[LayerGroup], base_rates: Mapping[str, float]) -> dict[str, float]:
        """See `RateRules`."""
        return self.scales(groups, base_rates)

    def scales(self, groups: Sequence[LayerGroup], base_rates: Mapping[str, float]) -> dict[str, float]:
        """Factor of each group's base rate.

        Raises:
            ValueError: when `rates` names a group that does not train.
        """
        names = [group.name for group in groups]
        for name in self.rates:
            if name not in names:
                nearest = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
                raise ValueError(f"rates has '{name}', no group that trains{hint} (groups: {', '.join(names)})")
        explicit = {name: rate / base_rates[name] for name, rate in self.rates.items()}
        return decayed_scales(groups, self.decay) | explicit
