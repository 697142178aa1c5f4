"""Programs in fresh processes that need not import torch and its like anew, which is most of what a program costs.

One process has imported the libraries that others have written and nothing of this project; each program runs in a fork
of it. Everything of ours is imported by the program itself, in its own order and from its own folder.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

LIBRARIES = "lightning.pytorch, torchmetrics, torchvision, transformers, pandas, pyarrow.parquet, jsonargparse"
_LOOP = f"""
import json, os, runpy, sys
import {LIBRARIES}, torch
torch.set_num_threads(1)
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        sys.stdin = open(os.devnull)
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        first, *rest = job["arguments"]
        sys.path[0:1] = [*filter(None, job["environment"].get("PYTHONPATH", "").split(os.pathsep))]
        if first == "-c":
            sys.argv, code = ["-c", *rest[1:]], rest[0]
            sys.path.insert(0, "")
            import types
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            program = lambda: exec(compile(code, "<string>", "exec"), main.__dict__)
        else:
            sys.argv = [first, *rest]
            sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
            program = lambda: runpy.run_path(first, run_name="__main__")
        try:
            program()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    replies.write(str(os.waitstatus_to_exitcode(status)) + chr(10))
    replies.flush()
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    server = subprocess.Popen([sys.executable, "-c", _LOOP], stdin=pipe, stdout=pipe, text=True, env=environment)
    atexit.register(server.kill)
    return server


def warm_python(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS` gives in `folder`, as `subprocess.run` with captured text gives it.

    Args:
        arguments: a script and its arguments, or `-c` and a program.
        environment: variables beside those of this process; those of a run that trains here are left out.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LIGHTNING_TL", "PL_"))}
    files = {name: str(folder / f".{name}.txt") for name in ("stdout", "stderr")}
    job = {"arguments": arguments, "folder": str(folder), "environment": {**variables, **environment}, **files}
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    output, errors = (Path(file).read_text() for file in files.values())
    for file in files.values():
        Path(file).unlink()
    return subprocess.CompletedProcess(arguments, code, output, errors)
