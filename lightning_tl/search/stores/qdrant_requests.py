"""Searching and writing a collection of Qdrant's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_tl.search.stores.about import About
from lightning_tl.search.stores.qdrant_conditions import ID, key_of, payload_of, point_id
from lightning_tl.search.stores.rows import AT_ONCE, batches, row_of
from lightning_tl.search.vector_store import Found, NewItems, Vectors

_QUERIES = 16  # of a request, each of which may name thousands of items that are left out
_DEEPER = 4  # times as many candidates of a graph as are wanted


def nearest(
    client: Any, about: About, queries: Vectors, k: int, filters: Sequence[Any], remote: bool = True
) -> list[Found]:
    """The k nearest items to each query.

    Where a graph gives fewer than there are, they are compared one by one.

    Args:
        client: of Qdrant.
        about: the catalogue.
        queries: [queries, dim].
        k: how many.
        filters: one for each query, from `filter_of`; None where nothing passes.
        remote: whether it is a cluster; the client by itself compares one by one, and wants no word of it.
    """
    from qdrant_client import models

    params = models.SearchParams(exact=True)
    if about.graph:  # ACORN (Patel et al., 2024) looks past neighbours that a filter leaves out
        acorn = models.AcornSearchParams(enable=True)
        params = models.SearchParams(exact=False, hnsw_ef=max(128, _DEEPER * k), acorn=acorn)
    rows = [row for row, one in enumerate(filters) if one is not None]
    found = [Found([], np.zeros(0, np.float32))] * len(queries)
    found = _put(found, rows, _asked(client, about.place, queries, k, filters, rows, params if remote else None))
    if about.graph:
        few = [row for row in rows if len(found[row].ids) < k]
        few = [row for row in few if len(found[row].ids) < client.count(about.place, filters[row], exact=True).count]
        found = _put(found, few, _asked(client, about.place, queries, k, filters, few, models.SearchParams(exact=True)))
    return found


def write(client: Any, about: About, items: NewItems, vectors: Vectors, places: Sequence[int]) -> None:
    """Add or change some items, all or none.

    Args:
        client: of Qdrant.
        about: the catalogue.
        items: of which some are written.
        vectors: [items, dim].
        places: which.
    """
    from qdrant_client import models

    titles = items.titles or [""] * len(items.ids)
    points = [
        models.PointStruct(
            id=point_id(items.ids[k]),
            vector=vectors[k].tolist(),
            payload=payload_of(items.ids[k], titles[k], row_of(items.fields, k, about.columns), about),
        )
        for k in places
    ]
    client.upsert(about.place, points, wait=True)


def points_of(
    client: Any, place: str, ids: Sequence[str], fields: Sequence[str] = (ID,), with_vectors: bool = False
) -> dict[str, Any]:
    """Those of the items that are there, by id.

    Args:
        client: of Qdrant.
        place: of the collection.
        ids: which are wanted.
        fields: of their payload, the id among them.
        with_vectors: whether their vectors are wanted.
    """
    found: dict[str, Any] = {}
    wanted = list(dict.fromkeys(ids))
    for part in batches(len(wanted)):
        points = [point_id(wanted[k]) for k in part]
        for point in client.retrieve(place, points, with_payload=list(fields), with_vectors=with_vectors):
            found[str(point.payload[ID])] = point
    return found


def passing(client: Any, about: About, passed: Any, most: int | None) -> dict[str, None]:
    """Ids of items that pass a filter from `filter_of`, so many at most."""
    found: dict[str, None] = {}
    offset = None
    while passed is not None and (most is None or len(found) < most):
        at_once = AT_ONCE if most is None else min(AT_ONCE, most - len(found))
        points, offset = client.scroll(about.place, passed, limit=at_once, offset=offset, with_payload=[ID])
        found |= dict.fromkeys(str(point.payload[ID]) for point in points)
        if offset is None:
            break
    return found


def number_key(about: About, column: str) -> str:
    """Where the numbers of a column lie.

    Raises:
        ValueError: there is no such column of numbers or truth values.
    """
    about.check_numbers(column)
    return key_of(about, column)


def span_of(client: Any, about: About, column: str) -> tuple[float, float]:
    """The least and greatest value of a column of numbers; see `Catalogue`."""
    from qdrant_client import models

    key, ends = number_key(about, column), []
    if about.columns[column] == "truth values":
        for value in (False, True):
            match = models.FieldCondition(key=key, match=models.MatchValue(value=value))
            if client.count(about.place, models.Filter(must=[match]), exact=True).count:
                ends.append(float(value))
    else:
        for direction in (models.Direction.ASC, models.Direction.DESC):
            order = models.OrderBy(key=key, direction=direction)
            points, _ = client.scroll(about.place, order_by=order, limit=1, with_payload=[key])
            ends += [float(point.payload[key]) for point in points]
    return (ends[0], ends[-1]) if ends else (float("nan"), float("nan"))


def _asked(
    client: Any, place: str, queries: Vectors, k: int, filters: Sequence[Any], rows: list[int], params: Any
) -> list[Found]:
    from qdrant_client import models

    found = []
    for start in range(0, len(rows), _QUERIES):
        requests = [
            models.QueryRequest(
                query=queries[row].tolist(), filter=filters[row], params=params, limit=k, with_payload=[ID]
            )
            for row in rows[start : start + _QUERIES]
        ]
        for answer in client.query_batch_points(place, requests):
            ids = [str(point.payload[ID]) for point in answer.points]
            found.append(Found(ids, np.array([point.score for point in answer.points], np.float32)))
    return found


def _put(found: list[Found], rows: list[int], more: list[Found]) -> list[Found]:
    new = dict(zip(rows, more, strict=True))
    return [new.get(row, one) for row, one in enumerate(found)]
