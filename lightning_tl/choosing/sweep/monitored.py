"""What a sweep's trials are judged by: the metric that their recipe monitors, in its direction."""

from __future__ import annotations

import optuna

from lightning_tl.choosing.study.outcome import LOSS, Outcome

_MONITORED = "monitored"


def note_monitored(trial: optuna.Trial, outcome: Outcome) -> None:
    """Write down what a trial was judged by; its value has the sign by which less is better."""
    trial.set_user_attr(_MONITORED, [outcome.monitor, outcome.mode])


def monitored_of(trial: optuna.trial.FrozenTrial) -> tuple[str, int]:
    """Name of the metric of a finished trial, and the sign that turns the trial's value into the metric's."""
    name, mode = trial.user_attrs.get(_MONITORED, (LOSS, "min"))
    return name, -1 if mode == "max" else 1


def best_text(study: optuna.Study) -> str:
    """The best trial's metric, by name.

    Args:
        study: with a finished trial.
    """
    name, sign = monitored_of(study.best_trial)
    return f"{name} {sign * study.best_value:.4f}"
