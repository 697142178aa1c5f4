"""What splits and few labels refuse, at the limits, and what they say; see `test_image_data.py` for what they do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from datamodules.labelled.stratified import FewLabels, check_fractions, grouped_split, stratified_split
from datamodules.loading.seeding import mix

NAMES = ["plenty", "rare"]
PLENTY = [f"p{k}" for k in range(20)]


@pytest.mark.parametrize(
    ("rare", "keys", "test_fraction", "says"),
    [
        (["r0"], None, 0.2, "the label 'rare' occurs once (r0): a class needs at least 3 different samples"),
        (
            ["r0", "r1"],
            None,
            0.2,
            "needs at least 3 different samples to be split into training, validation and test, as",
        ),
        (
            ["r0"],
            None,
            0.0,
            "occurs once (r0): a class needs at least 2 different samples to be split into training, validation, as",
        ),
        (["r0", "r1", "r2"], ["x", "x", "x"], 0.2, "occurs 3 times, but as 1 different one (r0, r1, r2): a class"),
        (["r0", "r1", "r2"], ["x", "x", "y"], 0.2, "occurs 3 times, but as 2 different ones (r0, r1, r2): a class"),
    ],
)
def test_a_class_with_too_few_samples(rare: list[str], keys: list[str] | None, test_fraction: float, says: str) -> None:
    labels = np.array([0] * 20 + [1] * len(rare))
    known = None if keys is None else [*PLENTY, *keys]
    with pytest.raises(ValueError, match=re.escape(says)):
        stratified_split([*PLENTY, *rare], labels, NAMES, 0.2, test_fraction, 0, known)


@pytest.mark.parametrize(("test_fraction", "splits"), [(0.2, 3), (0.0, 2)])
def test_a_class_with_just_enough(test_fraction: float, splits: int) -> None:
    labels = np.array([0] * 20 + [1] * splits)
    ids = [*PLENTY, *(f"r{k}" for k in range(splits))]
    found = stratified_split(ids, labels, NAMES, 0.2, test_fraction, 0)
    assert len(set(found[20:])) == splits and (test_fraction > 0) == ("test" in found)


def test_the_nearest_sample_goes_into_a_split_that_would_have_none() -> None:
    """Samples lie along a line by their keys: first the test, then validation, then training."""
    place = {f"r{k}": mix(0, "split", f"r{k}") / 2.0**63 for k in range(40)}
    rare = [name for name in place if place[name] > 0.4][:4]  # all of them would be in training
    labels, notes = np.array([0] * 20 + [1] * 4), list[str]()
    found = stratified_split([*PLENTY, *rare], labels, NAMES, 0.2, 0.2, 0, notes=notes)[20:]
    order = np.argsort([place[name] for name in rare])
    assert found[order].tolist() == ["test", "validation", "train", "train"]
    assert notes[0].startswith("2 samples of small classes were put into splits")


def test_a_class_that_nobody_has_and_a_rare_one_of_several_labels_are_no_error() -> None:
    labels = np.zeros(20, np.int64)
    assert len(stratified_split(PLENTY, labels, NAMES, 0.2, 0.2, 0)) == 20
    assert len(stratified_split(PLENTY, np.eye(20, 2, dtype=np.int64), NAMES, 0.2, 0.2, 0)) == 20


@pytest.mark.parametrize(("text", "shown"), [("a" * 40, "a" * 40), ("a" * 41, "a" * 39 + "…")])
def test_long_texts_are_cut_in_messages(text: str, shown: str) -> None:
    texts, labels = [*PLENTY, text], np.array([0] * 20 + [1])
    with pytest.raises(ValueError, match=re.escape(f"({shown})")):
        grouped_split(texts, labels, NAMES, 0.2, 0.2, 0)


@pytest.mark.parametrize(
    ("validation", "test", "says"),
    [
        (0.0, 0.2, "validation_fraction must be in (0, 1), got 0.0"),
        (1.0, 0.0, "validation_fraction must be in (0, 1), got 1.0"),
        (0.2, -0.1, "test_fraction must be in [0, 1), got -0.1"),
        (0.2, 1.0, "test_fraction must be in [0, 1), got 1.0"),
        (0.5, 0.5, "must leave something for training, got 0.5 and 0.5, together 1"),
    ],
)
def test_fractions_that_cannot_be(validation: float, test: float, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_fractions(validation, test)


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.0), (0.5, 0.49)])
def test_fractions_at_their_limits(validation: float, test: float) -> None:
    check_fractions(validation, test)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fraction": 0.5, "per_class": 3}, "not both"),
        ({"fraction": 0.0}, "label_fraction must be in (0, 1], got 0.0"),
        ({"fraction": 1.1}, "label_fraction must be in (0, 1], got 1.1"),
        ({"per_class": 0}, "labels_per_class must be at least 1, got 0"),
    ],
)
def test_few_labels_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        FewLabels(**options)


TRAIN, VALIDATION = np.arange(30), np.arange(30, 40)


@pytest.mark.parametrize(
    ("options", "kept"), [({}, (30, 10)), ({"fraction": 1.0}, (30, 10)), ({"fraction": 0.1}, (3, 1))]
)
@pytest.mark.parametrize("shape", [(40, 2), (40, 1)])
def test_samples_in_no_class_are_kept_by_their_share(
    options: dict[str, Any], kept: tuple[int, int], shape: tuple[int, ...]
) -> None:
    train, validation = FewLabels(**options).choose(TRAIN, VALIDATION, np.ones(shape, np.int64), NAMES, 0)
    assert (len(train), len(validation)) == kept
    assert set(train) <= set(TRAIN) and set(validation) <= set(VALIDATION) and list(train) == sorted(set(train))


def test_samples_in_no_class_cannot_be_counted_by_class() -> None:
    with pytest.raises(ValueError, match="use label_fraction"):
        FewLabels(per_class=1).choose(TRAIN, VALIDATION, np.ones((40, 2), np.int64), NAMES, 0)


@pytest.mark.parametrize(("wanted", "validation"), [(1, 1), (3, 1), (15, 5)])
def test_validation_shrinks_with_training_and_is_never_empty(wanted: int, validation: int) -> None:
    labels = np.arange(40) % 2  # 15 training and 5 validation samples of each class
    few = FewLabels(per_class=wanted).choose(TRAIN, VALIDATION, labels, NAMES, 0)
    assert [np.bincount(labels[part]).tolist() for part in few] == [[wanted] * 2, [validation] * 2]
    if wanted == 15:
        with pytest.raises(ValueError, match="labels_per_class is 16, but training has only 15 samples of 'plenty'"):
            FewLabels(per_class=16).choose(TRAIN, VALIDATION, labels, NAMES, 0)
