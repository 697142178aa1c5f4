"""Recommendations whose items a database searches, over HTTP: while it is away, and when it is back."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pgserver
import pytest
from served_models import client_of, service_of
from store_items import COUNT, IDS, KINDS, exact_store, items

from lightning_tl.search.stores.circuit import Circuit
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.search.stores.qdrant_connection import QdrantConnection
from lightning_tl.search.stores.qdrant_store import QdrantStore
from lightning_tl.search.vector_store import Catalogue
from lightning_tl.serving.answering import Dependent, ModelFacts, Wish
from lightning_tl.serving.models.indexed_recommender import IndexedRecommender
from lightning_tl.serving.models.known_users import KnownUsers

USERS = KnownUsers(
    histories={"ann": ["i1", "i2", "i3"]}, popular=[f"i{k}" for k in range(40, 400)], events=list(range(360, 0, -1))
)
WISHES = [
    Wish(user="ann", k=10),
    Wish(history=("i7", "i9"), k=5, where={"kind": "boat"}, deny=frozenset(["i21"])),
    Wish(user="zoe", k=7, where={"new": True}),
    Wish(user="zoe", k=300, where={"price": {"from": 5, "to": 50}}),
    Wish(user="zoe", k=4, allow=frozenset(["i1", "i50", "i45", "i599"])),
    Wish(user="ann", k=6, diversity=0.4),
    Wish(user="ann", k=6, boost={"price": 0.01, "new": 0.2}),
    Wish(user="ann", k=3, boost={"od.d [0]": -0.1}, where={"tags": "b"}),
]


def recommender(store: Catalogue) -> IndexedRecommender:
    vectors = dict(zip(IDS, items().vectors, strict=True))

    def encode(histories: object, profiles: object) -> np.ndarray:
        rows = [np.mean([vectors[name] for name in history], axis=0) for history in histories]  # type: ignore[attr-defined]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    facts = ModelFacts(kind="recommendations", version="1", task="retrieval")
    return IndexedRecommender(facts, encode, store, USERS, 20)


@pytest.mark.parametrize("kind", ["qdrant", "postgres"])
def test_what_is_recommended_is_what_the_index_recommends(kind: str, tmp_path: Path) -> None:
    """Filters, popularity, diversity and boosts, by the same code."""
    server = None
    store: PostgresStore | QdrantStore
    if kind == "qdrant":
        connection = QdrantConnection(":memory:", None, 5.0, Circuit("the Qdrant"))
        store = QdrantStore.load(connection, "films", items(), "abc", KINDS)
    else:
        server = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
        store = PostgresStore.load(server.get_uri(), "films", items(), "abc", KINDS)
    mine, right = recommender(store), recommender(exact_store())
    for wish in WISHES:
        (found,), (expected,) = mine.recommend([wish]), right.recommend([wish])
        if expected.by == "popularity" and len(expected.items) > len(USERS.popular):
            assert set(found.items) == set(expected.items), wish  # those that nobody took are in no order
            continue
        assert (found.items, found.titles, found.because) == (expected.items, expected.titles, expected.because), wish
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        assert found.note == expected.note
    assert mine.similar("i7", 5).items == right.similar("i7", 5).items
    store.close()
    if server is not None:
        server.cleanup()


def test_a_database_that_goes_and_comes_back(tmp_path: Path) -> None:
    server = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
    circuit = Circuit("the database", failures=2, rest_s=1.5)
    store = PostgresStore.load(server.get_uri(), "films", items(), "abc", KINDS, circuit=circuit, timeout_s=2)
    model = recommender(store)
    assert isinstance(model, Dependent)
    wish = {"history": ["i7"], "k": 3}
    with client_of(service_of(("films", model))) as client:
        before = client.post("/recommend", json=wish).json()["items"]
        assert len(before) == 3 and client.get("/ready").json() == {"status": "ready"}
        server.cleanup()
        for number in range(4):
            answer = client.post("/recommend", json=wish)
            told = "does not answer" if number < 2 else "the database did not answer just now; it is asked again in"
            assert answer.status_code == 503 and told in answer.json()["error"], answer.text
            assert int(answer.headers["retry-after"]) >= 1
        time.sleep(1.1)  # what /ready said before is kept for a second
        ready = client.get("/ready")
        assert ready.status_code == 503 and ready.json()["error"].startswith("films: the database did"), ready.text
        assert client.get("/similar/i7").status_code == 503 and client.get("/health").status_code == 200
        assert client.post("/recommend", json={"history": ["i7"], "k": 0}).status_code == 422
        back = pgserver.get_server(tmp_path / "data", cleanup_mode="stop")
        assert back.get_uri() == store.database.dsn
        until = time.monotonic() + 20
        while client.get("/ready").status_code != 200 and time.monotonic() < until:
            time.sleep(0.3)
        assert client.get("/ready").json() == {"status": "ready"}
        assert client.post("/recommend", json=wish).json()["items"] == before
        store.swap(items(range(COUNT // 2)), "another model")
        store.model_sha256 = "abc"
        answer = client.post("/recommend", json=wish)
        assert answer.status_code == 503 and "vectors of another model (hash another mode)" in answer.json()["error"]
    store.close()
    back.cleanup()
