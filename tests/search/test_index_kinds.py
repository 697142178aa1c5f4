"""Every kind of index: exactly k behind any filter at the recall of its card, changes, limits, files."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clustered_vectors import clustered

from lightning_tl.search import FaissStore, ItemFields, ItemFilter, ItemIndex, NewItems
from lightning_tl.search.faiss_index.kinds import candidates

COUNT = 8_000
KINDS = ["FlatIP", "IVFFlat", "IVFSQ8", "IVFPQ", "HNSW", "SQ8", "PQ8np", "PCA14,IVF32,SQ8", "PQ8x4fs"]


def fields_of(count: int) -> ItemFields:
    import pyarrow as pa

    draw = np.random.default_rng(11)
    return ItemFields(pa.table({"share": draw.random(count), "kind": [f"kind-{k % 7}" for k in range(count)]}))


def index_of(kind: str, count: int = COUNT, **options: Any) -> ItemIndex:
    names = [f"i{k}" for k in range(count)]
    queries = clustered(100, 1), clustered(100, 2)
    return ItemIndex.build(
        clustered(count, 0), names, names, "abc", *queries, kind=kind, recall=0.97, fields=fields_of(count), **options
    )


@pytest.fixture(scope="module")
def built() -> dict[str, ItemIndex]:
    return {}


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest, built: dict[str, ItemIndex]) -> ItemIndex:
    if request.param not in built:
        built[request.param] = index_of(request.param)
    return built[request.param]


def recall_of(index: ItemIndex, k: int, wanted: ItemFilter, mask: np.ndarray) -> float:
    vectors, queries = clustered(COUNT, 0), clustered(20, 3)
    found = FaissStore(index).search(queries, k, [wanted] * len(queries))
    scores = np.where(mask, queries @ vectors.T, -np.inf)
    right = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, int(mask.sum()))]
    hits = []
    for places, one, row in zip(right, found, scores, strict=True):
        mine = [int(name[1:]) for name in one.ids]
        assert len(mine) == len(set(mine)) == len(places) and mask[mine].all()
        np.testing.assert_allclose(one.scores, row[mine], atol=1e-4)
        assert (np.diff(one.scores) <= 1e-6).all()
        hits.append(len(set(mine) & set(places.tolist())) / len(places))
    return float(np.mean(hits))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.0004])
@pytest.mark.parametrize("k", [10, 100, 1500])
def test_exactly_k_at_the_recall_of_the_card(index: ItemIndex, share: float, k: int) -> None:
    assert index.fields is not None
    mask = index.fields.column("share") <= share
    wanted = ItemFilter(where={"share": {"to": share}}) if share < 1 else ItemFilter()
    assert recall_of(index, k, wanted, mask) >= index.facts["recall_at_100"] - 0.02


def test_a_filter_that_leaves_what_is_far_away(index: ItemIndex) -> None:
    """The nearest half is left out, for each query another: the card's recall holds for what remains."""
    vectors, store = clustered(COUNT, 0), FaissStore(index)
    hits = []
    for query in clustered(10, 3):
        order = np.argsort(-(vectors @ query), kind="stable")
        deny = frozenset(f"i{k}" for k in order[: COUNT // 2].tolist())
        found = store.search(query[None], 20, [ItemFilter(deny=deny)])[0]
        hits.append(len(set(found.ids) & {f"i{k}" for k in order[COUNT // 2 :][:20].tolist()}) / 20)
    assert np.mean(hits) >= index.facts["recall_at_100"] - 0.05


def test_lists_of_allowed_and_denied_items(index: ItemIndex) -> None:
    allow = frozenset(f"i{k}" for k in range(0, 60)) | {"unknown"}
    found = FaissStore(index).search(
        clustered(1, 3), 100, [ItemFilter(allow=allow, deny=frozenset({"i3", "nobody"}), where={"kind": ["kind-3"]})]
    )
    assert {int(name[1:]) for name in found[0].ids} == {k for k in range(60) if k % 7 == 3} - {3}
    none = FaissStore(index).search(clustered(1, 3), 5, [ItemFilter(allow=frozenset())])
    assert none[0].ids == []


@pytest.mark.parametrize("kind", ["FlatIP", "IVFFlat", "IVFSQ8", "HNSW", "SQ8"])
def test_items_are_added_changed_and_removed(kind: str, tmp_path: Path) -> None:
    index = index_of(kind, 1_500)
    index.upsert(NewItems(ids=["new", "i5"], vectors=clustered(2, 9), titles=["N", "five"], fields={"share": [0.5, 1]}))
    assert index.remove(["i7", "i7", "nobody"]) == 1 and len(index) == 1_500
    index.write(tmp_path / "index")
    for one in (index, ItemIndex.open(tmp_path / "index", "abc")):
        store = FaissStore(one)
        assert store.search(clustered(2, 9), 1)[1].ids == ["i5"] and store.titles(["i5", "new"]) == ["five", "N"]
        assert len(store) == 1_500 and store.known(["i7", "new"]) == [False, True]
        (everything,) = store.search(clustered(1, 3), 5_000)
        assert len(everything.ids) == len(set(everything.ids)) == 1_500 and "i7" not in everything.ids
        (some,) = store.search(clustered(1, 3), 5_000, [ItemFilter(deny=frozenset({"i8"}))])
        assert len(some.ids) == 1_499
        np.testing.assert_allclose(store.vectors(["new"]), clustered(2, 9)[:1])
        before = json.dumps(sorted(one.ids))
        one.upsert(NewItems(ids=["new"], vectors=clustered(2, 9)[:1]))
        assert json.dumps(sorted(name for name in one.ids if name)) == json.dumps(
            sorted(name for name in json.loads(before) if name)
        )


@pytest.mark.parametrize(
    ("limit", "told"), [(None, "IVF"), (200_000 * 200, "SQ8"), (200_000 * 60, "PQ"), (200_000 * 40, "takes")]
)
def test_auto_takes_what_the_memory_allows(limit: int | None, told: str) -> None:
    if told == "takes":
        with pytest.raises(ValueError, match=r"the smallest index of this kind, .* takes .* memory_limit is 8 MiB"):
            candidates("auto", 200_000, 64, limit)
        return
    assert told in candidates("auto", 200_000, 64, limit)[0].factory
    assert candidates("auto", 100_000, 64)[0].factory == "Flat"


def test_a_limit_of_latency_is_kept_or_refused() -> None:
    assert index_of("auto", 1_000, exact_up_to=10, latency_ms=1e4).facts["p99_ms"] < 1e4
    with pytest.raises(ValueError, match=r"answers within latency_ms=1e-06: the fastest, .* takes .* at recall"):
        index_of("auto", 1_000, exact_up_to=10, latency_ms=1e-6)


def test_the_card_says_what_was_measured(index: ItemIndex) -> None:
    if index.facts["kind"].startswith("exact"):
        assert index.facts == {"kind": "exact (IndexFlatIP)", "recall_at_100": 1.0}
        return
    assert {"factory", "recall_at_10", "recall_at_100", "p50_ms", "p99_ms", "bytes", "held_out_queries"} <= set(
        index.facts
    )
    assert index.facts["recall_at_100"] >= 0.9


def test_searching_while_items_change() -> None:
    """No search misses an item that stays, or finds one twice."""
    store, errors = FaissStore(index_of("IVFFlat", 2_000)), []
    fresh = clustered(200, 9)

    def ask() -> None:
        for query in clustered(150, 4):
            (found,) = store.search(query[None], 50)
            if len(found.ids) != 50 or len(set(found.ids)) != 50 or "" in found.ids:
                errors.append(found.ids)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for k in range(40):
        store.upsert(NewItems(ids=[f"n{j}" for j in range(5 * k, 5 * k + 5)], vectors=fresh[5 * k : 5 * k + 5]))
        store.remove([f"n{5 * k}", f"i{k}"])
    for thread in threads:
        thread.join()
    assert errors == [] and len(store) == 2_000 + 4 * 40 - 40


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (NewItems(ids=["a", "a"], vectors=clustered(2, 9)), "the item 'a' occurs more than once"),
        (NewItems(ids=["a"], vectors=np.full((1, 16), np.nan)), "the vector of item 'a' has NaN"),
        (NewItems(ids=["a", "b"], vectors=2 * clustered(2, 9)), "of item 'a' and 1 others is not of length 1"),
        (NewItems(ids=["a"], vectors=clustered(1, 9)[:, :8]), r"must be \[1, 16\], got \[1, 8\]"),
        (NewItems(ids=["a"], vectors=clustered(1, 9), fields={"colour": [1]}), "has no column 'colour'"),
        (NewItems(ids=["a"], vectors=clustered(1, 9), fields={"share": ["much"]}), "new values of 'share' do not fit"),
        (NewItems(ids=["a"], vectors=clustered(1, 9), titles=["x", "y"]), "'titles' must have one entry for each of 1"),
    ],
)
def test_items_that_cannot_be_written(items: NewItems, message: str) -> None:
    index = index_of("FlatIP", 200)
    with pytest.raises(ValueError, match=message):
        index.upsert(items)
    assert len(index) == len(index.ids) == 200


@pytest.mark.parametrize(
    ("queries", "k", "wanted", "message"),
    [
        (clustered(1, 3), 0, None, "k must be at least 1, got 0"),
        (clustered(1, 3)[:, :4], 5, None, r"queries must be \[queries, 16\]"),
        (np.full((1, 16), np.inf), 5, None, "the query at place 0 is not finite"),
        (clustered(1, 3), 5, {"colour": "red"}, "no column 'colour' to filter by; it has: share, kind"),
        (clustered(1, 3), 5, {"kind": 3}, "'kind' is a column of texts, and 3 is none of these"),
        (clustered(1, 3), 5, {"kind": {"from": "a"}}, "'kind' is a column of texts, which has no ranges"),
        (clustered(1, 3), 5, {"share": float("nan")}, "'share' is a column of numbers, and nan is none"),
        (clustered(1, 3), 5, {"share": {"from": 2, "to": 1}}, "nothing lies in it"),
        (clustered(1, 3), 5, {"share": {}}, "a range of 'share' is given as"),
        (clustered(1, 3), 5, {"share": {"above": 1}}, "a range of 'share' is given as"),
    ],
)
def test_what_cannot_be_searched(queries: np.ndarray, k: int, wanted: Any, message: str) -> None:
    filters = None if wanted is None else [ItemFilter(where=wanted)]
    with pytest.raises(ValueError, match=message):
        FaissStore(index_of("FlatIP", 50)).search(queries, k, filters)


@pytest.mark.parametrize("kind", ["Fast", "IVF10,PQ7", "IDMap,Flat", "LSH", "IVF64,Flat,RFlat"])
def test_kinds_that_there_are_not(kind: str) -> None:
    with pytest.raises(ValueError, match=f"kind '{kind}'|index of kind '{kind}'"):
        index_of(kind, 500)


def test_other_models_indexes_are_not_swapped_in() -> None:
    store, other = FaissStore(index_of("FlatIP", 50)), index_of("FlatIP", 60)
    store.swap(other)
    assert len(store) == 60
    other.model_sha256 = "def"
    with pytest.raises(ValueError, match="made by another model"):
        FaissStore(index_of("FlatIP", 50)).swap(other)
