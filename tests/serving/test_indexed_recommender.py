"""What is shown to whoever asks, against slow rankings of the same vectors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clustered_vectors import clustered

from lightning_tl.search import FaissStore, ItemFields, ItemIndex
from lightning_tl.search.rules.boost import Boost
from lightning_tl.search.rules.diversity import diverse
from lightning_tl.serving.answering import BadInputError, ModelFacts, RecommendingModel, Wish
from lightning_tl.serving.models.indexed_recommender import IndexedRecommender
from lightning_tl.serving.models.known_users import KnownUsers

COUNT = 400
VECTORS = clustered(COUNT, 0)
MARGIN = np.random.default_rng(5).random(COUNT)
IDS = [f"i{k}" for k in range(COUNT)]
USERS = KnownUsers(
    histories={"ann": ["i1", "i2", "gone", "i3"], "bob": []},
    not_again={"ann": ["i9"]},
    profiles={"bob": {"country": "NZ"}},
    popular=["i30", "i20", "i10"],
    events=[9.0, 5.0, 1.0],
)


def encode(histories: Sequence[Sequence[str]], profiles: Sequence[Mapping[str, str] | None]) -> np.ndarray:
    """The mean of the history, or a direction for each country."""
    rows = []
    for history, profile in zip(histories, profiles, strict=True):
        places = [int(name[1:]) for name in history]
        rows.append(VECTORS[places].mean(0) if places else VECTORS[50 if profile == {"country": "NZ"} else 60])
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def model(**options: Any) -> IndexedRecommender:
    fields = ItemFields(pa.table({"kind": [f"k{k % 5}" for k in range(COUNT)], "margin": MARGIN}))
    none = VECTORS[:0]
    index = ItemIndex.build(VECTORS, IDS, [name.upper() for name in IDS], "abc", none, fields=fields)
    facts = ModelFacts(kind="recommendations", version="1", task="retrieval")
    return IndexedRecommender(facts, encode, FaissStore(index), USERS, 20, **{"reads_profiles": True} | options)


def ranking(vector: np.ndarray, without: Sequence[int] = ()) -> list[str]:
    return [f"i{k}" for k in np.argsort(-(VECTORS @ vector), kind="stable").tolist() if k not in set(without)]


def test_it_is_what_the_service_asks_for() -> None:
    assert isinstance(model(), RecommendingModel)


def test_known_users_strangers_sessions_and_profiles_at_once() -> None:
    wishes = [
        Wish(user="ann", k=10),
        Wish(user="zoe", k=2),
        Wish(history=("i7", "i8"), k=10),
        Wish(profile={"country": "NZ"}, k=3),
        Wish(user="bob", k=3),
        Wish(user="ann", exclude="none", k=10),
        Wish(user="zoe", k=5, where={"kind": "k0"}, deny=frozenset({"i20"})),
    ]
    ann, zoe, session, profile, bob, again, filtered = model().recommend(wishes)
    vector = encode([["i1", "i2", "i3"]], [None])[0]
    assert ann.items == ranking(vector, [1, 2, 3, 9])[:10] and ann.by == "history" and ann.note == ""
    assert ann.history == ["i1", "i2", "i3"] and ann.history_titles == ["I1", "I2", "I3"]
    assert ann.titles == [name.upper() for name in ann.items]
    for item, near in zip(ann.items, ann.because, strict=True):
        assert near == max(ann.history, key=lambda name: VECTORS[int(name[1:])] @ VECTORS[int(item[1:])])
    assert again.items == ranking(vector)[:10]
    assert (zoe.items, zoe.scores, zoe.by) == (["i30", "i20"], [9.0, 5.0], "popularity")
    assert "there is no user 'zoe'" in zoe.note and zoe.because == []
    assert session.items == ranking(encode([["i7", "i8"]], [None])[0], [7, 8])[:10]
    assert profile.items == bob.items == ranking(VECTORS[50])[:3] and profile.by == bob.by == "profile"
    assert filtered.items == ["i30", "i10", "i0", "i5", "i15"]


def test_a_model_that_reads_no_profiles_takes_what_is_popular() -> None:
    (bob,) = model(reads_profiles=False).recommend([Wish(user="bob", k=1)])
    assert bob.by == "popularity" and bob.items == ["i30"] and "no history" in bob.note


def test_fewer_than_asked_are_told() -> None:
    (few,) = model().recommend([Wish(history=("i7",), allow=frozenset({"i1", "i2", "i7"}), k=5)])
    assert sorted(few.items) == ["i1", "i2"] and few.note == "no more than 2 items may be shown, 5 were asked for"


def test_similar_items() -> None:
    found = model().similar("i7", 4)
    assert found.items == ranking(VECTORS[7], [7])[:4] and found.because == ["i7"] * 4


@pytest.mark.parametrize("diversity", [0.2, 0.7])
def test_diversity_by_the_equation(diversity: float) -> None:
    (found,) = model().recommend([Wish(history=("i7",), k=8, diversity=diversity)])
    pool = [int(name[1:]) for name in ranking(VECTORS[7], [7])[:100]]
    chosen: list[int] = []
    while len(chosen) < 8:
        worth = {
            k: (1 - diversity) * float(VECTORS[k] @ VECTORS[7])
            - (diversity * max(float(VECTORS[k] @ VECTORS[j]) for j in chosen) if chosen else 0)
            for k in pool
            if k not in chosen
        }
        chosen.append(max(worth, key=lambda k: worth[k]))
    assert found.items == [f"i{k}" for k in chosen]
    (again,) = model().recommend([Wish(history=("i7",), k=8, diversity=diversity)])
    assert again == found


@pytest.mark.parametrize(
    "boosts",
    [
        [Boost("margin")],
        [Boost("margin", "multiply", 2.0)],
        [Boost("margin", weight=-3)],
        [Boost("margin", weight=5), Boost("margin", weight=-1)],
    ],
)
def test_boosts_as_if_every_item_had_been_scored(boosts: list[Boost]) -> None:
    (found,) = model(boosts=boosts).recommend([Wish(history=("i7",), k=15)])
    scores = (VECTORS @ VECTORS[7]).astype(np.float64)
    for boost in boosts:
        scores = scores + boost.weight * MARGIN if boost.how == "add" else scores * MARGIN**boost.weight
    right = [f"i{k}" for k in np.argsort(-scores, kind="stable").tolist() if k != 7][:15]
    assert found.items == right and "boosted by margin" in found.note


@pytest.mark.parametrize(
    ("wish", "message", "status"),
    [
        (Wish(k=3), "names a user, a history or a profile", 422),
        (Wish(user="ann", k=0), "k must be from 1 to 1,000, got 0", 422),
        (Wish(user="ann", k=1_001), "k must be from 1 to 1,000, got 1001", 422),
        (Wish(user="ann", diversity=1.0), r"diversity must be in \[0, 1\), got 1.0", 422),
        (Wish(history=("i1", "x", "y")), "there is no item 'x' and 1 others, named in history", 404),
        (Wish(user="ann", allow=frozenset({"x"})), "no item 'x', named in allow", 404),
        (Wish(user="ann", where={"colour": "red"}), "no column 'colour' to filter by; it has: kind, margin", 422),
        (Wish(user="zoe", where={"margin": "high"}), "'margin' is a column of numbers, and 'high' is none", 422),
    ],
)
def test_what_cannot_be_answered(wish: Wish, message: str, status: int) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        model().recommend([wish])
    assert caught.value.status == status


@pytest.mark.parametrize(("item", "k"), [("x", 1), ("i1", 0), ("i1", 2_000)])
def test_similar_to_nothing(item: str, k: int) -> None:
    with pytest.raises(BadInputError):
        model().similar(item, k)


def test_boosts_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="'kind' is a column of texts; numbers are needed"):
        model(boosts=[Boost("kind")])
    with pytest.raises(ValueError, match="'add' or 'multiply', got 'max'"):
        Boost("margin", "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has values that are not above 0"):
        Boost("margin", "multiply").factors(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"diversity must be in \[0, 1\), got -1"):
        diverse(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), 1, -1)


def test_search_and_answering_import_no_torch() -> None:
    code = """if True:
        import sys
        import lightning_tl.serving.models.indexed_recommender
        print(sorted({"torch", "lightning", "transformers", "pandas", "datamodules"} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_items_go_while_answers_are_made() -> None:
    served = model()
    errors: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(150):
                for found in served.recommend([Wish(history=("i7", "i8"), k=20), Wish(user="zoe", k=20)]):
                    assert len(found.items) == len(found.titles) == 20
                assert len(served.similar("i7", 20).items) == 20
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for name in ranking(VECTORS[7], [7, 8])[:200]:
        served.store.remove([name])
    for thread in threads:
        thread.join()
    assert errors == []
