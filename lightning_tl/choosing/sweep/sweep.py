"""Runs a sweep: trials that Optuna asks for, each an ordinary run."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from lightning_tl.choosing.study.outcome import read_outcome
from lightning_tl.choosing.study.processes import Job, Runner
from lightning_tl.choosing.study.recipe_parts import set_field
from lightning_tl.choosing.study.study_folder import StudyFolder, finished
from lightning_tl.choosing.sweep.monitored import best_text, note_monitored
from lightning_tl.choosing.sweep.prune_trial import PRUNED, TrialPlace
from lightning_tl.choosing.sweep.pruning import PrunerName, pruner_of
from lightning_tl.choosing.sweep.shared_study import HEARTBEAT_S, SharedStudy
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

    @property
    def epochs(self) -> int | None:
        """Of every trial; None where they are searched or not set."""
        if any(space.field == "trainer.max_epochs" for space in self.spaces):
            return None
        given = [word.partition("=")[2] for word in self.options if word.startswith("--trainer.max_epochs=")]
        found = str(given[-1] if given else (self.base.get("trainer") or {}).get("max_epochs"))
        return int(found) if found.isdecimal() and int(found) > 0 else None

    def as_json(self) -> dict[str, Any]:
        """Everything that decides what the trials are, as JSON has it."""
        spaces = [space.as_json() for space in self.spaces]
        found = {"recipe": self.recipe, "base": self.base, "spaces": spaces, "options": list(self.options)}
        return {"format": 1, **found, "seed": self.seed}


def run_trials(
    sweep: Sweep,
    folder: StudyFolder,
    processes: Runner,
    trials: int,
    say: Callable[[str], None],
    storage: str | None = None,
    pruner: PrunerName = "none",
    heartbeat_s: int = HEARTBEAT_S,
) -> optuna.Study:
    """Run trials until so many have ended, all processes that share the storage together.

    A trial whose process was killed is asked for again with the same values, and its run goes on where it was if it is
    this folder's.

    Args:
        sweep: what is searched.
        folder: of the sweep.
        processes: run the commands.
        trials: that have a value or were pruned at the end, those of earlier calls and of other machines among them.
        say: tells a line of progress.
        storage: address of a database that several machines share (`sqlite:///…`, `postgresql://…`), or the path of a
            journal file; None for a file in the folder.
        pruner: see `pruner_of`.
        heartbeat_s: see `open_storage`.

    Raises:
        ValueError: the folder holds another sweep, another process works on it, the storage cannot be used, the first
            trials fail, or all do.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    with folder.held():
        _open(sweep, folder)
        address = storage or str(folder.path / "trials.log")
        shared = SharedStudy(address, _name(sweep), pruner_of(pruner, sweep.epochs), heartbeat_s)
        shared.take_up(_place(folder), _PLACE)
        _Trials(sweep, folder, processes, shared, pruner, say).run(trials)
        if not shared.trials(TrialState.COMPLETE):
            raise ValueError(f"no trial of {folder.path} has trained to its end, so there is no best one yet")
        write_best(sweep, folder, shared.study)
    return shared.study


@dataclass
class _Trials:
    sweep: Sweep
    folder: StudyFolder
    processes: Runner
    shared: SharedStudy
    pruner: PrunerName
    say: Callable[[str], None]
    failures: int = 0

    def run(self, wanted: int) -> None:
        waited = False
        while self.shared.ended < wanted:
            trial = self.shared.claim(wanted)
            if trial is not None:
                with self.shared.alive(trial):
                    self._one(trial, wanted)
                continue
            if not self.shared.others():
                left = wanted - self.shared.ended
                self.say(f"{left} trials are still worked on by other processes" if left else "")
                return
            if not waited:
                self.say("waiting for trials of other processes")
            waited = True
            time.sleep(min(2.0, self.shared.heartbeat_s))

    def _one(self, trial: optuna.Trial, wanted: int) -> None:
        sweep, folder = self.sweep, self.folder
        trial.set_user_attr(_PLACE, _place(folder))
        self.shared.study.sampler = _sampler(sweep, self.shared.rank(trial))
        values = {space.field: space.suggest(trial) for space in sweep.spaces}
        error = self._train(trial.number, values)
        run = folder.runs / key(values)
        outcome = None if error is not None else read_outcome(run)
        told = ", ".join(f"{field} {_text(value)}" for field, value in values.items())
        if outcome is None or math.isnan(outcome.best):
            none = "" if outcome is None else f"no {outcome.monitor} that is a number"
            self._failed(trial, told, error or none, wanted)
        elif (run / PRUNED).is_file():
            self._tell(trial, None, TrialState.PRUNED)
            after = json.loads((run / PRUNED).read_text(encoding="utf-8"))["epoch"]
            reached = f"{outcome.monitor} {outcome.best:.4f}, pruned after epoch {after}"
            self.say(f"[{self.shared.ended} of {wanted}] {told}: {reached}")
        else:
            note_monitored(trial, outcome)
            self._tell(trial, outcome.loss, TrialState.COMPLETE)
            reached = f"{outcome.monitor} {outcome.best:.4f} (best: {best_text(self.shared.study)})"
            self.say(f"[{self.shared.ended} of {wanted}] {told}: {reached}")

    def _tell(self, trial: optuna.Trial, value: float | None, state: TrialState) -> None:
        try:
            self.shared.study.tell(trial, value, state=state)
        except ValueError:  # it was silent for so long that another process took it up
            self.say(f"trial {trial.number} had been given to another process, as this one was silent for too long")

    def _failed(self, trial: optuna.Trial, told: str, why: str, wanted: int) -> None:
        self._tell(trial, None, TrialState.FAIL)
        self.say(f"trial {trial.number}: {told}: failed: {why}")
        self.failures += 1
        if self.shared.ended == 0 and self.failures >= 3:
            raise ValueError(f"the first {self.failures} trials failed; the last: {why}")
        if self.failures >= max(3, wanted):
            raise ValueError(f"{self.failures} trials failed; the last: {why}")

    def _train(self, number: int, values: dict[str, Value]) -> str | None:
        """Train with these values, or go on; why it failed, or None."""
        sweep, folder = self.sweep, self.folder
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
        if self.pruner != "none":
            place = TrialPlace(self.shared.address, self.shared.name, number, self.pruner, sweep.epochs)
            command = ["trial", place.to_text(), *command]
        for _, error in self.processes.run([Job(command, folder.log(run.name))]):
            if error is not None:
                return error
        return None


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


def _name(sweep: Sweep) -> str:
    digest = hashlib.sha256(json.dumps(sweep.as_json(), sort_keys=True).encode()).hexdigest()[:12]
    return f"{sweep.recipe}-{digest}"


def _sampler(sweep: Sweep, rank: int) -> optuna.samplers.BaseSampler:
    """A sampler whose next values follow from the seed, the trial's rank and the trials so far.

    Optuna keeps no state of its chance: one that goes on would begin again with the values that it began with.
    """
    digest = hashlib.sha256(f"{sweep.seed}/{rank}".encode()).digest()
    return optuna.samplers.TPESampler(seed=int.from_bytes(digest[:4], "little"))


def _place(folder: StudyFolder) -> str:
    return f"{socket.gethostname()}:{folder.path}"


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
    ended = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
    said = f"# {sweep.recipe} with the best of {ended} trials by validation: {best_text(study)}.\n"
    write_whole(folder.path / "best.yaml", said + text)
    return folder.path / "best.yaml"
