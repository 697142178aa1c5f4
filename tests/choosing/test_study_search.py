"""By which metric, and in which direction, a study chooses rates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lightning_tl.choosing.study import Arm, StudyPlan, compare
from lightning_tl.choosing.study.plan import RATES
from lightning_tl.choosing.study.processes import Job
from lightning_tl.choosing.study.study_folder import StudyFolder


class WrittenRuns:
    """In the place of processes: writes what a run leaves, its metric a hill over the rates with its top at one."""

    def __init__(self, monitor: str | None, mode: str, top: float) -> None:
        self.monitor, self.mode, self.top = monitor, mode, top

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, str | None]]:
        for number, job in enumerate(jobs):
            if job.arguments[0] == "test":
                run = Path(job.arguments[2])
                (run / "predictions").mkdir()
                (run / "predictions" / "test.parquet").touch()
                (run / "summary.json").write_text(json.dumps({"test": {}, "seconds": {"training": 1.0}}))
            else:
                self._write(Path(job.arguments[job.arguments.index("--run_folder") + 1]), job.arguments)
            yield number, None

    def _write(self, run: Path, arguments: list[str]) -> None:
        run.mkdir(parents=True)
        rate = next((float(word.split("=")[1]) for word in arguments if word.startswith("--model.lr=")), RATES[0])
        value = 10.0 - abs(RATES.index(rate) - RATES.index(self.top))
        loss = 1 / value  # least at the top as well, but for its own column
        columns = {"val_loss": loss} | ({self.monitor: value if self.mode == "max" else -value} if self.monitor else {})
        (run / "metrics.csv").write_text(f"step,{','.join(columns)}\n1,{','.join(map(str, columns.values()))}\n")
        (run / "config.yaml").write_text(json.dumps({"checkpoint": {"monitor": self.monitor, "mode": self.mode}}))
        (run / "summary.json").write_text(json.dumps({"seconds": {"training": 1.0}}))


@pytest.mark.parametrize(
    ("monitor", "mode", "top"),
    [
        ("val_mrr", "max", 1e-2),
        ("val_mrr", "max", 3e-6),  # beyond the first four
        ("val_error", "min", 1e-3),
        ("val_loss", "min", 3e-5),
        (None, "min", 1e-4),  # nothing is monitored: the loss
    ],
)
def test_the_best_of_the_monitored_metric_is_chosen(monitor: str | None, mode: str, top: float, tmp_path: Path) -> None:
    arms = [Arm(name, {"model": "M"}, {"model.lr": 1.0}) for name in ("a", "b")]
    plan = StudyPlan("r", arms, draws=2, search=4, search_draws=2)
    told: list[str] = []
    chosen = compare(plan, StudyFolder(tmp_path / "s"), WrittenRuns(monitor, mode, top), told.append)  # type: ignore[arg-type]
    assert chosen.rates == {("a", None): top, ("b", None): top} and not chosen.failed
    tried = chosen.searches["a", None]
    best = max(tried, key=lambda rate: tried[rate]) if mode == "max" else min(tried, key=lambda rate: tried[rate])
    assert best == top and (mode != "max" or tried[top] == 10.0), "as it was logged, with its own sign"
    assert any(f"{monitor or 'val_loss'} " in line for line in told)


def test_a_recipes_own_rate_is_the_only_one_where_nothing_is_searched(tmp_path: Path) -> None:
    arms = [Arm(name, {"model": "M"}, {"model.lr": 1.0}, rate=rate) for name, rate in (("a", 3e-2), ("b", None))]
    plan = StudyPlan("r", arms, draws=1, search=1)
    chosen = compare(plan, StudyFolder(tmp_path / "s"), WrittenRuns("val_mrr", "max", 1e-3), print)  # type: ignore[arg-type]
    assert chosen.rates == {("a", None): 3e-2, ("b", None): RATES[5]}
    again = compare(
        plan, StudyFolder(tmp_path / "s"), WrittenRuns("val_mrr", "max", 1e-3), print, report_only=True  # type: ignore[arg-type]
    )  # fmt: skip
    assert again.rates == chosen.rates and again.searches == chosen.searches
