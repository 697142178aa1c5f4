"""From jsonargparse's nested report to one line: where, what, and the nearest names."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from typing import Any

from lightning_tl.cli.errors import nearest
from lightning_tl.cli.program import program
from lightning_tl.cli.reading.recipes import recipes
from lightning_tl.compat.for_jsonargparse import fields_of

_KEY = re.compile(r'Parser key "([\w.]+)"')
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)':\s*\n?\s*([^\n]+)")
_OPTION = re.compile(
    r"Option '([\w.]+)' is not accepted|does not accept option '([\w.]+)'|unrecognized arguments: --([\w.]+)"
)
_EXPECTED = re.compile(r"Expected an? (?:<class ')?(typing\.Literal\[[^\]]*\]|[\w.]+)")
_PLAIN = {"NoneType": "null", "bool": "true or false", "str": "text", "list": "a list", "dict": "a mapping"}
_NULL = re.compile(r"NestedArg\(key='[\w.]+\.\w+', val=None\)")
_NO_SUBCLASS = re.compile(r"Import path (?:([\w.]+) )?does not correspond to a subclass of (\w+)")
_MOST_LISTED = 8
_GIVEN = re.compile(r"Given value: ([^\n]+)|Got value: ([^\n]+)")


def explain(parser: Any, message: str) -> str:
    """One line for the user.

    Args:
        parser: the parser that refused; its options are what nearest names are taken from.
        message: jsonargparse's report, which for classes within classes spans many indented lines.
    """
    where = ".".join(dict.fromkeys(_KEY.findall(message)))
    if _NULL.search(message):  # jsonargparse hands None on as the word
        return (
            f"{where}: null is not understood here on the command line; write the recipe to a file "
            "(--print_config > mine.yaml), set null there, and run it with --recipe mine.yaml"
        )
    problems = [(path, why.strip()) for path, why in _CLASS.findall(message)]
    leaves = [problem for problem in problems if not problem[1].startswith(("Parser key", "Does not validate"))]
    if leaves:
        return _class_problem(where, *leaves[-1])
    if match := _OPTION.search(message):
        option = next(group for group in match.groups() if group)
        near = nearest(option, _fields(parser)) or nearest(option.split(".")[0], _fields(parser))
        return f"there is no field '{option}'{near}; {program()} fit --help lists all fields"
    if match := re.search(r"Expected a dot import path string: (\S+)|'(\S+)' is not a valid class", message):
        name = next(group for group in match.groups() if group)
        others = [shipped for shipped in _shipped_classes() if shipped != name]
        return f"{where}: there is no class '{name}'{nearest(name, others)}; give its full path"
    if match := _NO_SUBCLASS.search(message):
        return f"{where}: {match[1] or _given(message)} is not a subclass of {match[2]}{_listed(match[2])}"
    if match := re.search(r"arguments are required: (?:\w+\.)?([\w., ]+)", message):
        return f"{match[1]} is missing; name a recipe with --recipe ({', '.join(recipes())})"
    return _wrong_value(where, message) or " ".join(message.split())


def _class_problem(where: str, path: str, why: str) -> str:
    if match := _OPTION.search(why):
        option = next(group for group in match.groups() if group)
        names = _parameters(_load(path))
        if option in names:
            return f"{where}: {path} sets '{option}' itself; leave it out, or take a class that leaves it to you"
        return (
            f"{where}: {path} has no field '{option}'{nearest(option.split('.')[0], names)}; it has {', '.join(names)}"
        )
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", why):
        return f"{where}: {_absent_class(f'{match[1]}.{match[2]}')}"
    if match := re.search(r"No module named '([\w.]+)'", why):
        near = nearest(path, _shipped_classes())
        return f"{where}: there is no module '{match[1]}' for {path}{near}; looked in this folder and among packages"
    if match := re.search(r'Key "([\w.]+)" is required|arguments are required: ([\w.]+)', why):
        name = match[1] or match[2]
        return f"{where}: {path} needs a value for '{name}': add --{where}.{name}=VALUE"
    return f"{where}: {path}: {why}"


def _wrong_value(where: str, message: str) -> str | None:
    types = dict.fromkeys(_EXPECTED.findall(_innermost(message)))
    given = _given(message)
    if not (where and types and given):
        return None
    if absent := _absent_class(given):
        return f"{where}: {absent}"
    names = " or ".join(_PLAIN.get(name, name).removeprefix("typing.Literal").strip("[]") for name in types)
    quoted = '; in a list, yes, no and numbers are texts only within quotes: ["yes", "1"]'
    hint = quoted if "str" in types and re.fullmatch(r"True|False|-?\d[\d.]*", given) else ""
    return f"{where}: expected {names}, got {given}{hint}"


def _absent_class(path: str) -> str | None:
    """What is wrong with a path whose module is there and has no such class; None for other values."""
    module, _, name = path.rpartition(".")
    if not re.fullmatch(r"[a-zA-Z_][\w.]*", module) or not name.isidentifier():
        return None
    try:
        found = vars(importlib.import_module(module))
    except ImportError:
        return None
    if name in found:
        return None
    return (
        f"{module} has no '{name}'{nearest(name, [other for other, value in found.items() if inspect.isclass(value)])}"
    )


def _given(message: str) -> str | None:
    given = _GIVEN.search(message)
    if given is None:
        return None
    nested = re.search(r"NestedArg\(key='([\w.]+)', val='?([^')]*)", given[0])
    return nested[2] if nested else (given[1] or given[2])


def _innermost(message: str) -> str:
    """The part of the report that is about the innermost key: what else was tried around it is no help."""
    lines = [line for line in message.splitlines() if line.strip()]
    last = max((number for number, line in enumerate(lines) if _KEY.search(line)), default=0)
    depth = len(lines[last]) - len(lines[last].lstrip())
    part = itertools.takewhile(lambda line: len(line) - len(line.lstrip()) > depth, lines[last + 1 :])
    return "\n".join([lines[last], *part])


def _fields(parser: Any) -> list[str]:
    return [action.dest for action in fields_of(parser) if not action.dest.endswith(("help", "config"))]


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _parameters(cls: type) -> list[str]:
    """Names that `cls(...)` takes, those that it hands on to its base classes with **kwargs included."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        names |= dict.fromkeys(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def _listed(base: str) -> str:
    """Classes that ship and can stand where a `base` is asked for; none where they are many, as modules are."""
    kin = {path: cls for path, cls in _classes().items() if base in (parent.__name__ for parent in cls.__mro__)}
    found = [path for path, cls in kin.items() if not inspect.isabstract(cls) and cls.__name__ != base] or list(kin)
    return f"; take {' or '.join(found)}" if 0 < len(found) <= _MOST_LISTED else ""


def _shipped_classes() -> list[str]:
    found = list(_classes())
    return found + [path.rpartition(".")[2] for path in found]


def _classes() -> dict[str, type]:
    """Classes that ship, by the paths that people write."""
    names = ("strategies", "backbones", "callbacks", "adaptation", "schedules", "pretraining", "retrieval", "losses")
    rooms = [*(f"lightning_tl.{name}" for name in names), "datamodules"]
    return {
        f"{room}.{name}": value
        for room in rooms
        for name, value in vars(importlib.import_module(room)).items()
        if inspect.isclass(value)
    }
