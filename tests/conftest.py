"""Every test runs offline and leaves cores to others."""

from __future__ import annotations

import gc
import multiprocessing.spawn
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start
os.environ["LIGHTNING_TL_PICTURES"] = "0"  # a third of a short run; tests of pictures ask for `drawn_pictures`
os.environ.pop("LIGHTNING_TL_RUN_FOLDER", None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background of a shell, as are its processes
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from cpu_times import CpuTimes, mark_slow
from ports import free_port


@pytest.fixture(autouse=True)
def own_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port on which processes of this test find each other, unless they are given one."""
    monkeypatch.setenv("MASTER_PORT", str(free_port()))


@pytest.fixture
def drawn_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw their pictures, as they do outside tests."""
    monkeypatch.delenv("LIGHTNING_TL_PICTURES")


@pytest.fixture(scope="module")
def module_of_pictures() -> Iterator[None]:
    """The same for fixtures of a whole module, and for the tests after them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LIGHTNING_TL_PICTURES")
        yield


@pytest.fixture
def warm_children(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs and processes that the tested code starts need not import torch and its like anew."""
    from warm_python import warm_executable

    monkeypatch.setattr(sys, "executable", warm_executable())
    before = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(warm_executable())
    yield
    multiprocessing.set_executable(before)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny text encoders of all families, by name, and a tiny `vit`. Leave it as it is."""
    from tiny import tiny_vit
    from tiny_text import TINY_TEXT, save_text_model

    root = tmp_path_factory.mktemp("models")
    for family in TINY_TEXT:
        save_text_model(family, root)
    tiny_vit(root)
    return root


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many as there are cores, up to four, for whole rooms; none for one file, whose tests stay together anyway."""
    files = {argument.partition("::")[0] for argument in config.args}
    if config.option.collectonly or (len(files) == 1 and files.pop().endswith(".py")):
        return 0
    return min(4, 1 + (os.cpu_count() or 1))  # one more than cores: tests of several processes wait for each other


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-times",
        type=int,
        nargs="?",
        const=20,
        metavar="N",
        help="print the CPU seconds of rooms, files and the N dearest tests, and where the list of slow ones is wrong",
    )
    parser.addoption("--write-slow", action="store_true", help="list the tests that were slow in slow_tests.txt")


def pytest_configure(config: pytest.Config) -> None:
    shown = config.getoption("--cpu-times")
    if shown is not None:
        config.pluginmanager.register(CpuTimes(shown, config.getoption("--write-slow")))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import what every test needs, once and without looking for garbage in it, where tests run.

    The process that hands tests out to others needs none of it.
    """
    if session.config.pluginmanager.hasplugin("dsession"):
        return
    gc.disable()
    import lightning.pytorch  # noqa: F401  # its log handler takes the stream of this moment, not of one test
    import torch

    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is there before the first test is no garbage of any: a tenth of all time went into looking through it."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else some libraries take it for a leak at the end


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes must name tests alike, else they cannot share the work; slow ones are marked."""
    unstable = sorted({item.nodeid.partition("[")[0] for item in items if " at 0x" in item.nodeid})
    if unstable:
        raise pytest.UsageError(f"give these tests ids; theirs have an object's address: {', '.join(unstable)}")
    mark_slow(items)
