"""The Dockerfile installs what serving imports, nothing that trains, and runs as nobody of importance."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ROOMS = ("serving", "search", "inputs")
NAMES = {
    "faiss-cpu": "faiss",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "pyyaml": "yaml",
}
BROUGHT = {"starlette", "pydantic", "pydantic_core", "anyio"}  # by fastapi
STORES = {"qdrant_client", "psycopg", "pgvector", "psycopg_pool", "qdrant_edge"}  # of other machines


def installed() -> set[str]:
    (line,) = re.findall(r"--constraint \S+ \\\n\s*([a-z0-9 -]+?) \\", TEXT)
    return set(line.split())


def test_what_serving_imports_is_installed() -> None:
    imported = set()
    for path in (path for room in ROOMS for path in (ROOT / "lightning_tl" / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    needed = imported - set(sys.stdlib_module_names) - {"lightning_tl"} - BROUGHT - STORES
    assert needed <= {NAMES.get(name, name) for name in installed()}


def test_it_is_pinned_small_and_not_root() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert installed() <= pinned
    assert not installed() & {"torch", "transformers", "lightning", "pandas"}
    assert re.search(r"^USER (?!root)", TEXT, re.MULTILINE) and "HEALTHCHECK" in TEXT and "--no-deps" in TEXT
