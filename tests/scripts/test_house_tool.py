"""`scripts/tools/house.py`: the files that a page of docs/add_your_own sends its reader to, and those that run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs" / "add_your_own").glob("*.md"))


@pytest.fixture(scope="module")
def house() -> Iterator[ModuleType]:
    """The tool as a module; it makes modules of pages, whose folder is gone afterwards."""
    before = list(sys.path)
    spec = spec_from_file_location("house", ROOT / "scripts" / "tools" / "house.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    assert sys.path == before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_sends_to_few_files(page: Path, house: ModuleType) -> None:
    assert 1 <= len(house.trips(page, ROOT)) <= 5


def test_trips_are_counted(house: ModuleType, tmp_path: Path) -> None:
    """What is imported and overridden, by where it is defined; constants and recipes too, and each file once."""
    page = tmp_path / "some.md"
    page.write_text(
        '```python title="of_a_page.py"\n'
        "from lightning_tl.strategies import FineTune\n"
        "from lightning_tl.strategies.fine_tune import FineTune as Again\n"
        "from lightning_tl.backbones.added_parameters import ADDED\n"
        "from torch import nn\n"
        "class Mine(FineTune):\n"
        "    def step(self, batch): ...\n"
        "    def optimizer_step(self, *args, **kwargs): ...\n"
        "class Layer(nn.Module):\n"
        "    def forward(self, inputs): ...\n"
        "```\n`lightning-tl --recipe satellite_vit` and `--recipe mine.yaml`\n"
    )
    assert house.trips(page, ROOT) == {
        "lightning_tl/strategies/fine_tune.py",
        "lightning_tl/backbones/added_parameters.py",
        "lightning_tl/training/transfer_module.py",
        "lightning_tl/training/trained_module.py",
        "recipes/satellite_vit.yaml",
    }
    assert "of_a_page" not in sys.modules


def test_steps_are_told_from_the_rest_of_a_fit(house: ModuleType) -> None:
    traced = house.Traced(ROOT)

    def call(file: str, name: str) -> object:
        made: dict[str, object] = {}
        exec(compile(f"def {name}(inner=lambda: None): len(''); inner()", file, "exec"), made)
        return made[name]

    before, inside, after = (call(f"{ROOT}/lightning_tl/{name}.py", name) for name in ("before", "inside", "after"))
    advance = call("/anywhere/training_epoch_loop.py", "advance")
    traced.watch(lambda: (before(), advance(inside), after()))  # type: ignore[operator]
    assert [sorted(Path(file).stem for file in files) for files in (traced.files, traced.of_steps)] == [
        ["after", "before", "inside"],
        ["inside"],
    ]
