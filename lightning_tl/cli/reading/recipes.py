"""Where the recipes are, and what their first lines say."""

from __future__ import annotations

from pathlib import Path

from lightning_tl.cli.errors import UserError, nearest

_PACKAGE = Path(__file__).resolve().parents[2]


def recipe_folder() -> Path:
    """`lightning_tl/recipes` of an installed wheel, or `recipes` of the checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def recipes() -> dict[str, Path]:
    """All recipes that ship, by name."""
    return {path.stem: path for path in sorted(recipe_folder().glob("*.yaml"))}


def first_line(path: Path) -> str:
    """What a recipe shows and the metric to expect."""
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def find_recipe(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: of a recipe that ships, or the path of a user's own YAML file.

    Raises:
        UserError: nothing of that name; the message has the nearest names.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_dir():
            return path.resolve()
        if not path.is_file():
            found = sorted(str(other) for other in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
            raise UserError(
                f"the recipe {name} does not exist{nearest(name, found)}; looked in {path.parent.resolve()}"
            )
        return path.resolve()
    known = recipes()
    if name not in known:
        near = nearest(name, known) or f" (there are: {', '.join(known)})"
        raise UserError(f"there is no recipe '{name}'{near}; your own is given by its path, like ./{name}.yaml")
    return known[name]
