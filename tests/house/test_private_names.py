"""What other libraries keep to themselves is used in one room, which says so of each name, and nowhere else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from private_names import parsed, private_names

ROOT = Path(__file__).resolve().parent.parent.parent
OWN = ("lightning_tl", "datamodules", "scripts")


def test_private_names_of_other_libraries_lie_in_compat() -> None:
    found = private_names(parsed(ROOT, OWN), OWN)
    elsewhere = [use for use in found if not use.startswith("lightning_tl/compat/")]
    assert elsewhere == [], "use a public name, or add a function to lightning_tl/compat that says why there is none"
    assert len(found) > 20, "the search itself finds nothing any more"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from timm.models._hub import load", ["_hub"]),
        ("from torch.nn.modules.batchnorm import _BatchNorm", ["_BatchNorm"]),
        ("import torch.utils._pytree as tree", ["_pytree"]),
        ("def f(trainer):\n    return trainer.fit_loop._results", ["_results"]),
        ("def f(module):\n    del module._parameters['weight']", ["_parameters"]),
        ("def f(loader):\n    return getattr(loader, '_iterator', None)", ["_iterator"]),
        ("def f(state):\n    state['_batches_that_stepped'] -= 1", ["_batches_that_stepped"]),
        ("from torch import nn\nclass A(nn.Linear):\n    def _apply(self, f): ...", ["_apply"]),
        ("import torch\nclass A(torch.nn.Linear):\n    def _apply(self, f): ...", ["_apply"]),
        ("from torch import nn\nclass A(nn.Linear): ...\nclass B(A):\n    def _apply(self, f): ...", ["_apply"]),
        ("from torch import nn\nclass A(nn.Linear):\n    def f(self):\n        return self._modules", ["_modules"]),
        ("from torch import nn\nclass A(nn.Linear):\n    _version = 3", ["_version"]),
        (
            "from torch import nn\nclass A(nn.Linear):\n    def _own(self): ...\n    def f(self):\n        self._own()",
            [],
        ),
        ("from lightning_tl.version import _CHECKOUT", []),
        ("class A:\n    def __init__(self):\n        self._x = 1\ndef f(a):\n    return a._x", []),
        ("import os\nos._exit(0)", []),
        ("def f(pair):\n    return pair._replace(a=1)", []),
        ("for _ in range(3): ...", []),
    ],
)
def test_the_search_finds(source: str, found: list[str]) -> None:
    uses = private_names({"file.py": ast.parse(source)}, OWN)
    assert [use.rpartition(" ")[2] for use in uses] == found


def test_compat_loads_nothing_heavy() -> None:
    """But for the files of base classes, which whoever imports them has loaded anyway."""
    code = """if True:
        import importlib, sys
        for name in ("torch", "timm", "transformers", "torchmetrics", "jsonargparse", "lightning"):
            importlib.import_module(f"lightning_tl.compat.for_{name}")
        print(sorted({"torch", "timm", "transformers", "torchmetrics", "jsonargparse", "lightning"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
