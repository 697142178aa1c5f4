"""What a project says about itself in several places says the same: versions, Pythons, what CI runs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import lightning_tl
from lightning_tl.cli import main
from lightning_tl.version import versions

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_one_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert lightning_tl.__version__ == versions()["lightning-tl"] == PROJECT["version"]
    main(["--version"])
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"lightning-tl {PROJECT['version']}"
    assert read_yaml("CITATION.cff")["version"] == PROJECT["version"]


def test_the_version_is_written_in_no_source() -> None:
    holders = [
        str(path.relative_to(ROOT))
        for room in ("lightning_tl", "datamodules", "scripts")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"__version__ = [\"']", path.read_text(encoding="utf-8"))
    ]
    assert holders == []


def test_the_changelog_has_what_is_coming_or_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, flags=re.MULTILINE)
    assert len(headings) == len(re.findall(r"^## ", text, flags=re.MULTILINE)), "## [1.2.3] - 2026-01-31"
    assert headings[0] == "Unreleased" and set(headings[1:2]) <= {PROJECT["version"]}
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_pythons_agree() -> None:
    classified = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", name)]
    job = read_yaml(".github/workflows/ci.yml")["jobs"]["check"]
    assert job["strategy"]["matrix"]["python-version"] == classified
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    assert classified == [f"3.{minor}" for minor in range(int(low), int(high))]
    tried = re.search(r"for python in .*", (ROOT / ".ci" / "run").read_text()).group()  # type: ignore[union-attr]
    assert re.findall(r"python(3\.\d+)", tried) == classified
    runs = {step["run"]: step["if"] for step in job["steps"] if "run" in step}
    assert runs["bash .ci/run"] == f"matrix.python-version == '{classified[0]}'"
    others = "bash scripts/tools/other_pythons.sh python${{ matrix.python-version }}"
    assert runs[others] == f"matrix.python-version != '{classified[0]}'"
    searched = re.search(r"for version in .*", (ROOT / others.split()[1]).read_text()).group()  # type: ignore[union-attr]
    assert re.findall(r"3\.\d+", searched) == classified


def test_before_a_commit_runs_what_ci_checks() -> None:
    (repo,) = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in repo["hooks"]]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    checks = [line.partition(" >")[0] for line in lines if line.startswith(("ruff", "mypy"))]
    assert repo["repo"] == "local" and hooks == checks


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_forms_can_be_read(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert form["name"] and form["description"]
    fields = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(fields)) == len(fields) > 0


def test_no_page_is_kept_out_by_gitignore() -> None:
    """`runs/` without a leading slash once left out docs/runs/."""
    if not (ROOT / ".git").exists():
        return
    files = [str(path.relative_to(ROOT)) for room in ("docs", "recipes") for path in (ROOT / room).rglob("*.*")]
    asked = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True)
    assert [name for name in asked.stdout.split() if "__pycache__" not in name and "checkpoints" not in name] == []
