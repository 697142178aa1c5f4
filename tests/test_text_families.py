"""Families of transformers' text classifiers: open, train, export, read back, or say why not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import small_text
from families import TEXT
from family_checks import Row, check_family

from lightning_tl.backbones import HuggingFaceText

# One of each way to be built: shared layers, an encoder out of two, matrices the other way round, no layer lists of
# known names, convolutions over padding, experts, parameters that no text reads.
CHOSEN = ("albert", "bart", "convbert", "gpt2", "t5", "xlnet", "longformer", "deepseek_v3", "flaubert", "bloom")
REFUSED = ("canine", "mra", "perceiver")
QUICK = {name: TEXT[name] for name in ("Full", "LoRA", "Prompts")}


def row_of(family: str, adaptations: Any, folder: Path) -> Row:
    made = small_text.save_small(family, small_text.families()[family], folder / "model")
    return check_family(family, lambda: HuggingFaceText(str(made), max_length=40), adaptations, folder / "out")


@pytest.mark.parametrize("family", CHOSEN)
def test_chosen_families(family: str, tmp_path: Path) -> None:
    row = row_of(family, QUICK, tmp_path)
    assert row.wrong == {} and row.opens and "Full" in row.reads_back and "Prompts" in row.reads_back
    assert row.refused.keys() <= {"LoRA"} and ("LoRA" in row.refused) == (family == "xlnet")


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(family: str, tmp_path: Path) -> None:
    row = row_of(family, {}, tmp_path)
    assert row.wrong == {} and row.opens == "" and "\n" not in row.refused["opens"]


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in small_text.families() if family not in small_text.LEFT_OUT])
def test_every_family(family: str, tmp_path: Path) -> None:
    try:
        row = row_of(family, TEXT, tmp_path)
    except (ImportError, ValueError, RuntimeError, KeyError) as error:
        pytest.xfail(f"not built small: {error}")
    assert row.wrong == {}
    assert row.whole or "opens" in row.refused
