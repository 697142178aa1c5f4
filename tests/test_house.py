"""Imports flow one way, and no file grows beyond a screenful of concepts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each room may import of the project; a room may always import itself.
LOW = {"layer_groups", "batches", "interactions", "file_or_name", "run_description", "text_tokenizer", "partial_file"}
MODEL = LOW | {
    "backbones",
    "adaptation",
    "losses",
    "metrics",
    "heads",
    "schedules",
    "learning_rates",
    "parameter_groups",
    "ddp",
    "scheduled_module",
    "trained_weights",
    "adapted_module",
    "tensor_digest",
    "rate_rules",
    "guests",
    "tasks",
    "monitors",
    "built_from",
    "rebuildable",
}
ENGINE = MODEL | {"module", "callbacks", "reports", "features", "convex"}
MAY_IMPORT: dict[str, set[str]] = {
    "layer_groups": set(),
    "batches": set(),
    "interactions": set(),
    "file_or_name": set(),
    "partial_file": set(),
    "run_description": {"batches", "partial_file"},
    "text_tokenizer": {"batches"},
    "schedules": set(),
    "heads": set(),
    "tensor_digest": set(),
    "trained_weights": {"scheduled_module", "backbones", "tensor_digest"},
    "adapted_module": LOW | {"adaptation", "backbones", "ddp", "parameter_groups", "schedules", "trained_weights"},
    "convex": set(),
    "ddp": set(),
    "parameter_groups": {"layer_groups"},
    "learning_rates": {"schedules"},
    "rate_rules": {"layer_groups"},
    "guests": set(),
    "monitors": set(),
    "built_from": set(),
    "rebuildable": {"backbones", "built_from"},
    "scheduled_module": {"schedules", "learning_rates", "rate_rules", "guests", "monitors", "batches"},
    "features": LOW | {"backbones"},
    "losses": LOW,
    "metrics": LOW,
    "tasks": {"metrics"},
    "backbones": LOW | {"heads", "tensor_digest", "tasks"},
    "adaptation": LOW | {"backbones"},
    "reports": LOW | {"metrics", "tasks"},
    "callbacks": LOW | {"adapted_module", "monitors", "rate_rules", "learning_rates", "module", "reports"},
    "module": MODEL,
    "strategies": ENGINE,
    "embedding": LOW | {"backbones", "callbacks", "module", "reports", "tensor_digest", "trained_weights"},
    "pretraining": ENGINE,
    "retrieval": ENGINE,
    "cli": ENGINE | {"embedding", "strategies", "pretraining", "retrieval", "datamodules"},
    "__main__": {"cli"},
    "__init__": {"cli"},
    "datamodules": {"batches", "interactions", "file_or_name", "run_description", "text_tokenizer", "tasks"},
    "scripts": {"cli"},
}
SOURCES = sorted(path for room in ("lightning_tl", "datamodules", "scripts") for path in (ROOT / room).rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "lightning_tl" else parts[0]


def rooms_imported(path: Path) -> set[str]:
    """Rooms of the project that a file imports, also inside functions, but not for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    split = [name.split(".") for name in names]
    rooms = {parts[1] for parts in split if parts[0] == "lightning_tl" and len(parts) > 1}
    return rooms | {"datamodules" for parts in split if parts[0] == "datamodules"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"say in this test what {room} may import"
    allowed = MAY_IMPORT[room] | {room}
    if room == "scripts" and path.name not in ("fit.py", "embed.py"):  # makers of shipped files and measurements
        allowed |= ENGINE | {"embedding", "strategies", "pretraining", "retrieval", "datamodules"}
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_no_drawer_for_odds_and_ends(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 300, f"{lines} lines: split it"
    assert path.name not in ("utils.py", "helpers.py", "misc.py", "common.py")


def test_the_command_line_starts_without_torch() -> None:
    """Modules that are loaded before the recipe is known import nothing beyond the standard library."""
    light = ("entry", "errors", "options", "recipes", "run_folder", "embed_options", "recommend_options", "__init__")
    for name in light:
        tree = ast.parse((ROOT / "lightning_tl" / "cli" / f"{name}.py").read_text(encoding="utf-8"))
        heads = {
            module.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for module in ([a.name for a in node.names] if isinstance(node, ast.Import) else [str(node.module)])
        }
        assert not heads & {"torch", "lightning", "jsonargparse", "yaml", "datamodules"}, name
