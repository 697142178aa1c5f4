"""`sweep`: the best values of a recipe's fields, by validation."""

from __future__ import annotations

import importlib.util

import yaml

from lightning_tl.choosing.study.processes import Command, Processes
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.cli.commands.sweep_options import SweepOptions
from lightning_tl.cli.errors import UserError
from lightning_tl.cli.process.preloaded import PRELOADED
from lightning_tl.reports.summary import short_path


def run_sweep(wanted: SweepOptions, command: Command) -> None:
    """Run the sweep, or go on with it, and say what is best.

    Args:
        wanted: from `read_sweep_options`.
        command: runs a command line; each trial is one, in a process of its own.

    Raises:
        UserError: Optuna is not installed.
        ValueError: see `lightning_tl.choosing.sweep.run_trials`.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError('sweep needs Optuna: python -m pip install "lightning-tl[sweep]"')
    from lightning_tl.choosing.sweep import Space, Sweep, run_trials
    from lightning_tl.choosing.sweep.monitored import best_text
    from lightning_tl.choosing.sweep.pictures import draw_sweep

    base = yaml.safe_load(wanted.recipe.read_text(encoding="utf-8"))
    spaces = tuple(Space.parse(text) for text in wanted.search)
    sweep = Sweep(wanted.name, base, spaces, wanted.fields, wanted.seed)
    folder = StudyFolder(wanted.study)
    processes = Processes(command, (), PRELOADED)
    study = run_trials(sweep, folder, processes, wanted.trials, _say, wanted.storage, wanted.pruner)
    draw_sweep(study, folder.path / "sweep.png")
    print(f"\nbest: {best_text(study)}")
    for field, value in study.best_params.items():
        print(f"  {field} = {value:.6g}" if isinstance(value, float) else f"  {field} = {value}")
    print(f"picture: {short_path(folder.path / 'sweep.png')}")
    print(f"next: lightning-tl --recipe {short_path(folder.path / 'best.yaml')}")


def _say(line: str) -> None:
    print(line, flush=True)
