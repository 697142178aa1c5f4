"""`SharedStudy`: an Optuna study that several processes and machines work on, each trial done once."""

from __future__ import annotations

import random
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

HEARTBEAT_S = 30  # a process that is silent for three times as long counts as killed
_TRIES = 8  # to open a database whose tables others are making
_AGAIN, _SURPLUS = "taken up", "surplus"
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_LIVE = (*_ENDED, TrialState.RUNNING)


def open_storage(address: str, heartbeat_s: int = HEARTBEAT_S) -> BaseStorage:
    """The storage of an address.

    Args:
        address: of a database (`sqlite:///…`, `postgresql://…`), or the path of a journal file.
        heartbeat_s: how often a process that works on a trial tells a database that it lives, in seconds.

    Raises:
        ValueError: no database answers there, or no file can be there.
    """
    shown = re.sub(r"//[^@/]*@", "//…@", address)  # without a password
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if "://" not in address:
        path = Path(address).expanduser().absolute()
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(
                f"the storage must be a database, such as sqlite:///{path.name}.db, or a file in a folder that is "
                f"there, got {address}"
            )
        return JournalStorage(JournalFileBackend(str(path)))
    wait = {"connect_args": {"timeout": 60}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        for left in reversed(range(_TRIES)):
            try:
                return RDBStorage(
                    address,
                    engine_kwargs=wait,
                    heartbeat_interval=heartbeat_s,
                    grace_period=3 * heartbeat_s,
                    heartbeat_stale_trial_callback=_take_up,
                )
            except SQLAlchemyError as error:
                if not left or not any(word in str(error) for word in ("UNIQUE", "unique", "exists", "locked")):
                    raise
                time.sleep(random.uniform(0.1, 1.0))  # another process is making the tables
    except (SQLAlchemyError, ImportError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"the storage {shown} cannot be used: {first}") from None
    raise AssertionError("returned or raised")


def _take_up(study: optuna.Study, trial: FrozenTrial) -> None:
    """A trial of a process that was killed is asked for again with the same values, by whoever asks next."""
    study.enqueue_trial(trial.params, user_attrs={_AGAIN: trial.number}, skip_if_exists=False)


class SharedStudy:
    """Hands out trials so that all processes together do as many as were asked for, and none twice.

    Args:
        address: see `open_storage`.
        name: of the study.
        pruner: what ends trials early.
        heartbeat_s: see `open_storage`.
    """

    def __init__(self, address: str, name: str, pruner: BasePruner, heartbeat_s: int = HEARTBEAT_S) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.address, self.name, self.heartbeat_s = address, name, heartbeat_s
        self.storage = open_storage(address, heartbeat_s)
        self.study = optuna.create_study(storage=self.storage, study_name=name, load_if_exists=True, pruner=pruner)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Those in these states."""
        return self.study.get_trials(deepcopy=False, states=states)

    @property
    def ended(self) -> int:
        """Trials that have a value or were pruned."""
        return len(self.trials(*_ENDED))

    def take_up(self, place: str, attribute: str) -> None:
        """Ask again for this place's trials whose process was killed: they would stay unfinished for ever.

        Args:
            place: of this process.
            attribute: the trials' attribute that names theirs.
        """
        for trial in self.trials(TrialState.RUNNING):
            if trial.user_attrs.get(attribute) == place:
                self.study.tell(trial.number, state=TrialState.FAIL)
                _take_up(self.study, trial)

    def claim(self, wanted: int) -> Trial | None:
        """A trial to work on; None where as many as are wanted have ended or are being worked on.

        Args:
            wanted: trials that are to end, of all processes.
        """
        fail_stale_trials(self.study)
        if len(self.trials(*_LIVE)) >= wanted and not self.trials(TrialState.WAITING):
            return None
        trial = self.study.ask()
        # Another process may have asked at the same moment: numbers tell who was first.
        if len([other for other in self.trials(*_LIVE) if other.number < trial.number]) >= wanted:
            trial.set_user_attr(_SURPLUS, True)
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    def rank(self, trial: Trial) -> int:
        """How many trials came before this one, as if no process had been killed: of no two trials the same."""
        every = self.study.get_trials(deepcopy=False)
        again = {other.user_attrs.get(_AGAIN) for other in every}
        before = [other for other in every[: trial.number] if other.number not in again]
        return len([other for other in before if not other.user_attrs.get(_SURPLUS)])

    def others(self) -> int:
        """Trials that other processes work on, of which a killed one would be noticed."""
        return len(self.trials(TrialState.RUNNING)) if isinstance(self.storage, RDBStorage) else 0

    @contextmanager
    def alive(self, trial: Trial) -> Iterator[None]:
        """Tell, while this is open, that the trial is being worked on."""
        storage = self.storage
        if not isinstance(storage, RDBStorage):
            yield
            return
        ended = threading.Event()
        number = storage.get_trial_id_from_study_id_trial_number(
            storage.get_study_id_from_name(self.name), trial.number
        )

        def beat() -> None:
            while not ended.wait(self.heartbeat_s):
                storage.record_heartbeat(number)

        storage.record_heartbeat(number)
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
