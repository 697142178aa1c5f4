"""Sweeps that end trials early, and sweeps that several processes share."""

from __future__ import annotations

import json
import time
from pathlib import Path

import optuna
import pytest
from cli_runs import error_of, make_job
from optuna.trial import TrialState, create_trial
from sweep_worker import SWEEP, QuickRuns, start
from tiny import TinyData, tiny_module, tiny_trainer

from lightning_tl.choosing.study.outcome import read_outcome
from lightning_tl.choosing.study.study_folder import StudyFolder, finished
from lightning_tl.choosing.sweep.prune_trial import PRUNED, PruneTrial, TrialPlace
from lightning_tl.choosing.sweep.pruning import pruner_of
from lightning_tl.choosing.sweep.shared_study import SharedStudy, open_storage
from lightning_tl.choosing.sweep.sweep import run_trials
from lightning_tl.cli import main

RATE = {"model.lr": optuna.distributions.FloatDistribution(1e-6, 1, log=True)}


def study_of_good_trials(path: Path) -> SharedStudy:
    """Five trials of four epochs, all better than any that comes."""
    shared = SharedStudy(str(path), "s", pruner_of("median"))
    for k in range(5):
        values = {epoch: 0.001 for epoch in range(4)}
        shared.study.add_trial(
            create_trial(
                value=0.001, params={"model.lr": 0.1 / (k + 1)}, distributions=RATE, intermediate_values=values
            )
        )
    return shared


def test_a_trial_that_is_behind_ends_early_and_says_so(tmp_path: Path) -> None:
    shared = study_of_good_trials(tmp_path / "log")
    first = shared.study.ask(RATE)
    prune = PruneTrial(TrialPlace(str(tmp_path / "log"), "s", first.number, "median"))
    trainer = tiny_trainer(tmp_path / "run", [prune], max_epochs=4)
    trainer.fit(tiny_module(num_classes=3), datamodule=TinyData())
    trainer.save_checkpoint(tmp_path / "second.ckpt")
    told = json.loads((tmp_path / "run" / PRUNED).read_text())
    assert (told["epoch"], told["trial"], told["pruner"]) == (1, 5, "median"), "never after the first epoch alone"
    reported = shared.study.get_trials()[first.number].intermediate_values
    assert list(reported) == [0, 1] == list(prune.losses) and reported == prune.losses
    # A run that goes on belongs to a trial of another number, which is told what its run had reached.
    again = PruneTrial(TrialPlace(str(tmp_path / "log"), "s", shared.study.ask(RATE).number, "none"))
    longer = tiny_trainer(tmp_path / "run", [again], max_epochs=4)
    longer.fit(tiny_module(num_classes=3), datamodule=TinyData(), ckpt_path=tmp_path / "second.ckpt")
    assert list(shared.study.get_trials()[6].intermediate_values) == [0, 1, 2, 3]
    assert not (tmp_path / "run" / PRUNED).exists(), "it was not pruned after all"


def test_a_pruned_run_is_a_whole_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIGHTNING_TL_RUN_FOLDER", raising=False)
    shared = study_of_good_trials(tmp_path / "log")
    place = TrialPlace(str(tmp_path / "log"), "s", shared.study.ask(RATE).number, "median", 4)
    fields = ["--test=false", "--unfreezing=null", "--trainer.max_epochs=4", "--report.export=false"]
    run = tmp_path / "run"
    main(["trial", place.to_text(), "fit", "--recipe", str(make_job(tmp_path)), "--run_folder", str(run), *fields])
    assert json.loads((run / PRUNED).read_text())["epoch"] == 1 and finished(run)
    assert len(shared.study.get_trials()[5].intermediate_values) == 2 == len(read_outcome(run).curve)
    assert "PruneTrial" not in (run / "config.yaml").read_text(), "it can be run again without the sweep"


def test_the_last_epoch_is_not_pruned(tmp_path: Path) -> None:
    shared = study_of_good_trials(tmp_path / "log")
    prune = PruneTrial(TrialPlace(str(tmp_path / "log"), "s", shared.study.ask(RATE).number, "median"))
    tiny_trainer(tmp_path, [prune], max_epochs=2).fit(tiny_module(num_classes=3), datamodule=TinyData())
    assert not (tmp_path / PRUNED).exists()


def quick(tmp_path: Path, runs: QuickRuns, trials: int) -> tuple[optuna.Study, list[str]]:
    told: list[str] = []
    return run_trials(SWEEP, StudyFolder(tmp_path / "s"), runs, trials, told.append), told


def test_pruned_trials_count_and_are_never_the_best(tmp_path: Path) -> None:
    study, told = quick(tmp_path, QuickRuns(pruned=1e-3), 12)
    states = [trial.state for trial in study.get_trials()]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED} and len(states) == 12
    assert study.best_value < 1e-3 and any("pruned after epoch 1" in line for line in told)
    assert "with the best of 12 trials by validation" in (tmp_path / "s" / "best.yaml").read_text()
    with pytest.raises(ValueError, match=r"no trial of .* has trained to its end"):
        quick(tmp_path / "other", QuickRuns(pruned=0), 2)


def test_values_that_failed_are_not_tried_again(tmp_path: Path) -> None:
    runs = QuickRuns(failing=1e-3)
    study, _ = quick(tmp_path, runs, 8)
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 8 and len(runs.rates) > 8
    assert len(set(runs.rates)) == len(runs.rates)


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_two_processes_do_what_was_asked_once(kind: str, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/shared.db" if kind == "sqlite" else str(tmp_path / "shared.log")
    both = [start(tmp_path / name, address, 8, 0.4) for name in "ab"]
    for process in both:
        process.join(200)
    assert [process.exitcode for process in both] == [0, 0]
    (study,) = optuna.get_all_study_names(open_storage(address))
    trials = optuna.load_study(study_name=study, storage=open_storage(address)).get_trials()
    done = [trial.params["model.lr"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == 8 == len(set(done)), "none twice"
    assert all(trial.state == TrialState.COMPLETE or trial.user_attrs.get("surplus") for trial in trials)
    runs = [len(list((tmp_path / name).glob("runs/*"))) for name in "ab"]
    assert sum(runs) == 8, "whichever of the two did them"


def test_the_trial_of_a_killed_process_is_taken_up(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/shared.db"
    killed = start(tmp_path / "a", address, 3, 500)
    deadline = time.monotonic() + 100
    while not (tmp_path / "a" / "recipe.yaml").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    killed.kill()
    other = start(tmp_path / "b", address, 3, 0)
    other.join(200)
    assert other.exitcode == 0 and "[3 of 3]" in (tmp_path / "b.txt").read_text()
    (name,) = optuna.get_all_study_names(open_storage(address))
    trials = optuna.load_study(study_name=name, storage=open_storage(address)).get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    (again,) = (trial for trial in trials if "taken up" in trial.user_attrs)
    assert again.params == trials[0].params and again.user_attrs["taken up"] == 0


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gone/shared.log", "the storage must be a database, such as sqlite:///shared.log.db, or a file in a folder"),
        ("sqlite:////gone/folder/x.db", "the storage sqlite:////gone/folder/x.db cannot be used: "),
        ("nosuch://user:secret@host/db", "the storage nosuch://…@host/db cannot be used: "),
    ],
)
def test_storages_that_are_none(address: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as error:
        open_storage(address)
    assert str(error.value).startswith(message) and "secret" not in str(error.value)


def test_pruners_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sweep", "--recipe", "satellite_fine_tune", "--search", "model.lr=log:1e-5:1e-2", "--pruner", "best"]
    assert "invalid choice: 'best'" in error_of(asked, capsys)
