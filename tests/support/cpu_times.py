"""What every test costs in CPU seconds, its processes' included; `pytest --cpu-times` prints it by room.

Seconds by the clock say little on a machine that does other things. Those of the processor are nearly the same on a
loaded machine and on a quiet one, so the marks `slow` and `long` go by them.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import psutil
import pytest

LIMITS_S = {"slow": 0.5, "long": 1.5}  # above which a test has the mark
LISTS = {mark: Path(__file__).with_name(f"{mark}_tests.txt") for mark in LIMITS_S}
_START = pytest.StashKey[float]()


def cpu_seconds() -> float:
    """CPU seconds of this process, of the processes under it, and of those that these waited for."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has just ended; whoever waited for it has its time
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


class CpuTimes:
    """Adds the seconds of each test to its report, and prints them at the end.

    A fixture's cost falls on the first test that asks for it.
    """

    def __init__(self, shown: int, write: bool) -> None:
        self.shown, self.write = shown, write
        self.seconds: dict[str, float] = {}
        self.marked: dict[str, set[str]] = {mark: set() for mark in LIMITS_S}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        item.stash[_START] = cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> object:
        report = yield
        if call.when == "teardown":
            report.user_properties.append(("cpu_seconds", cpu_seconds() - item.stash[_START]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name == "cpu_seconds":
                self.seconds[report.nodeid] = float(str(value))
                for mark, names in self.marked.items():
                    names |= {report.nodeid} if mark in report.keywords else set()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("CPU seconds")
        for name, spent in sorted(self._sums().items(), key=lambda pair: -pair[1]):
            write(f"{spent:8.1f}  {name}")
        write("")
        for name, spent in sorted(self.seconds.items(), key=lambda pair: -pair[1])[: self.shown]:
            write(f"{spent:8.1f}  {name}")
        for mark, limit in LIMITS_S.items():
            above = {name for name, spent in self.seconds.items() if spent > limit}
            if self.write:
                LISTS[mark].write_text("".join(f"{name}\n" for name in sorted(above)), encoding="utf-8")
            for name in sorted(above ^ self.marked[mark]):
                verdict = (
                    f"is listed as {mark}, and is not" if name in self.marked[mark] else f"is {mark}, but not listed"
                )
                write(f"{name} {verdict} {mark}: {self.seconds[name]:.1f} s, the limit is {limit:g}")

    def _sums(self) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for name, spent in self.seconds.items():
            file = Path(name.partition("::")[0])
            for part in ("all", f"{file.parent}/", str(file)):
                sums[part] += spent
        return sums


def mark_slow(items: list[pytest.Item]) -> None:
    """Mark what the lists name."""
    listed = {mark: set(file.read_text(encoding="utf-8").splitlines()) for mark, file in LISTS.items()}
    for item in items:
        for mark, names in listed.items():
            if item.nodeid in names:
                item.add_marker(getattr(pytest.mark, mark))
