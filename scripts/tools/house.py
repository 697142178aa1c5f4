"""The house in figures: rooms and their files, arrows between them, depth of classes, files that run in a fit.

    python scripts/tools/house.py                 # this checkout
    python scripts/tools/house.py --root OTHER    # another one, such as an earlier version, with its own code
    python scripts/tools/house.py --trips         # files to open for writing what a page of docs/add_your_own shows
    python scripts/tools/house.py --files         # files that are imported, and that run, in a fit of two steps

`--trips` counts for each page the project's files that

- define a name which the page's Python imports from the project (where the class or function is, not where it is
  offered), and the module itself of a constant;
- hold the nearest base class's version of a method which the page's classes override;
- are a recipe of ours that the page starts from (`--recipe NAME`).

A file counts once a page. What bases inherit without the page's naming it is not counted: nobody has to read it.

`--files` fits three recipes, each in a process of its own. A file is imported when it stands in `sys.modules` at the
end, and it runs when one of its functions is called (Python's own profiling hook); "in a step" is from the Trainer's
taking a batch to its being done with it, the batch's loading and the optimizer included. Worker processes do not count.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

PACKAGES = ("lightning_tl", "datamodules")
MODULES = {
    "lightning_tl.strategies": None,
    "lightning_tl.pretraining": None,
    "lightning_tl.retrieval": ("TwoTower",),
}


def sources(root: Path) -> list[Path]:
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def print_rooms(root: Path) -> None:
    """How many files lie in each folder; an `__init__` with fewer than five lines is none."""
    counts = Counter(str(path.parent.relative_to(root)) for path in sources(root) if path.name != "__init__.py")
    median = statistics.median(counts.values())
    print(f"{len(counts)} rooms, {sum(counts.values())} files; files in a room: median {median:g}")
    print("largest:", ", ".join(f"{room} {count}" for room, count in counts.most_common(6)))
    print(f"loose files at the top: {counts.get('lightning_tl', 0)} + {counts.get('datamodules', 0)}")
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in sources(root) if path.name != "__init__.py"]
    print(f"lines in a file: median {statistics.median(lines)}, most {max(lines)}")


def print_arrows(root: Path) -> None:
    """Between top-level rooms: those that import one another, by the import statements in their files."""
    names = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in sources(root)}
    arrows = set()
    for path in sources(root):
        here = _room(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in _imported(node):
                there = name if name in names else name.rpartition(".")[0]
                if there in names and (room := _room(tuple(there.split(".")))) != here:
                    arrows.add((here, room))
    rooms = {room for arrow in arrows for room in arrow}
    print(f"{len(rooms)} top-level rooms with {len(arrows)} arrows between them")


def _room(parts: tuple[str, ...]) -> str:
    return ".".join(parts[:2]) if parts[0] == "lightning_tl" else parts[0]


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def print_depth() -> None:
    """Of each LightningModule: how many classes of this project its method resolution goes through, itself included."""
    depths = {}
    for room, wanted in MODULES.items():
        try:
            package = importlib.import_module(room)
        except ModuleNotFoundError:
            continue  # an earlier version has not every room
        for name in wanted or package.__all__:
            found = getattr(package, name)
            if inspect.isclass(found):
                chain = [kind for kind in found.__mro__ if kind.__module__.startswith("lightning_tl.")]
                if any("LightningModule" in kind.__name__ for kind in found.__mro__):
                    depths[name] = " -> ".join(kind.__name__ for kind in reversed(chain))
    for name, line in sorted(depths.items(), key=lambda item: -item[1].count("->")):
        print(f"  {line.count('->') + 1}  {name}: {line}")


# ---------------------------------------------------------------- files to open


def print_trips(root: Path) -> None:
    """For each page of docs/add_your_own."""
    pages = sorted((root / "docs" / "add_your_own").glob("*.md"))
    print(f"{len(pages)} pages of docs/add_your_own; files of the project to open for each:")
    for page in pages:
        files = trips(page, root)
        print(f"  {len(files)}  {page.stem}: {', '.join(sorted(files))}")


def trips(page: Path, root: Path) -> set[str]:
    """Files that a reader of the page has to open, relative to the root."""
    text = page.read_text(encoding="utf-8")
    shown = dict(re.findall(r'^```python title="(\w+)\.py"\n(.*?)^```', text, flags=re.MULTILINE | re.DOTALL))
    found = {root / "recipes" / f"{name}.yaml" for name in re.findall(r"--recipe[ =](\w+)(?!\w|\.)", text)}
    with tempfile.TemporaryDirectory() as folder:
        for name, code in shown.items():
            (Path(folder) / f"{name}.py").write_text(code, encoding="utf-8")
        sys.path.insert(0, folder)
        for name, code in shown.items():
            found |= _defining(code) | _overridden(importlib.import_module(name))
            del sys.modules[name]
        sys.path.remove(folder)
    own = {file.relative_to(root) for file in found if file.is_relative_to(root) and file.is_file()}
    return {
        str(file) for file in own if file.parts[0] in ("lightning_tl", "datamodules", "recipes")
    }  # no environment's


def _defining(code: str) -> set[Path]:
    """The files that define what the code imports."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            found |= {_file(getattr(module, alias.name), module) for alias in node.names}
    return found


