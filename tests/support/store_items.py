"""A catalogue with columns of every kind, and filters that are to find the same in every store."""

from __future__ import annotations

import pyarrow as pa
from clustered_vectors import clustered

from lightning_tl.search import FaissStore, ItemFields, ItemFilter, ItemIndex, NewItems

COUNT = 600
IDS = [f"i{k}" for k in range(COUNT)]
FIELDS = {
    "kind": [None if k % 11 == 0 else ("boat", "car", "bike")[k % 3] for k in range(COUNT)],
    "price": [None if k % 13 == 0 else k / 10 for k in range(COUNT)],
    "new": [k % 4 == 0 for k in range(COUNT)],
    "since": [f"2024-{1 + k % 12:02d}-{1 + k % 28:02d}" for k in range(COUNT)],
    "tags": [None if k % 17 == 0 else ["a"] if k % 2 else ["a", "b"] for k in range(COUNT)],
    "od.d [0]": [float(k % 5) for k in range(COUNT)],
}
KINDS = {
    "kind": "texts",
    "price": "numbers",
    "new": "truth values",
    "since": "dates",
    "tags": "lists of texts",
    "od.d [0]": "numbers",
}
FILTERS = [
    ItemFilter(),
    ItemFilter(deny=frozenset(IDS[:200])),
    ItemFilter(allow=frozenset(IDS[100:150]) | {"unknown"}),
    ItemFilter(allow=frozenset(IDS[100:150]), deny=frozenset(IDS[120:200]) | {"unknown"}),
    ItemFilter(allow=frozenset()),
    ItemFilter(where={"kind": "boat"}),
    ItemFilter(where={"kind": []}),
    ItemFilter(where={"kind": ["boat", "car"], "price": {"from": 10, "to": 40.5}}),
    ItemFilter(where={"kind": "it's %s; DROP TABLE x --"}),
    ItemFilter(where={"price": [3, 4.5]}),
    ItemFilter(where={"price": 7}),
    ItemFilter(where={"price": {"from": float("-inf")}}),
    ItemFilter(where={"price": {"from": -1e300, "to": float("inf")}}),
    ItemFilter(where={"price": {"from": float("inf")}}),
    ItemFilter(where={"price": [float("inf"), 7]}),
    ItemFilter(where={"new": True}, deny=frozenset(IDS[:40])),
    ItemFilter(where={"new": [True, False]}),
    ItemFilter(where={"since": {"from": "2024-03-05", "to": "2024-06-01"}}),
    ItemFilter(where={"since": "2024-02-02"}),
    ItemFilter(where={"since": ["2024-02-02", "2024-03-03"]}),
    ItemFilter(where={"tags": "b"}),
    ItemFilter(where={"tags": ["b", "c"], "new": False}),
    ItemFilter(where={"od.d [0]": {"from": 2, "to": 3}}),
    ItemFilter(where={"od.d [0]": -0.0}),
]
REFUSED = [
    (ItemFilter(where={"kinds": "boat"}), "no column 'kinds' to filter by; it has: kind, "),
    (ItemFilter(where={"price": "cheap"}), "'price' is a column of numbers"),
    (ItemFilter(where={"price": float("nan")}), "'price' is a column of numbers"),
    (ItemFilter(where={"price": 10**400}), "cannot be compared|it is too large"),
    (ItemFilter(where={"price": {"from": 3, "to": 1}}), "nothing lies in it"),
    (ItemFilter(where={"tags": {"from": "a"}}), "which has no ranges"),
    (ItemFilter(where={"since": "soon"}), "'since' is a column of dates"),
    (ItemFilter(where={"new": 1}), "'new' is a column of truth values"),
]


def items(numbers: range = range(COUNT), seed: int = 0) -> NewItems:
    """Some of the catalogue."""
    fields = {name: [values[k] for k in numbers] for name, values in FIELDS.items()}
    vectors = clustered(COUNT, seed)[list(numbers)]
    return NewItems(
        ids=[IDS[k] for k in numbers], vectors=vectors, titles=[IDS[k].upper() for k in numbers], fields=fields
    )


def exact_store() -> FaissStore:
    """The whole catalogue, compared one by one."""
    table = {**FIELDS, "since": pa.array(FIELDS["since"]).cast(pa.date32())}
    queries = clustered(20, 5)
    titles = [name.upper() for name in IDS]
    index = ItemIndex.build(clustered(COUNT, 0), IDS, titles, "abc", queries, kind="FlatIP")
    index.fields = ItemFields(pa.table(table))
    return FaissStore(index)
