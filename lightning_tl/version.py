"""The product's version, which is written down in one place, pyproject.toml, and those of what it stands on."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_PACKAGES = ("torch", "lightning", "transformers", "timm", "peft", "sentence-transformers", "faiss-cpu")


def version_of_this() -> str:
    """What pyproject.toml says in a checkout, and what was made of it at installation elsewhere.

    A checkout's own file comes first: an editable installation keeps the version of the day that it was installed.
    """
    if _CHECKOUT.is_file():
        project = tomllib.loads(_CHECKOUT.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "lightning-tl":
            return str(project["version"])
    return importlib.metadata.version("lightning-tl")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a model does, those that are installed."""
    found = {"python": platform.python_version(), "lightning-tl": version_of_this()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def version_text() -> str:
    """What `lightning-tl --version` prints."""
    others = [f"{name} {version}" for name, version in versions().items() if name != "lightning-tl"]
    return f"lightning-tl {version_of_this()}\n{', '.join(others)}"
