"""Change one operator, comparison or number of a file at a time, and see whether its tests notice.

    python scripts/tools/mutate.py lightning_tl/losses/focal.py tests/tasks/test_losses.py --most 20

The checkout is copied, and only the copy is changed. Each mutant is tested in a fork of one process that has imported
what is heavy, so that it costs what its tests cost. What no test notices is printed with its line.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What of a node can be changed: the field, and its new value."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield "op", SWAPS[type(node.op)]()
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield "ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "value", not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "value", node.value + 1
    if isinstance(node, ast.IfExp):
        yield "test", ast.UnaryOp(ast.Not(), node.test)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
    if isinstance(node, ast.If):
        yield "test", ast.UnaryOp(ast.Not(), node.test)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, what became of what, and the whole changed file."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for field, value in changes(node):
            other = copy.deepcopy(tree)
            twin = next(part for k, part in enumerate(ast.walk(other)) if k == number)
            before = ast.unparse(twin.test if isinstance(twin, ast.If) else twin)
            setattr(twin, field, value)
            after = ast.unparse(twin.test if isinstance(twin, ast.If) else twin)
            if before != after:
                changed = ast.unparse(ast.fix_missing_locations(other))
                yield getattr(node, "lineno", 0), f"{before}  ->  {after}", changed


def survives(copied: Path, tests: list[str], seconds: int) -> bool:
    """Whether the tests pass; what takes longer than `seconds` counts as noticed."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        os.setsid()
        os.chdir(copied)
        sys.path.insert(0, str(copied))
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests])))
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of the package, from the checkout's root")
    parser.add_argument("tests", nargs="+", help="test files, or names of tests")
    parser.add_argument("-k", dest="expression", help="those of them whose names fit it, as pytest has it")
    parser.add_argument("--most", type=int, default=40, help="mutants to try, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=120, help="for the tests of one mutant")
    asked = parser.parse_args()
    extra = [] if asked.expression is None else ["-k", asked.expression]
    found = list(mutants((ROOT / asked.file).read_text(encoding="utf-8")))
    tried = sorted(random.Random(asked.seed).sample(found, min(asked.most, len(found))))
    import lightning.pytorch  # noqa: F401  # once, for all forks

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "copy"
        shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(".git", "__pycache__", ".venv", "venv", "runs"))
        target = copied / asked.file
        if not survives(copied, [*asked.tests, *extra], asked.seconds):
            raise SystemExit("the tests fail, or take too long, without any change")
        left = 0
        for line, change, text in tried:
            target.write_text(text, encoding="utf-8")
            if survives(copied, [*asked.tests, *extra], asked.seconds):
                left += 1
                print(f"{asked.file}:{line}: {change}", flush=True)
    print(f"{asked.file}: {len(tried)} of {len(found)} mutants tried, {left} not noticed", flush=True)


if __name__ == "__main__":
    main()
