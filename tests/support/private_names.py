"""Finds where sources use a name that begins with an underscore and that they do not define themselves."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

_BY_NAME = {"getattr", "setattr", "hasattr", "delattr"}
# Public in spite of the underscore: the documentation of Python itself describes them.
DOCUMENTED = {
    "_replace",
    "_asdict",
    "_fields",
    "_field_defaults",
    "_make",
    "_exit",
    "_missing_",
    "_generate_next_value_",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and name.strip("_") != "" and not name.startswith("__") and name not in DOCUMENTED


def private_names(sources: Mapping[str, ast.Module], own: tuple[str, ...]) -> list[str]:
    """Each use as `file:line name`.

    An attribute is known by its name alone: it may be anything that the same file defines, and behind `self`, `cls` and
    `super()` anything that some class of the sources defines, except where a base class of another library has it, too.

    Args:
        sources: parsed files by name; all of them define what is ours.
        own: packages that are ours.
    """
    local = {file: set(_defined(tree)) for file, tree in sources.items()}
    ours: set[str] = set().union(*local.values())
    found: list[tuple[str, int, str]] = []
    for file, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in local[file]:
                if not (_is_self(node.value) and node.attr in ours):
                    found.append((file, node.lineno, node.attr))
            else:
                found += [(file, line, name) for line, name in _other_uses(node, local[file], own)]
    return [f"{file}:{line} {name}" for file, line, name in sorted(set(found) | set(_overrides(sources, own)))]


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _is_self(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _other_uses(node: ast.AST, local: set[str], own: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Imports, names handed to `getattr` and its like, and keys such as `state["_steps"]`."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in own:
        for name in [*(node.module or "").split("."), *(alias.name for alias in node.names)]:
            if is_private(name):
                yield node.lineno, name
    elif isinstance(node, ast.Import):
        for name in [part for alias in node.names for part in alias.name.split(".")]:
            if is_private(name):
                yield node.lineno, name
    else:
        given: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
            given = node.args[1] if len(node.args) > 1 else None
        elif isinstance(node, ast.Subscript):
            given = node.slice
        name = given.value if isinstance(given, ast.Constant) else None
        if given is not None and isinstance(name, str) and is_private(name) and name not in local:
            yield given.lineno, name


def _overrides(sources: Mapping[str, ast.Module], own: tuple[str, ...]) -> Iterator[tuple[str, int, str]]:
    """Private names in a class that a base class of another library has, too: it calls ours in the place of its own."""
    classes: dict[str, tuple[str, ast.ClassDef]] = {}
    for file, tree in sources.items():
        classes |= {node.name: (file, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    imported = {file: dict(_imported(tree)) for file, tree in sources.items()}

    def foreign(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        file, node = classes[name]
        found: set[str] = set()
        for base in node.bases:
            path = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            head, _, rest = path.partition(".")
            full = f"{imported[file].get(head, head)}{'.' * bool(rest)}{rest}"
            last = full.rpartition(".")[2]
            if full.partition(".")[0] in own or head not in imported[file]:
                if last in classes and last not in seen:
                    found |= foreign(last, seen | {name})
            else:
                found.add(full)
        return found

    for name, (file, node) in classes.items():
        private = {part: line for part, line in _own_parts(node) if is_private(part)}
        for base in sorted(foreign(name)) if private else ():
            theirs = _load(base)
            yield from ((file, line, part) for part, line in private.items() if hasattr(theirs, part))


def _own_parts(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield part.name, part.lineno
        elif isinstance(part, ast.Assign | ast.AnnAssign):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            yield from ((target.id, part.lineno) for target in targets if isinstance(target, ast.Name))


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    (alias.asname or alias.name.partition(".")[0]),
                    alias.name if alias.asname else alias.name.partition(".")[0],
                )


def _load(path: str) -> object:
    """The class that a dotted path names: a module, and attributes in it."""
    module, _, name = path.rpartition(".")
    if not module:
        return importlib.import_module(name)
    try:
        return getattr(_load(module), name)
    except AttributeError:
        return importlib.import_module(path)


def parsed(root: Path, rooms: tuple[str, ...]) -> dict[str, ast.Module]:
    files = [path for room in rooms for path in sorted((root / room).rglob("*.py"))]
    return {str(path.relative_to(root)): ast.parse(path.read_text(encoding="utf-8")) for path in files}
