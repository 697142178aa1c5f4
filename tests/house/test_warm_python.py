"""A warm Python is a Python: what it is given, what it says and how it ends are those of a cold one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_python import warm_executable, warm_python

PROGRAMS = {
    "output": "import sys; print('out'); print('err', file=sys.stderr)",
    "input": "print(input()[::-1])",
    "arguments, folder and variables": "import os, sys; print(sys.argv, os.getcwd(), os.environ['MINE'], __name__)",
    "code": "raise SystemExit(7)",
    "message": "raise SystemExit('no')",
    "bare end": "raise SystemExit",
    "error": "1 / 0",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "atexit": "import atexit; atexit.register(print, 'later')",
    "a thread": "import threading, time; threading.Timer(0.1, print, ['later']).start()",
    "no line at the end": "import sys; sys.stdout.write('a')",
    "a program of its own": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1)'])",
    "options": "import subprocess, sys; subprocess.run([sys.executable, '-X', 'utf8', '-c', 'print(1)'])",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_what_a_cold_one_gives(name: str, tmp_path: Path) -> None:
    found = []
    for python in (sys.executable, warm_executable()):
        done = subprocess.run(
            [python, "-c", PROGRAMS[name], "a b"], cwd=tmp_path, env={**os.environ, "MINE": "é"},
            input="abc\n", capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        last = done.stderr.splitlines()[-1:]  # lines of a traceback name other files
        found.append((done.returncode, done.stdout, last))
    assert found[0] == found[1]


def test_nothing_of_ours_is_loaded_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import sys\nprint('torch' in sys.modules, __file__, sys.path[0])\nsys.mine = 1\n")
    code = (
        "import sys; print({'lightning_tl', 'datamodules', 'pytest', 'own'} & set(sys.modules), hasattr(sys, 'mine'))"
    )
    script = warm_python(["own.py"], tmp_path)
    assert script.stdout.split() == ["True", "own.py", str(tmp_path)], script.stderr
    assert warm_python(["-c", code], tmp_path).stdout == "set() False\n"
    assert warm_python(["-m", "own"], tmp_path).stdout.split()[-1] == str(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(number: int, tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    process = subprocess.Popen([warm_executable(), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    mine = int(process.stdout.readline())
    assert mine != process.pid
    process.send_signal(number)
    assert process.wait(30) == -number
    deadline = time.monotonic() + 30
    while Path(f"/proc/{mine}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{mine}").exists()
    process.stdout.close()


@pytest.mark.usefixtures("warm_children")
def test_processes_of_multiprocessing_are_warm(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import multiprocessing, sys\n"
        "def tell(queue): queue.put('torch' in sys.modules)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=tell, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get(timeout=60), process.join(60), process.exitcode)\n"
    )
    done = warm_python(["own.py"], tmp_path)
    assert done.stdout == "True None 0\n", done.stderr
