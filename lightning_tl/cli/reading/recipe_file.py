"""A recipe's file, looked at before anything heavy is imported: whether it is YAML that says each thing once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lightning_tl.cli.errors import UserError, nearest

SECTIONS = (
    "model",
    "data",
    "unfreezing",
    "learning_rates",
    "early_stopping",
    "probe",
    "checkpoint",
    "report",
    "retrieval_report",
    "wandb",
    "test",
    "trainer",
    "seed_everything",
    "ckpt_path",
    "weights_only",
    "verbose",
    "return_predictions",
)
_MOST_BYTES, _MOST_NODES, _DEEPEST = 2**20, 100_000, 60


def check_recipe_file(path: Path, others: Sequence[str] = ()) -> None:
    """Refuse a file that is no recipe, or that says two things at once.

    Args:
        path: of the file.
        others: names that it may have besides a recipe's sections.

    Raises:
        UserError: naming file and line: no text, no YAML, a section that stands twice, an unknown section, or aliases
            that unfold to more than anybody writes.
    """
    if path.is_dir():
        raise UserError(f"the recipe {path} is a folder; name a .yaml file in it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the recipe {path} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise UserError(
            f"the recipe {path} has {len(data):,} bytes, more than the {_MOST_BYTES:,} that a recipe may have"
        )
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UserError(
            f"the recipe {path} is no text in UTF-8 (byte {error.start + 1}): is it another file?"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"the recipe {path} is no YAML: {_said(error)}") from None
    except RecursionError:
        raise UserError(f"the recipe {path} is nested too deeply") from None
    if root is None:
        raise UserError(f"the recipe {path} is empty")
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"the recipe {path} must hold sections such as model: and data:, got {root.value!r:.40}")
    _check_nodes(root, path)
    for key, _ in root.value:
        name = str(key.value)
        if name not in (*SECTIONS, *others):
            near = nearest(name, (*SECTIONS, *others))
            raise UserError(f"{path}, line {_line(key)}: there is no field '{name}'{near}")


def _check_nodes(root: yaml.Node, path: Path) -> None:
    """Every key once in its mapping, and no more in all, aliases unfolded, than a recipe can need."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > _DEEPEST:
            raise UserError(f"the recipe {path} is nested too deeply, in line {_line(node)}")
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = total = 1
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                name = str(key.value)
                if name in seen and isinstance(key, yaml.ScalarNode) and name != "<<":
                    raise UserError(f"{path}: '{name}' stands twice, in lines {seen[name]} and {_line(key)}; keep one")
                seen[name] = _line(key)
                children.append(value)
        elif isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        for child in children:
            total += size(child, depth + 1)
            if total > _MOST_NODES:
                raise UserError(f"the recipe {path} unfolds to more than {_MOST_NODES:,} values by its aliases")
        sizes[id(node)] = total
        return total

    size(root, 0)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _said(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    return f"{problem}, in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else str(problem)
