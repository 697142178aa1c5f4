"""The wheel carries everything, and the declared dependencies are those that the code imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}


def imported(folder: str) -> set[str]:
    """Top-level names of what the files of a folder import, at the top of a file or inside functions."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"lightning_tl", "datamodules"}


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for room in ("lightning_tl", "datamodules")
        for path in (ROOT / room).rglob("*.py")
    }
    listed = set(PROJECT["tool"]["setuptools"]["packages"]) - {"lightning_tl.recipes", "datamodules.land_cover"}
    assert found <= listed
    assert {name for name in listed if not (ROOT / name.replace(".", "/")).is_dir()} == set()


def test_dependencies_are_what_is_imported() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    optional = requirement_names(extras["timm"] + extras["wandb"] + extras["quickstart"] + extras["dev"])
    core = requirement_names(project["dependencies"])
    importable = {IMPORT_NAMES.get(name, name) for name in core | optional}
    brought_along = {"typing_extensions", "tqdm", "huggingface_hub", "httpx", "lightning_utilities"}
    assert imported("lightning_tl") | imported("datamodules") <= importable | brought_along


def test_constraints_are_exact_and_the_same_everywhere() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.\-]+==[\w.]+", line) for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert not {name for name in names if name.startswith(("nvidia", "cuda", "triton"))}
    project = PROJECT["project"]
    wanted = requirement_names(project["dependencies"]).union(
        *(requirement_names(extra) for extra in project["optional-dependencies"].values())
    )
    assert wanted - {"lightning-tl"} <= names


def test_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment in which the wheel is installed, its dependencies taken from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(_copy_of_checkout(source))]
    subprocess.run(build, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    packages = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    # An editable install of this checkout in the outer environment must not hide the wheel: the wheel comes first.
    with zipfile.ZipFile(next(folder.glob("lightning_tl-*.whl"))) as wheel:
        wheel.extractall(packages)
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
