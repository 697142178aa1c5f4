"""The index of items: what it finds, what it measured of itself, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_tl.search.faiss_index.item_index import ItemIndex


def units(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def index_of(count: int, **options: Any) -> ItemIndex:
    names = [f"item-{k}" for k in range(count)]
    return ItemIndex.build(units(count), names, [name.upper() for name in names], "abc", units(50, seed=1), **options)


def slow_search(query: np.ndarray, vectors: np.ndarray, k: int, without: set[int]) -> list[int]:
    scores = [(-float(query @ vector), number) for number, vector in enumerate(vectors) if number not in without]
    return [number for _, number in sorted(scores)[:k]]


@pytest.mark.parametrize(("k", "without"), [(1, set()), (5, {0, 1, 2}), (50, {7}), (300, {3}), (10, set(range(199)))])
def test_an_exact_index_finds_the_nearest_but_those_left_out(k: int, without: set[int]) -> None:
    index, query = index_of(200), units(1, seed=2)[0]
    found = index.search(query, k, without)
    assert [item for item, _ in found] == slow_search(query, units(200), k, without)
    assert index.facts["recall_at_100"] == 1.0
    for item, score in found:
        assert score == pytest.approx(float(query @ units(200)[item]), abs=1e-5)


def test_an_inverted_index_looks_as_far_as_the_recall_asks() -> None:
    rough, fine = (index_of(3_000, exact_up_to=100, recall=recall) for recall in (0.3, 0.98))
    assert rough.facts["nprobe"] < fine.facts["nprobe"] < fine.facts["lists"]
    assert 0.3 <= rough.facts["recall_at_100"] < fine.facts["recall_at_100"] and fine.facts["recall_at_100"] >= 0.98
    vectors, queries = units(3_000), units(50, seed=1)
    hits = 0
    for query in queries:
        exact = slow_search(query, vectors, 100, set())
        hits += len(set(exact) & {item for item, _ in fine.search(query, 100)})
    assert fine.facts["recall_at_100"] == pytest.approx(hits / 5_000, abs=1e-3)


def clustered(count: int, seed: int, groups: int = 60, dim: int = 16) -> np.ndarray:
    """Vectors around a few centres, as trained ones lie."""
    centres = np.random.default_rng(7).standard_normal((groups, dim))
    draw = np.random.default_rng(seed)
    values = centres[draw.integers(0, groups, count)] + 0.35 * draw.standard_normal((count, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def inverted() -> tuple[ItemIndex, np.ndarray]:
    vectors = clustered(20_000, 0)
    names = [str(k) for k in range(len(vectors))]
    return ItemIndex.build(vectors, names, names, "abc", clustered(200, 1), clustered(200, 2), exact_up_to=100), vectors


@pytest.mark.parametrize(
    ("k", "left_out"),
    [(20, "nearest 100"), (20, "nearest 1000"), (100, "half"), (100, "all but 1%"), (20, "all but 5"), (1000, "none")],
)
def test_exactly_k_at_the_recall_of_the_card(k: int, left_out: str, inverted: tuple[ItemIndex, np.ndarray]) -> None:
    index, vectors = inverted
    recalls, draw = [], np.random.default_rng(5)
    for query in clustered(12, 3):
        order = np.argsort(-(vectors @ query), kind="stable")
        some = draw.permutation(len(vectors))
        without = {
            "nearest 100": order[:100],
            "nearest 1000": order[:1000],
            "half": some[: len(some) // 2],
            "all but 1%": some[len(some) // 100 :],
            "all but 5": some[5:],
            "none": order[:0],
        }[left_out]
        hidden = set(without.tolist())
        right = [item for item in order.tolist() if item not in hidden][:k]
        found = [item for item, _ in index.search(query, k, without.tolist())]
        assert len(found) == len(set(found)) == len(right) and not set(found) & hidden
        recalls.append(len(set(found) & set(right)) / len(right))
    assert index.facts["nprobe"] < index.facts["lists"] / 4  # or nothing would be shown
    assert np.mean(recalls) >= index.facts["recall_at_100"] - 0.01


def test_nothing_is_left(inverted: tuple[ItemIndex, np.ndarray]) -> None:
    index, vectors = inverted
    assert index.search(vectors[0], 5, range(len(vectors))) == []


def test_all_lists_are_looked_through_where_everything_must_be_found() -> None:
    index = index_of(500, exact_up_to=100, recall=1.0)
    assert index.facts["recall_at_100"] == 1.0


@pytest.mark.parametrize("exact_up_to", [10, 10_000])
def test_an_index_is_read_back(exact_up_to: int, tmp_path: Path) -> None:
    index, query = index_of(400, exact_up_to=exact_up_to), units(1, seed=3)[0]
    index.write(tmp_path, units(400))
    back = ItemIndex.open(tmp_path, "abc")
    assert back.search(query, 20, {1}) == index.search(query, 20, {1})
    assert back.ids == index.ids and back.titles[3] == "ITEM-3" and back.facts["items"] == 400
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy"), units(400))


def test_an_index_of_another_model_is_refused(tmp_path: Path) -> None:
    index_of(50).write(tmp_path, units(50))
    with pytest.raises(ValueError, match=r"another model \(hash abc\) than this one \(hash def\): test the run again"):
        ItemIndex.open(tmp_path, "def")


def test_an_index_that_is_not_whole(tmp_path: Path) -> None:
    index_of(50).write(tmp_path, units(50))
    (tmp_path / "items.faiss").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no index \(items.faiss missing\)"):
        ItemIndex.open(tmp_path, "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a"]}, "one id for each of at least 1 item, got 20 and 1"),
        ({"embeddings": units(0), "ids": []}, "got 0 and 0"),
        ({"recall": 0.0}, r"recall must be in \(0, 1\], got 0.0"),
        ({"held_out": units(0), "exact_up_to": 5}, "queries that were held out"),
    ],
)
def test_what_makes_no_index(change: dict[str, Any], message: str) -> None:
    names = [str(k) for k in range(20)]
    whole = {"embeddings": units(20), "ids": names, "titles": names, "model_sha256": "a", "held_out": units(3)}
    with pytest.raises(ValueError, match=message):
        ItemIndex.build(**(whole | change))


def test_at_least_one_item_is_asked_for() -> None:
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index_of(5).search(units(1)[0], 0)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    index_of(300, exact_up_to=10).write(tmp_path, units(300))
    facts = json.loads((tmp_path / "index.json").read_text())
    assert {"kind", "lists", "nprobe", "recall_at_100", "held_out_queries", "items", "model_sha256"} <= facts.keys()
