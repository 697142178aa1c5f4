"""The index beside exact search: recall and time with and without filters, size, building, adding and removing.

python scripts/benchmarks/index.py --items 1000000 --out index.json

Vectors of length 128 around 5,000 centres of uneven size, seeded; queries are blends of one to three items with noise,
as users are, so that they lie elsewhere than items. One thread. Times of exact search are of the same process, filter
and queries.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lightning_tl.search import FaissStore, ItemFields, ItemFilter, ItemIndex, NewItems
from lightning_tl.search.faiss_library import import_faiss

Vectors = NDArray[np.float32]

faiss = import_faiss()

DIM, CENTRES, K = 128, 5_000, 100
SHARES = (1.0, 0.5, 0.1, 0.01)


def catalogue(items: int, queries: int, seed: int = 0) -> tuple[Vectors, Vectors]:
    """[items, dim] and [queries, dim] of unit norm."""
    draw = np.random.default_rng(seed)
    spectrum = (1.0 / np.arange(1, DIM + 1) ** 0.5).astype(np.float32)
    centres = draw.standard_normal((CENTRES, DIM), dtype=np.float32) * spectrum
    share = 1 / np.arange(1, CENTRES + 1) ** 0.8
    found = centres[draw.choice(CENTRES, items, p=share / share.sum())]
    for start in range(0, items, 50_000):
        block = found[start : start + 50_000]
        block += draw.standard_normal(block.shape, dtype=np.float32) * spectrum
    asked = np.zeros((queries, DIM), np.float32)
    for row in asked:
        some = draw.integers(0, items, draw.integers(1, 4))
        row += draw.dirichlet(np.ones(len(some))).astype(np.float32) @ found[some]
    asked += 0.5 * draw.standard_normal(asked.shape, dtype=np.float32) * spectrum
    for part in (found, asked):
        faiss.normalize_L2(part)
    return found, asked


def measured(store: FaissStore, flat: Any, queries: Vectors, shares: NDArray[np.float64]) -> dict[str, Any]:
    """Recall among the 100 nearest and milliseconds of single queries, for each filter.

    Each query is asked of all three in turn, so that whatever else the machine does slows all of them.
    """
    rows = {}
    for share in SHARES:
        wanted = ItemFilter() if share == 1 else ItemFilter(where={"share": {"to": share}})
        mask = shares <= share
        bits = np.packbits(mask, bitorder="little")
        selector = None if mask.all() else faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
        store.search(queries[:1], K, [wanted])
        hits, times = 0, np.zeros((len(queries), 3))
        for row, query in enumerate(queries):
            start = [time.perf_counter()]
            (found,) = store.search(query[None], K, [wanted])
            start.append(time.perf_counter())
            flat.search(query[None], K)
            start.append(time.perf_counter())
            places = flat.search(query[None], K, params=faiss.SearchParameters(sel=selector))[1][0]
            start.append(time.perf_counter())
            times[row] = np.diff(start) * 1e3
            hits += len(set(places.tolist()) & {int(name) for name in found.ids})
        mine, all_, those = np.median(times, axis=0)
        rows[f"{share:.0%} of the items"] = {
            "recall_at_100": round(hits / (K * len(queries)), 4),
            "p50_ms": round(float(mine), 2),
            "p99_ms": round(float(np.percentile(times[:, 0], 99)), 2),
            "exact_of_all_ms": round(float(all_), 2),
            "exact_of_these_ms": round(float(those), 2),
            "exact_of_all_over_index": round(float(all_ / mine), 1),
        }
    return rows


def changed(store: FaissStore, count: int) -> dict[str, float]:
    """Seconds to add items and to remove them again."""
    vectors, _ = catalogue(count, 1, seed=9)
    ids = [f"new-{k}" for k in range(count)]
    start = time.perf_counter()
    store.upsert(NewItems(ids=ids, vectors=vectors, fields={"share": [0.5] * count}))
    middle = time.perf_counter()
    store.remove(ids)
    return {"added_s": round(middle - start, 2), "removed_s": round(time.perf_counter() - middle, 2), "items": count}


def main() -> None:
    """Build each kind, measure it, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", default=["IVFFlat", "IVFSQ8"])
    parser.add_argument("--recall", nargs="+", type=float, default=[0.99, 0.98], help="for each kind")
    parser.add_argument("--threads", type=int, default=2, help="to build with; searches take one")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    vectors, queries = catalogue(options.items, 3 * options.queries)
    ids, shares = [str(k) for k in range(options.items)], np.random.default_rng(3).random(options.items)
    fields = ItemFields(pa.table({"share": shares}))
    tuned, judged, asked = np.split(queries, 3)
    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    results: dict[str, Any] = {"items": options.items, "dim": DIM}
    for kind, recall in zip(options.kinds, options.recall, strict=True):
        start = time.perf_counter()
        index = ItemIndex.build(vectors, ids, [""] * len(ids), "", tuned, judged, recall, kind=kind, fields=fields)
        built = {"built_s": round(time.perf_counter() - start, 1), **index.facts}
        built["MiB"] = round(built.pop("bytes") / 2**20)
        store = FaissStore(index)
        faiss.omp_set_num_threads(1)
        built["filters"] = measured(store, flat, asked, shares)
        faiss.omp_set_num_threads(options.threads)
        built["changes"] = changed(store, min(10_000, options.items))
        results[kind] = built
        print(json.dumps({kind: built}, indent=2), flush=True)
    results["peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
