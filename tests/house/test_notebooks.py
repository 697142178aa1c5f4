"""The notebooks of the documentation run, and give the figures that stand in them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
MOST_BYTES = 300_000
sys.path.append(str(ROOT / "scripts" / "tools"))

import run_notebooks as tool  # noqa: E402

each = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def notebook_of(*outputs: list[dict[str, Any]], tags: tuple[str, ...] = ()) -> Any:
    """A notebook with a cell of code for each list of outputs."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    cells = [
        new_code_cell("…", outputs=[new_output(**kind) for kind in kinds], metadata={"tags": list(tags)})
        for kinds in outputs
    ]
    return new_notebook(cells=cells)


def said(text: str) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in tool.read(path).cells if cell.cell_type == "code"]


# ---------------------------------------------------------------- the figures


@each
@pytest.mark.usefixtures("warm_children", "drawn_pictures")
def test_runs_and_gives_the_same_figures(path: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in NOTEBOOKS.iterdir()}
    fresh = tool.run_notebook(path, tmp_path)
    assert tool.differences(tool.read(path), fresh) == []
    assert {file.name: file.read_bytes() for file in NOTEBOOKS.iterdir()} == before, "runs write elsewhere"


@each
def test_holds_the_outputs_of_one_whole_run(path: Path) -> None:
    """From a fresh kernel, cell by cell, with figures and pictures among them."""
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [part for cell in cells for part in cell.outputs]
    assert sum("image/png" in part.get("data", {}) for part in outputs) >= 2
    assert sum(len(tool._FIGURE.findall(text)) for text in tool.texts(tool.read(path))) >= 9, (
        "scores and their intervals"
    )


@each
def test_shows_nothing_of_the_machine(path: Path) -> None:
    """No warnings, no paths, no times: what stands there is the same on every machine."""
    outputs = [part for cell in code_cells(path) for part in cell.outputs]
    assert [part for part in outputs if part.get("name") == "stderr" or part.output_type == "error"] == []
    text = "\n".join(part.get("text") or part.get("data", {}).get("text/plain", "") for part in outputs)
    assert (
        re.findall(r"site-packages|(?<!\w)/(?:tmp|home|root|usr|Users|var)/|\b\d+(?:\.\d+)? (?:s|ms|min)\b", text) == []
    )
    assert "execution" not in {name for cell in code_cells(path) for name in cell.metadata}
    assert path.stat().st_size < MOST_BYTES


# ---------------------------------------------------------------- what the cells say


@each
def test_links_lead_somewhere(path: Path) -> None:
    texts = [cell.source for cell in tool.read(path).cells if cell.cell_type == "markdown"]
    links = [link for text in texts for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert links
    assert [link for link in links if "://" not in link and not (path.parent / link).is_file()] == []


def test_all_are_on_the_page() -> None:
    page = (NOTEBOOKS / "index.md").read_text(encoding="utf-8")
    assert {path.name for path in PATHS} == set(re.findall(r"\((\w+\.ipynb)\)", page))


# ---------------------------------------------------------------- the tool


@pytest.mark.parametrize(
    ("kept", "fresh", "changed"),
    [
        ("probe 0.787 [0.703, 0.852]", "probe 0.787 [0.703, 0.852]", 0),
        ("probe 0.787 [0.703, 0.852]", "probe 0.791  [0.703, 0.860]", 0),
        ("probe 0.787 [0.703, 0.852]", "probe 0.787 [0.703, 0.903]", 1),
        ("difference +0.010", "difference -0.040", 0),
        ("difference +0.010", "difference -0.041", 1),
        ("probe 0.787", "forest 0.787", 1),
        ("probe 0.787", "probe nan", 1),
        ("probe 0.787", "probe 0.787 0.787", 1),
        ("1,007 tiles", "1,008 tiles", 1),
        ("probe 0.787", "", 1),
        ("", "a warning", 1),
        ("a 0.1\nb 0.2", "a 0.2\nb 0.1", 2),
    ],
)
def test_figures_are_compared(kept: str, fresh: str, changed: int) -> None:
    assert len(tool.differences(notebook_of(said(kept)), notebook_of(said(fresh)))) == changed


def test_figures_are_compared_cell_by_cell_and_pictures_are_not() -> None:
    table = [{"output_type": "execute_result", "data": {"text/plain": "barren 540"}}]
    other = [{"output_type": "execute_result", "data": {"text/plain": "barren 541"}}]
    drawn, drawn_again = (
        [{"output_type": "display_data", "data": {"image/png": name, "text/plain": f"<Figure of {name}>"}}]
        for name in ("one", "another")
    )
    assert tool.differences(notebook_of(table, drawn), notebook_of(table, drawn_again)) == []
    assert len(tool.differences(notebook_of(table, drawn), notebook_of(other, drawn))) == 1
    assert len(tool.differences(notebook_of(said("a"), []), notebook_of([], said("a")))) == 2
    free = [notebook_of(said(text), tags=(tool.MAY_DIFFER,)) for text in ("one list", "another")]
    assert tool.differences(*free) == []


def test_a_fresh_kernel_is_this_python_in_a_folder_of_its_own(tmp_path: Path) -> None:
    import nbformat
    from nbclient.exceptions import CellExecutionError

    code = "import os, sys\nprint(sys.executable, os.getcwd(), os.environ['OMP_NUM_THREADS'], sep='\\n')"
    path, folder = tmp_path / "small.ipynb", tmp_path / "folder"
    folder.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (code, "1 / 0")])
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        tool.run_notebook(path, folder)
    assert path.read_bytes() == before
    notebook.cells.pop()
    nbformat.write(notebook, path)
    (tmp_path / "another").mkdir()
    found = tool.run_notebook(path, tmp_path / "another")
    assert tool.texts(found)[0].splitlines() == [sys.executable, str((tmp_path / "another").resolve()), "1"]
    assert found.metadata == notebook.metadata


def test_an_unknown_notebook_is_refused() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "tools" / "run_notebooks.py"), "sattelite"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no notebook sattelite" in done.stderr and "retrieval, satellite, text" in done.stderr
