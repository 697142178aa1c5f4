"""Sweeps: values of a recipe's fields that Optuna tries, each in an ordinary run judged on validation alone.

Optuna samples, keeps the trials and shares them between machines; what is here turns a trial into a run and the best
one into a recipe. It never reads test data.
"""

from lightning_tl.choosing.sweep.space import Space
from lightning_tl.choosing.sweep.sweep import Sweep, run_trials

__all__ = ["Space", "Sweep", "run_trials"]
