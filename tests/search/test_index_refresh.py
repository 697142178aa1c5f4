"""An index that changes: worn and made anew while it is searched, and files that are the old or the new."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clustered_vectors import clustered

from lightning_tl.search import ItemIndex, NewItems
from lightning_tl.search.faiss_index.drift import drift_of, made_anew
from lightning_tl.search.faiss_index.tended_store import TendedStore


def index_of(count: int, kind: str = "IVFFlat", **options: Any) -> ItemIndex:
    names = [f"i{k}" for k in range(count)]
    queries = clustered(100, 1), clustered(100, 2)
    return ItemIndex.build(clustered(count, 0), names, names, "abc", *queries, kind=kind, recall=0.97, **options)


def one_corner(count: int) -> np.ndarray:
    """Items as none were before: all beside one another."""
    values = np.random.default_rng(3).standard_normal((count, 16)) * 0.05 + np.eye(16)[3]
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_a_fresh_index_is_not_worn() -> None:
    for kind in ("IVFFlat", "FlatIP", "HNSW"):
        assert drift_of(index_of(2_000, kind)).reasons == ()


def test_what_wears_an_index() -> None:
    index = index_of(2_000)
    index.upsert(NewItems(ids=[f"n{k}" for k in range(1_000)], vectors=one_corner(1_000)))
    assert any("times as unequal" in reason for reason in drift_of(index).reasons)
    fewer = index_of(2_000, "HNSW")
    fewer.remove([f"i{k}" for k in range(500)])
    assert drift_of(fewer).reasons == ("25% of its places are empty (limit 20%)",)
    blind = index_of(2_000)
    blind.searching.efforts = [[1_000, 1]]
    assert any("recall fell to" in reason for reason in drift_of(blind).reasons)


@pytest.mark.parametrize("kind", ["FlatIP", "IVFFlat", "HNSW", "IVFSQ8"])
def test_made_anew_it_has_the_same_items(kind: str) -> None:
    index = index_of(1_500, kind)
    index.upsert(NewItems(ids=["i3", "n"], vectors=clustered(2, 9), titles=["three", "N"]))
    index.remove(["i4"])
    fresh = made_anew(index)
    assert set(fresh.ids) == set(index.places) and len(fresh.ids) == len(fresh) == 1_500
    assert drift_of(fresh).reasons == () and fresh.titles[fresh.places["i3"]] == "three"
    for name in ("i3", "n", "i700"):
        np.testing.assert_array_equal(
            fresh.kept.take(np.array([fresh.places[name]])), index.kept.take(np.array([index.places[name]]))
        )


def test_it_is_made_anew_in_the_background_with_queries_and_changes_in_flight() -> None:
    told: list[str] = []
    store, wrong, stop = TendedStore(index_of(3_000), told.append), [], threading.Event()
    first = store.index

    def ask() -> None:
        while not stop.is_set():
            for query in clustered(20, 4):
                (found,) = store.search(query[None], 50)
                if len(found.ids) != 50 or len(set(found.ids)) != 50 or "" in found.ids:
                    wrong.append(found.ids)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    corner = one_corner(1_300)
    for start in range(0, 1_300, 100):
        names = [f"n{k}" for k in range(start, start + 100)]
        store.upsert(NewItems(ids=names, vectors=corner[start : start + 100]))
        store.remove([f"i{start // 100}"])
    store.wait(60)
    store.upsert(NewItems(ids=[f"m{k}" for k in range(100)], vectors=clustered(100, 8)))
    store.wait(60)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == [] and store.index is not first and "the index is made anew: its lists are" in told[0]
    assert len(store) == 3_000 + 1_300 + 100 - 13 and store.known(["n1299", "i0", "m5"]) == [True, False, True]
    everything = store.search(clustered(1, 4), 10_000)[0].ids
    assert len(everything) == len(set(everything)) == len(store)


def _rewrite(folder: Path, ready: Any) -> None:
    index = index_of(300, "FlatIP")
    for number in range(10_000):
        index.facts["number"] = number
        index.write(folder)
        ready.set()


def test_killed_at_any_moment_it_is_the_old_or_the_new(tmp_path: Path) -> None:
    context, draw, numbers = multiprocessing.get_context("fork"), np.random.default_rng(0), []
    for _ in range(12):
        ready = context.Event()
        child = context.Process(target=_rewrite, args=(tmp_path / "index", ready))
        child.start()
        assert ready.wait(60)
        time.sleep(float(draw.uniform(0.0, 0.06)))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        back = ItemIndex.open(tmp_path / "index", "abc")
        assert len(back) == 300 and len(back.search(clustered(1, 3)[0], 10)) == 10
        numbers.append(back.facts["number"])
    assert max(numbers) > 0


@pytest.mark.parametrize("left", ["index.old", "index.part", "both"])
def test_each_state_that_a_kill_leaves(left: str, tmp_path: Path) -> None:
    """Between the two renamings, while writing, and both."""
    index_of(50, "FlatIP").write(tmp_path / "index")
    if left != "index.part":
        (tmp_path / "index").rename(tmp_path / "index.old")
    if left != "index.old":
        (tmp_path / "index.part").mkdir()
        (tmp_path / "index.part" / "items.faiss").write_text("half")
    assert len(ItemIndex.open(tmp_path / "index", "abc")) == 50
    index_of(60, "FlatIP").write(tmp_path / "index")
    assert len(ItemIndex.open(tmp_path / "index", "abc")) == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def _without_room(folder: Path, told: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))
    try:
        index_of(400, "FlatIP").write(folder)
    except OSError as error:
        told.put(str(error))
    else:
        told.put("")


def test_on_a_full_disk_the_old_one_stays(tmp_path: Path) -> None:
    index_of(50, "FlatIP").write(tmp_path / "index")
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    child = context.Process(target=_without_room, args=(tmp_path / "index", told))
    child.start()
    message = told.get(timeout=60)
    child.join()
    assert "items.faiss cannot be written" in message
    assert len(ItemIndex.open(tmp_path / "index", "abc")) == 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


@pytest.mark.parametrize("name", ["items.faiss", "items.json", "embeddings.npy", "queries.npy", "index.json"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    index_of(500).write(tmp_path / "index")
    content = (tmp_path / "index" / name).read_bytes()
    (tmp_path / "index" / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"is damaged: {name} is not what was written with it"):
        ItemIndex.open(tmp_path / "index", "abc")


def test_a_card_of_earlier_versions_opens(tmp_path: Path) -> None:
    """Without efforts, queries or fields, as it was written before them."""
    index_of(2_000).write(tmp_path / "index")
    card = json.loads((tmp_path / "index" / "index.json").read_text())
    old = {name: card[name] for name in ("kind", "lists", "nprobe", "recall_at_100", "items", "model_sha256")}
    old["sha256"] = {name: card["sha256"][name] for name in ("items.faiss", "embeddings.npy", "items.json")}
    (tmp_path / "index" / "index.json").write_text(json.dumps(old))
    back = ItemIndex.open(tmp_path / "index", "abc")
    assert len(back.search(clustered(1, 3)[0], 300, range(100))) == 300
    assert drift_of(back).reasons == () and made_anew(back) is back
    back.upsert(NewItems(ids=["n"], vectors=clustered(1, 9)))
    back.write(tmp_path / "index")
    assert len(ItemIndex.open(tmp_path / "index", "abc")) == 2_001