def _overridden(module: ModuleType) -> set[Path]:
    """The files of the methods that the module's own classes override."""
    found = set()
    for kind in vars(module).values():
        for name in vars(kind) if inspect.isclass(kind) and kind.__module__ == module.__name__ else ():
            base = next((base for base in kind.__mro__[1:] if name in vars(base)), object)
            if not name.startswith("__") or name == "__init__":
                found.add(_file(base, module))
    return found


def _file(thing: Any, otherwise: ModuleType) -> Path:
    named = thing if inspect.isclass(thing) or inspect.isfunction(thing) else otherwise
    return Path(getattr(sys.modules.get(getattr(named, "__module__", named.__name__)), "__file__", None) or os.devnull)


# ---------------------------------------------------------------- files that run


BATCHES = "training_epoch_loop.py"  # of Lightning: its `advance` is one batch
FITS = {
    "satellite_vit": [],
    "text_lora": [],
    "two_tower": ["--data.events=log.csv", "--data.items=items.csv", "--data.texts=[text]"],
}


class Traced:
    """Collects the project's files whose functions are called while it is on, and those of training steps apart."""

    def __init__(self, root: Path) -> None:
        self.prefixes = tuple(str(root / package) + os.sep for package in PACKAGES)
        self.files: set[str] = set()
        self.of_steps: set[str] = set()
        self._in_step = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event in ("call", "return") and code.co_name == "advance" and code.co_filename.endswith(BATCHES):
            self._in_step = event == "call"
        if event == "call" and code.co_name != "<module>" and code.co_filename.startswith(self.prefixes):
            self.files.add(code.co_filename)
            if self._in_step:
                self.of_steps.add(code.co_filename)

    def watch(self, action: Callable[[], Any]) -> None:
        sys.setprofile(self)
        try:
            action()
        finally:
            sys.setprofile(None)


def write_log(folder: Path) -> None:
    """Events of 40 users with 30 items in 100 days, and the items' texts."""
    drawn = random.Random(0)
    events = [f"{drawn.randrange(40)},{drawn.randrange(30)},{1_700_000_000 + 8640 * k}" for k in range(1000)]
    (folder / "log.csv").write_text("\n".join(["user,item,time", *events]), encoding="utf-8")
    items = [f"{k},thing number {k}" for k in range(30)]
    (folder / "items.csv").write_text("\n".join(["item,text", *items]), encoding="utf-8")


def print_files_that_run(root: Path) -> None:
    """In a fit of two steps of each of `FITS`."""
    for recipe in FITS:
        command = [sys.executable, __file__, "--root", str(root), "--fit", recipe]
        done = subprocess.run(command, capture_output=True, text=True)
        said = [line for line in done.stdout.splitlines() if line.startswith(f"{recipe}: ")]
        print(said[0] if said else f"{recipe}: failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")


def fit(recipe: str, root: Path) -> None:
    """Fit the recipe and print how many files that took."""
    cli = importlib.import_module("lightning_tl.cli")
    short = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--test=false", "--trainer.accelerator=cpu"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    traced = Traced(root)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_log(Path(folder))
        given = ["--recipe", recipe, f"--run_folder={folder}/run", *short, *quiet, *FITS[recipe]]
        traced.watch(lambda: cli.main(given))
        os.chdir(root)
    loaded = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    imported = sum(file.startswith(traced.prefixes) for file in loaded)
    print(f"{recipe}: {imported} files imported, {len(traced.files)} run in the fit, {len(traced.of_steps)} in a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent.parent)
    parser.add_argument("--files", action="store_true", help="also count files that run, which takes some minutes")
    parser.add_argument(
        "--trips", action="store_true", help="also count the files to open for each page of add_your_own"
    )
    parser.add_argument("--fit", choices=list(FITS), help="count the files of this fit alone")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    sys.path.insert(0, str(root))  # with that checkout's own code
    if arguments.fit:
        fit(arguments.fit, root)
        return
    print_rooms(root)
    print_arrows(root)
    print_depth()
    if arguments.trips:
        print_trips(root)
    if arguments.files:
        print_files_that_run(root)


if __name__ == "__main__":
    main()
