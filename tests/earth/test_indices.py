"""Indices against their definitions, and formulas that run no code."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_tl.earth.formulas import Formula
from lightning_tl.earth.indices import INDICES, asked_indices

BANDS = {name: np.array([value]) for name, value in zip(
    ("blue", "green", "red", "nir", "swir16", "swir22"), (0.04, 0.07, 0.05, 0.4, 0.2, 0.1), strict=True
)}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndvi", 0.35 / 0.45),
        ("evi", 2.5 * 0.35 / (0.4 + 0.3 - 0.3 + 1)),
        ("savi", 1.5 * 0.35 / 0.95),
        ("ndwi", -0.33 / 0.47),
        ("mndwi", -0.13 / 0.27),
        ("nbr", 0.3 / 0.5),
        ("ndbi", -0.2 / 0.6),
    ],
)
def test_indices_by_hand(name: str, expected: float) -> None:
    assert INDICES[name].values(BANDS) == pytest.approx([expected])


@pytest.mark.parametrize("name", ["NDVI", "SAVI", "EVI", "NDWI", "MNDWI", "NBR", "NDBI"])
def test_indices_are_those_of_the_public_catalogue(name: str) -> None:
    import spyndex

    letters = {"B": "blue", "G": "green", "R": "red", "N": "nir", "S1": "swir16", "S2": "swir22"}
    values = {letter: BANDS[common] for letter, common in letters.items()}
    constants = {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 0.5 if name == "SAVI" else 1.0}
    expected = spyndex.computeIndex(name, {**values, **constants})
    assert INDICES[name.lower()].values(BANDS) == pytest.approx(np.asarray(expected))


def test_indices_of_the_catalogue_by_name_and_of_the_users() -> None:
    found = asked_indices(["ndvi", "NDMI", {"mine": "nir / red"}, {"wide": {"formula": "nir*1", "range": [0, 2]}}])
    assert [index.name for index in found] == ["ndvi", "ndmi", "mine", "wide"]
    assert found[1].values(BANDS) == pytest.approx([0.2 / 0.6])
    assert (found[3].low, found[3].high) == (0, 2)
    assert asked_indices({"mine": "nir - red", "ndvi": None})[1] is INDICES["ndvi"]


def test_a_division_by_0_gives_0() -> None:
    assert INDICES["ndvi"].values({"nir": np.array([0.0, 0.2]), "red": np.array([0.0, 0.2])}).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "nir.__class__",
        "nir[0]",
        "(lambda: 1)()",
        "nir if red else 0",
        "open('x')",
        "sqrt(nir, red)",
        "nir; red",
        "nir red",
        "",
        "1 + 2",
        "nir // red",
        "nir and red",
        "True * nir",
        "'a' * nir",
        "nir" + " + 1" * 200,
        "(" * 300 + "nir" + ")" * 300,
        "[x for x in nir]",
        "nir := red",
        "max(*nir)",
    ],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        Formula(text)


def test_huge_powers_take_no_time() -> None:
    assert np.isnan(Formula("nir * 9**9**9**9")({"nir": np.ones(1)})).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["ndvvi"], "did you mean ndvi"),
        (["ndvi", "NDVI"], "more than once"),
        ("ndvi", "must be a list"),
        ([{"a": "nir", "b": "red"}], "one name with a formula"),
        ({"mine": {"formula": "nir", "range": [1, 0]}}, "higher highest"),
        ({"mine": {"range": [0, 1]}}, "formula"),
        (["(nir - red)"], "give a formula a name"),
    ],
)
def test_wrong_indices(asked: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"ind|formula|name") as caught:
        asked_indices(asked)  # type: ignore[arg-type]
    assert said in str(caught.value)
