"""`recommend --users`: the rows of single recommendations, for many users, interrupted or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_retrieval import tiny_data, tiny_two_tower

from lightning_tl.retrieval import Recommender
from lightning_tl.retrieval.batches.many_recommendations import ManyRecommendations
from lightning_tl.search import ItemIndex
from lightning_tl.storage.parts_on_disk import PartsOnDisk


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    data, module = tiny_data(tmp_path_factory.mktemp("many")), tiny_two_tower()
    data.take_everything()
    data.setup()
    module.build(data)
    vectors = module.eval().item_vectors().detach().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = ItemIndex.build(vectors, data.log.item_ids, data.item_titles, "a", vectors[:0])
    return Recommender(module, data, index, data.log)


def test_they_are_the_rows_of_single_users_in_the_order_of_the_table(recommender: Recommender) -> None:
    users = ["u9", "stranger", "u3", "u9", *(f"u{k}" for k in range(10, 40))]
    table = ManyRecommendations(recommender, 7).table(users)
    assert list(table["user"].drop_duplicates()) == list(dict.fromkeys(users))
    start = 0
    for user in users:
        single = recommender.recommend(user, 7)
        rows = table.iloc[start : start + len(single.items)]
        start += len(rows)
        assert (rows["user"] == user).all() and list(rows["rank"]) == list(range(1, len(rows) + 1))
        np.testing.assert_allclose(rows["score"], single.scores, atol=1e-5)
        same = [recommender.log.item_ids[item] for item in single.items]
        assert list(rows["item"]) == same or len(np.unique(np.round(single.scores, 5))) < len(same)
        assert set(rows["by"]) == {"popularity" if user == "stranger" else "history"}
    assert start == len(table)
    assert len(ManyRecommendations(recommender, 3).table([])) == 0


def test_an_interrupted_job_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    def frame(part: int) -> pd.DataFrame:
        return pd.DataFrame({"user": [f"u{part}"]})

    made = []
    for rank in (0, 1):
        parts = PartsOnDisk(tmp_path / "recs.parquet", {"a": 1}, 5)
        if rank == 0:
            parts.begin(False)
        for part in parts.left(rank, 2)[:1]:  # each is stopped after its first
            parts.write(part, lambda part=part: frame(part))  # type: ignore[misc]
            made.append(part)
    with pytest.raises(ValueError, match=r"parts of another job .* or add --overwrite to drop them"):
        PartsOnDisk(tmp_path / "recs.parquet", {"a": 2}, 5).begin(False)
    again = PartsOnDisk(tmp_path / "recs.parquet", {"a": 1}, 5)
    again.begin(False)
    assert made == [0, 1] and again.left(0, 1) == [2, 3, 4]
    for part in again.left(0, 1):
        again.write(part, lambda part=part: frame(part))  # type: ignore[misc]
    assert again.finish() == 5
    assert list(pd.read_parquet(tmp_path / "recs.parquet")["user"]) == [f"u{k}" for k in range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["recs.parquet"]
    with pytest.raises(ValueError, match="is there already: take another name, or add --overwrite"):
        again.begin(False)
