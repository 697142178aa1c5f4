"""The house rules that a machine can hold: which way imports flow, how long files are, what starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("lightning_tl", "datamodules")
SOURCES = sorted(path for room in (*PACKAGES, "scripts") for path in (ROOT / room).rglob("*.py"))
DRAWERS = ("utils.py", "helpers.py", "misc.py", "common.py")


def test_imports_flow_one_way() -> None:
    """Between rooms, between the files and rooms inside each, and across the border to the data: see pyproject.toml."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_are_absolute() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_commands_are_a_few_lines() -> None:
    """`scripts/` itself calls the command line and nothing else; what measures and makes lies in rooms beneath."""
    long = {
        path.name: lines
        for path in (ROOT / "scripts").glob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 15
    }
    assert long == {}


def test_files_are_short_and_no_drawer_for_odds_and_ends() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert long == {}, "split these by idea"
    assert [str(path) for path in SOURCES if path.name in DRAWERS] == []


def test_tests_import_no_other_tests() -> None:
    """What several use lies in `tests/support`; a test file that is renamed or split takes nothing of another along."""
    imported = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.rpartition(".")[2].startswith("test_")
    ]
    assert imported == []


def test_what_we_warn_of_is_a_notice() -> None:
    """So that a test or a program can tell it from what a library warns of; a moved module is told as Python does."""
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in PACKAGES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("warn", "rank_zero_warn")
        if not {"Notice", "FutureWarning"} & {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    ]
    assert bare == [], "add category=Notice, of lightning_tl.contracts.notice"


def test_every_room_says_what_lives_there() -> None:
    """Its `__init__.py` does, in a sentence or more."""
    rooms = {path.parent for path in SOURCES if path.relative_to(ROOT).parts[0] in PACKAGES}
    silent = [str(room.relative_to(ROOT)) for room in sorted(rooms) if not _says(room / "__init__.py")]
    assert silent == []


def _says(file: Path) -> bool:
    return file.is_file() and bool(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))


def test_the_command_line_starts_without_torch() -> None:
    """What is loaded before the recipe is known imports nothing heavy, so that help and mistakes answer at once."""
    early = ["entry", "options", "reading.recipes", "commands.embed_options", "commands.recommend_options"]
    code = f"""if True:
        import importlib, sys
        for name in {early}:
            importlib.import_module("lightning_tl.cli." + name)
        print(sorted({{"torch", "lightning", "jsonargparse", "datamodules", "numpy"}} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
