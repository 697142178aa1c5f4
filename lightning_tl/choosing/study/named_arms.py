"""The strategies and variants that come with the project, a file each."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("arms")


def arms() -> dict[str, Path]:
    """The strategies that come with the project, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def log_arms() -> dict[str, Path]:
    """The variants of two towers that come with the project, by name: each changes one thing in a recipe."""
    return {path.stem: path for path in sorted((FOLDER / "two_tower").glob("*.yaml"))}
