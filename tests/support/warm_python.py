"""Programs in fresh processes that need not import torch and its like anew, which is most of what a program costs.

`warm_executable` is a Python to start programs with. A server has imported the libraries that others have written and
nothing of this project; each program runs in a fork of it, with the folder, variables and streams of its caller, which
passes signals on and ends as the program does. Everything of ours is imported by the program itself, in its own order
and from its own folder. Processes that the program starts by `sys.executable` are warm as well.

For programs whose start, process group or parents are what is tested take `sys.executable`.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIBRARIES = (
    "lightning.pytorch.cli, torchmetrics.classification, torchvision, transformers.modeling_utils, pandas, "
    "pyarrow.parquet, jsonargparse, scipy.stats, matplotlib.figure, matplotlib.backends.backend_agg"
)
_SERVER = f"""
import gc
gc.disable()
import atexit, fcntl, json, multiprocessing.spawn, os, runpy, selectors, signal, socket
import sys, threading, traceback, types
import {LIBRARIES}, torch
torch.set_num_threads(1)
gc.freeze()
gc.enable()
place, executable = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(place)
listener.listen(64)
woken, wakes = socket.socketpair()
for end in (woken, wakes):
    end.setblocking(False)
signal.signal(signal.SIGCHLD, lambda number, frame: None)
signal.set_wakeup_fd(wakes.fileno())
selector = selectors.DefaultSelector()
for waited in (sys.stdin, listener, woken):
    selector.register(waited, selectors.EVENT_READ)
callers = {{}}  # by the process that runs for them

def accept():
    caller, _ = listener.accept()
    size = int.from_bytes(caller.recv(8), "big")
    text, streams, _, _ = socket.recv_fds(caller, size, 200)
    while len(text) < size:
        text += caller.recv(size - len(text))
    child = os.fork()
    if child == 0:
        caller.close()
        return become(json.loads(text), streams)
    for stream in streams:
        os.close(stream)
    callers[child] = caller
    selector.register(caller, selectors.EVENT_READ)

def become(job, streams):
    global program
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    selector.close()
    for opened in (listener, woken, wakes, *callers.values()):
        opened.close()
    apart = [fcntl.fcntl(stream, fcntl.F_DUPFD, 512) for stream in streams]
    for stream in streams:
        os.close(stream)
    for number, stream in zip(job["streams"], apart):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", errors=errors, buffering=size, closefd=False)
        for number, mode, errors, size in ((0, "r", None, -1), (1, "w", None, -1), (2, "w", "backslashreplace", 1))
    )
    sys.executable = executable
    multiprocessing.set_executable(executable)
    multiprocessing.process.ORIGINAL_DIR = job["folder"]
    first, *rest = job["arguments"]
    sys.path[0:1] = [*filter(None, job["environment"].get("PYTHONPATH", "").split(os.pathsep))]
    if first == "-c":
        sys.argv, code = ["-c", *rest[1:]], rest[0]
        sys.path.insert(0, "")
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        program = lambda: exec(compile(code, "<string>", "exec"), main.__dict__)
    elif first == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        if rest[0] == "ipykernel_launcher":
            pandas.set_option("display.max_columns", 20)  # what pandas takes when it is imported in a notebook
        program = lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))
        program = lambda: runpy.run_path(first, run_name="__main__")

def reap():
    woken.recv(4096)
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        caller = callers.pop(child)
        try:
            selector.unregister(caller)
            caller.send(str(os.waitstatus_to_exitcode(status)).encode())
        except (KeyError, OSError):
            pass  # it was killed
        caller.close()

def hear(caller):
    child = next(child for child, other in callers.items() if other is caller)
    try:
        number = caller.recv(1)
    except OSError:
        number = b""
    os.kill(child, number[0] if number else signal.SIGKILL)
    if not number:
        selector.unregister(caller)  # its end is waited for all the same

program = None
while program is None:
    for key, _ in selector.select():
        if key.fileobj is sys.stdin:
            os._exit(0)  # who started it has ended
        elif key.fileobj is listener:
            accept()
        elif key.fileobj is woken:
            reap()
        elif key.fileobj in callers.values():
            hear(key.fileobj)
        if program is not None:
            break
code = 0
try:
    program()
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    if code == 1 and end.code != 1:
        print(end.code, file=sys.stderr)
except KeyboardInterrupt:
    traceback.print_exc()
    code = -signal.SIGINT
except BaseException:
    traceback.print_exc()
    code = 1
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join()
atexit._run_exitfuncs()
for stream in (sys.stdout, sys.stderr):
    try:
        stream.flush()
    except (OSError, ValueError):
        pass  # nobody reads it
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code & 255)  # without taking apart what the server has imported
"""
_CALLER = """\
#!{python} -IS
import json, os, signal, socket, sys
arguments = sys.argv[1:]
while arguments and arguments[0] in ("-u", "-s", "-B"):
    del arguments[0]
streams = []
for number in range(256):
    try:
        streams += [os.fstat(number) and number]
    except OSError:
        pass  # is not open
if not arguments or (arguments[0][:1] == "-" and arguments[0] not in ("-c", "-m")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
job = {{"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "streams": streams}}
text = json.dumps(job).encode()
server = socket.socket(socket.AF_UNIX)
server.connect({place!r})
server.sendall(len(text).to_bytes(8, "big"))
sent = socket.send_fds(server, [text], streams)
server.sendall(text[sent:])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: server.send(bytes([number])))
for stream in streams:
    os.close(stream)
code = int(server.recv(16) or 1)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def warm_executable() -> str:
    """A Python for `subprocess`, in place of `sys.executable`: `[warm_executable(), "script.py", …]`."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    place, executable = str(folder / "socket"), folder / "python"
    executable.write_text(_CALLER.format(python=sys.executable, place=place))
    executable.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", _SERVER, place, str(executable)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    atexit.register(_end, server, folder)
    while not (folder / "socket").exists():
        if server.poll() is not None:
            raise RuntimeError("the server of warm programs has ended")
        time.sleep(0.05)
    return str(executable)


def _end(server: subprocess.Popen[bytes], folder: Path) -> None:
    server.kill()
    server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def warm_python(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS` gives in `folder`, as `subprocess.run` with captured text gives it.

    Args:
        arguments: a script and its arguments, or `-c` and a program.
        environment: variables beside those of this process; those of a run that trains here are left out.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LIGHTNING_TL", "PL_"))}
    command = [warm_executable(), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**variables, **environment}, capture_output=True, text=True, timeout=600
    )
