"""The house in figures: rooms and their files, arrows between them, depth of classes, files that run in a fit.

    python scripts/tools/house.py                 # this checkout
    python scripts/tools/house.py --root OTHER    # another one, such as an earlier version, with its own code

Files that run are counted in a fit of a tiny vision transformer and of a tiny two-tower model, and in one training step
of each, by Python's own tracing.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
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
        package = importlib.import_module(room)
        for name in wanted or package.__all__:
            found = getattr(package, name)
            if inspect.isclass(found):
                chain = [kind for kind in found.__mro__ if kind.__module__.startswith("lightning_tl.")]
                if any("LightningModule" in kind.__name__ for kind in found.__mro__):
                    depths[name] = " -> ".join(kind.__name__ for kind in reversed(chain))
    for name, line in sorted(depths.items(), key=lambda item: -item[1].count("->")):
        print(f"  {line.count('->') + 1}  {name}: {line}")


class Traced:
    """Collects the project's files whose functions are called while it is on."""

    def __init__(self, root: Path) -> None:
        self.prefixes = tuple(str(root / package) + os.sep for package in PACKAGES)
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            file = frame.f_code.co_filename
            if file.startswith(self.prefixes):
                self.files.add(file)

    def of(self, action: Callable[[], Any]) -> int:
        """How many files ran."""
        self.files = set()
        sys.setprofile(self)
        try:
            action()
        finally:
            sys.setprofile(None)
        return len(self.files)


def print_files_that_run(root: Path) -> None:
    """In a fit of one epoch of `satellite_vit`, and of the two towers on a small log."""
    from lightning_tl.cli import main

    short = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--test=false", "--trainer.accelerator=cpu"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    small = ["--data.users=40", "--data.items=60"]
    for recipe, more in (("satellite_vit", []), ("streamrec_two_tower", small)):
        with tempfile.TemporaryDirectory() as folder:
            given = ["--recipe", recipe, f"--run_folder={folder}/run", *short, *quiet, *more]
            os.environ.pop("LIGHTNING_TL_RUN_FOLDER", None)
            print(f"{recipe}: {Traced(root).of(lambda given=given: main(given))} files run in a fit")  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent.parent.parent
    parser.add_argument("--root", type=Path, default=here)
    parser.add_argument("--files", action="store_true", help="also count files that run, which takes a minute")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if root != here:  # with that checkout's own code
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, str(root / "scripts" / "tools" / "house.py")]
        if not Path(command[1]).is_file():
            command = [sys.executable, "-c", _run_there(root, arguments.files)]
        sys.exit(subprocess.run(command, env=environment, cwd=root).returncode)
    show(root, arguments.files)


def show(root: Path, files: bool) -> None:
    print_rooms(root)
    print_arrows(root)
    print_depth()
    if files:
        print_files_that_run(root)


def _run_there(root: Path, files: bool) -> str:
    return (
        f"import importlib.util as u, pathlib; s = u.spec_from_file_location('house', {str(Path(__file__))!r}); "
        f"m = u.module_from_spec(s); s.loader.exec_module(m); m.show(pathlib.Path({str(root)!r}), {files})"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
    main()
