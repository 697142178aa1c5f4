"""Runs a sweep: trials that Optuna asks for, each an ordinary run."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from lightning_tl.choosing.study.outcome import LOSS, read_outcome
from lightning_tl.choosing.study.processes import Job, Processes
from lightning_tl.choosing.study.recipe_parts import set_field
from lightning_tl.choosing.study.study_folder import StudyFolder, finished
from lightning_tl.choosing.sweep.space import Space, Value
from lightning_tl.storage.partial_file import write_whole

_PLACE = "place"  # of the process that a trial waits for


@dataclass(frozen=True)
class Sweep:
    """What is searched.

    Args:
        recipe: name of the recipe.
        base: its sections.
        spaces: fields and their values.
        options: fields that all runs have, as on a command line.
        seed: of the sampler and of all runs.
    """

    recipe: str
    base: dict[str, Any]
    spaces: Sequence[Space]
    options: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        fields = [space.field for space in self.spaces]
        if not fields:
            raise ValueError("a sweep needs at least one search, such as model.lr=log:1e-5:1e-2")
        twice = sorted({field for field in fields if fields.count(field) > 1})
        given = sorted({field for field in fields if any(word.startswith(f"--{field}=") for word in self.options)})
        if twice or given:
            raise ValueError(f"{(twice or given)[0]} is searched {'twice' if twice else 'and set as well'}")

    def as_json(self) -> dict[str, Any]:
        """Everything that decides what the trials are, as JSON has it."""
        spaces = [space.as_json() for space in self.spaces]
        found = {"recipe": self.recipe, "base": self.base, "spaces": spaces, "options": list(self.options)}
        return {"format": 1, **found, "seed": self.seed}


def run_trials(
    sweep: Sweep,
    folder: StudyFolder,
    processes: Processes,
    trials: int,
    say: Callable[[str], None],
    storage: str | None = None,
) -> optuna.Study:
    """Run trials until so many have a value.

    A trial whose process was killed is asked for again with the same values, and its run goes on where it was.

    Args:
        sweep: what is searched.
        folder: of the sweep.
        processes: run the commands.
        trials: that have a value at the end, those of earlier calls and of other machines among them.
        say: tells a line of progress.
        storage: address of a database that several machines share (`sqlite:///…`, `postgresql://…`); None for a file in
            the folder.

    Raises:
        ValueError: the folder holds another sweep, another process works on it, the first trial fails, or all do.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    with folder.held():
        _open(sweep, folder)
        study = _study(sweep, folder, storage)
        _ask_again(study, folder)
        failures = 0
        while (done := _valued(study)) < trials:
            study.sampler = _sampler(sweep, study)
            trial = study.ask()
            trial.set_user_attr(_PLACE, _place(folder))
            values = {space.field: space.suggest(trial) for space in sweep.spaces}
            error = _train(sweep, folder, processes, values)
            outcome = None if error is not None else read_outcome(folder.runs / key(values), (LOSS, "min"))
            told = ", ".join(f"{field} {_text(value)}" for field, value in values.items())
            if outcome is None or math.isnan(outcome.best):
                why = error or "no validation loss that is a number"
                study.tell(trial, state=TrialState.FAIL)
                say(f"trial {trial.number}: {told}: failed: {why}")
                failures += 1
                if done == 0 and failures >= 3:
                    raise ValueError(f"the first {failures} trials failed; the last: {why}")
                if failures >= max(3, trials):
                    raise ValueError(f"{failures} trials failed; the last: {why}")
                continue
            study.tell(trial, outcome.best)
            say(f"[{done + 1} of {trials}] {told}: val_loss {outcome.best:.4f} (best {study.best_value:.4f})")
        write_best(sweep, folder, study)
    return study


def key(values: dict[str, Value]) -> str:
    """Where the run with these values lies, whatever the number of its trial."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _open(sweep: Sweep, folder: StudyFolder) -> None:
    path = folder.path / "sweep.json"
    now = json.loads(json.dumps(sweep.as_json()))
    if not path.is_file():
        others = [other.name for other in folder.path.iterdir() if other.name != ".lock"]
        if others:
            raise ValueError(
                f"{folder.path} is no sweep and not empty (it has {sorted(others)[0]}); name another --study"
            )
        write_whole(path, json.dumps(now, indent=2) + "\n")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for name in now:
        if before.get(name) != now[name]:
            raise ValueError(f"the sweep {folder.path} has other {name} than were asked for; name another --study")


def _study(sweep: Sweep, folder: StudyFolder, storage: str | None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept: Any = storage or JournalStorage(JournalFileBackend(str(folder.path / "trials.log")))
    digest = hashlib.sha256(json.dumps(sweep.as_json(), sort_keys=True).encode()).hexdigest()[:12]
    return optuna.create_study(storage=kept, study_name=f"{sweep.recipe}-{digest}", load_if_exists=True)


def _sampler(sweep: Sweep, study: optuna.Study) -> optuna.samplers.BaseSampler:
    """A sampler whose next values follow from the seed and the trials so far.

    Optuna keeps no state of its chance: one that goes on would begin again with the values that it began with.
    """
    before = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)))
    digest = hashlib.sha256(f"{sweep.seed}/{before}".encode()).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4], "little"))


def _place(folder: StudyFolder) -> str:
    return f"{socket.gethostname()}:{folder.path}"


def _ask_again(study: optuna.Study, folder: StudyFolder) -> None:
    """Those of this folder whose process was killed: they would stay unfinished for ever."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(_PLACE) == _place(folder):
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params, skip_if_exists=False)


def _valued(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def _train(sweep: Sweep, folder: StudyFolder, processes: Processes, values: dict[str, Value]) -> str | None:
    """Train with these values, or go on; why it failed, or None."""
    run = folder.runs / key(values)
    if finished(run):
        return None
    if (run / "checkpoints" / "last.ckpt").is_file():
        command = ["fit", "--resume", str(run), "--test=false"]
    else:
        folder.clear(run)
        recipe = folder.path / "recipe.yaml"
        text = yaml.safe_dump(sweep.base, sort_keys=False, allow_unicode=True)
        write_whole(recipe, f"# The recipe of a sweep, without what is searched: {sweep.recipe}.\n{text}")
        fields = [f"--{field}={_text(value)}" for field, value in values.items()]
        where = ["--recipe", str(recipe), "--run_folder", str(run), "--test=false"]
        quiet = ["--trainer.enable_progress_bar=false", f"--seed_everything={sweep.seed}"]
        command = ["fit", *where, *quiet, *sweep.options, *fields]
    for _, error in processes.run([Job(command, folder.log(run.name))]):
        if error is not None:
            return error
    return None


def _text(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_best(sweep: Sweep, folder: StudyFolder, study: optuna.Study) -> Path:
    """Write the recipe with the best values, `best.yaml`.

    Args:
        sweep: what was searched.
        folder: of the sweep.
        study: with its trials.
    """
    recipe = copy.deepcopy(sweep.base)
    given = [word.removeprefix("--").split("=", 1) for word in sweep.options]
    for field, value in [*given, *((name, _text(value)) for name, value in study.best_params.items())]:
        set_field(recipe, field, yaml.safe_load(value) if isinstance(value, str) else value)
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    said = (
        f"# {sweep.recipe} with the best of {_valued(study)} trials by validation: val_loss {study.best_value:.4f}.\n"
    )
    write_whole(folder.path / "best.yaml", said + text)
    return folder.path / "best.yaml"
