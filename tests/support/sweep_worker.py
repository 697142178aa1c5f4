"""A sweep whose runs take a moment and train nothing, for processes that share one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from tiny_run import server

from lightning_tl.choosing.study.processes import Job
from lightning_tl.choosing.study.study_folder import StudyFolder
from lightning_tl.choosing.sweep.prune_trial import PRUNED
from lightning_tl.choosing.sweep.space import Space
from lightning_tl.choosing.sweep.sweep import Sweep, run_trials

SWEEP = Sweep("r", {"model": "M"}, [Space.parse("model.lr=log:1e-6:1")])


class QuickRuns:
    """Leaves what a run leaves: its loss is its rate. Rates above `failing` fail; those above `pruned` are pruned."""

    def __init__(self, takes_s: float = 0.0, failing: float = 2.0, pruned: float = 2.0) -> None:
        self.takes_s, self.failing, self.pruned = takes_s, failing, pruned
        self.rates: list[float] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, str | None]]:
        for number, job in enumerate(jobs):
            rate = float(next(word for word in job.arguments if word.startswith("--model.lr=")).partition("=")[2])
            run = Path(job.arguments[job.arguments.index("--run_folder") + 1])
            self.rates.append(rate)
            time.sleep(self.takes_s)
            if rate > self.failing:
                yield number, "it went off"
                continue
            run.mkdir(parents=True)
            (run / "metrics.csv").write_text(f"epoch,step,val_loss\n0,1,{rate}\n")
            if rate > self.pruned:
                (run / PRUNED).write_text(json.dumps({"epoch": 1}))
            (run / "summary.json").write_text(json.dumps({"seconds": {"training": 1.0}}))
            yield number, None


def work(folder: str, address: str, trials: int, takes_s: float) -> None:
    """Do so many trials, with others; what is told goes to `told.txt` beside the folder."""
    with open(f"{folder}.txt", "w", encoding="utf-8") as told:
        run_trials(
            SWEEP,
            StudyFolder(Path(folder)),
            QuickRuns(takes_s),
            trials,
            lambda line: print(line, file=told, flush=True),
            address,
            heartbeat_s=1,
        )


def start(folder: Path, address: str, trials: int, takes_s: float) -> BaseProcess:
    """A process that does `work`, forked from one that has imported everything."""
    process = server().Process(target=work, args=(str(folder), address, trials, takes_s))
    process.start()
    return process
