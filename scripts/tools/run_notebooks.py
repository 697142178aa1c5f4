"""Execute the notebooks of the documentation and write what comes out back into them.

    python scripts/tools/run_notebooks.py                    # all of docs/notebooks
    python scripts/tools/run_notebooks.py text               # this one
    python scripts/tools/run_notebooks.py --check            # write nothing; say which figures are other ones

Each runs in a fresh kernel of this Python, on one core and in a temporary folder, where its caches lie as well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "docs" / "notebooks"
TIMEOUT_S = 600  # of a cell
TOLERANCE = 0.05  # of a figure with decimals: a network trained on another processor has accuracies some 0.01 away
MAY_DIFFER = "may-differ"  # tag of a cell whose text is no figure, such as a list that a rounding may reorder
_KERNEL = "this-python"
_FIGURE = re.compile(r"[+-]?\d+\.\d+")

_nbformat: Any = nbformat  # has no types


def read(path: Path) -> Any:
    """A notebook as nbformat has it."""
    return _nbformat.read(path, as_version=4)


def run_notebook(path: Path, folder: Path) -> Any:
    """The notebook with the outputs of a fresh run, as nbformat has it.

    Args:
        path: of the notebook, which stays as it is.
        folder: an empty one, which the run writes to.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook: Any = read(path)
    places = {name: str(folder / name.lower()) for name in ("IPYTHONDIR", "HF_HOME", "TMPDIR")}
    for place in places.values():
        Path(place).mkdir()
    environment = {**os.environ, **places, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("MPLBACKEND", None)  # else figures are not shown
    kernels = KernelSpecManager(kernel_dirs=[str(_only_this_python(folder / "kernels"))])
    connection = str(folder / "connection.json")
    manager = AsyncKernelManager(kernel_spec_manager=kernels, kernel_name=_KERNEL, connection_file=connection)
    client = NotebookClient(notebook, km=manager, timeout=TIMEOUT_S, record_timing=False)
    client.execute(cwd=str(folder), env=environment)
    notebook.metadata = read(path).metadata  # without the version of this Python
    return notebook


def _only_this_python(folder: Path) -> Path:
    """A folder of kernels with one, the Python that runs this, whatever is installed on the machine."""
    command = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
    (folder / _KERNEL).mkdir(parents=True)
    (folder / _KERNEL / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "this Python", "language": "python"}), encoding="utf-8"
    )
    return folder


def texts(notebook: Any) -> list[str]:
    """What each cell of code has put out as text, in order; nothing of pictures, and of cells that may differ."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and MAY_DIFFER not in cell.metadata.get("tags", ()):
            data = [part.get("data", {}) for part in cell.outputs]
            shown = ["" if "image/png" in kinds else kinds.get("text/plain", "") for kinds in data]
            parts = zip(cell.outputs, shown, strict=True)
            found.append("".join(part.get("text", "") + text for part, text in parts))
    return found


def differences(kept: Any, fresh: Any) -> list[str]:
    """Lines of text that another run does not give again.

    Words and whole numbers must be the same; of figures with decimals the last digits may differ by `TOLERANCE`.
    """
    found = []
    for before, after in zip(texts(kept), texts(fresh), strict=True):
        pairs = zip_longest(before.splitlines(), after.splitlines(), fillvalue="")
        found += [f"{a!r} became {b!r}" for a, b in pairs if not _alike(a, b)]
    return found


def _alike(first: str, second: str) -> bool:
    if " ".join(_FIGURE.sub("#", first).split()) != " ".join(_FIGURE.sub("#", second).split()):
        return False
    pairs = zip(_FIGURE.findall(first), _FIGURE.findall(second), strict=True)
    return all(abs(float(a) - float(b)) <= TOLERANCE + 1e-9 for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default all")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a figure has changed")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(known)):
        parser.error(f"there is no notebook {', '.join(unknown)} in {NOTEBOOKS}; there are: {', '.join(known)}")
    changed = []
    for name in given.names or known:
        path = NOTEBOOKS / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            fresh = run_notebook(path, Path(folder))
        found = differences(read(path), fresh)
        print(f"{name}: {len(found)} figures have changed" if found else f"{name}: the same figures")
        changed += [f"{name}: {line}" for line in found]
        if not given.check:
            _nbformat.write(fresh, path)
    print("\n".join(changed), end="\n" if changed else "")
    sys.exit(1 if given.check and changed else 0)


if __name__ == "__main__":
    main()
