"""The data module of event logs: what it reads, refuses, and never lets through from the future."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from movielens_files import movielens
from tiny import tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from datamodules import InteractionDataModule, MovieLensDataModule, StreamRecDataModule
from datamodules.events.profiles import Profiles
from datamodules.sets.streamrec import StreamRecSettings
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.retrieval import NearestNegatives
from lightning_tl.retrieval.retrieval_data import RetrievalData


def ready(folder: Path, **options: Any) -> InteractionDataModule:
    data = tiny_data(folder, **options)
    data.setup("fit")
    return data


def test_it_serves_what_retrieval_asks_for(tmp_path: Path) -> None:
    data = ready(tmp_path)
    assert isinstance(data, RetrievalData)
    log = data.training_log
    assert len(log.item_ids) == len(data.item_texts) == len(data.item_titles) == 48
    assert data.profiles.shape == (60, 2) and data.profile_sizes[0] == 3
    assert log.item_ids[3] == "i3" and data.item_titles[3].startswith("this is the")
    assert data.sample_ids([0])[0].startswith("u0 → i")


def test_windows_follow_each_other(tmp_path: Path) -> None:
    data = ready(tmp_path, validation=0.2, test=0.1)
    times = data.log.times
    first, second = data.queries("validation").times, data.queries("test").times
    assert data.training_log.times.max() < first.min() and first.max() < second.min()
    assert 0.05 < (times >= second.min()).mean() < 0.2
    later = ready(tmp_path, validation=0.2, test=0.1, train_on_validation=True)
    assert len(later.training_log) == len(data.training_log) + len(data.windows.validation)
    assert len(later.queries("test")) == len(data.queries("test")) and later.val_dataloader() == []


def with_a_future(folder: Path, start: int) -> Path:
    """From `start` on other items are taken, new ones too, by new users too; the tables have rows for these."""
    whole, other = folder / "log", folder / "other"
    other.mkdir()
    events = pd.read_parquet(whole / "events.parquet")
    generator = np.random.default_rng(1)
    late = events["time"] >= start
    events.loc[late, "item"] = [f"i{k}" for k in generator.integers(0, 60, int(late.sum()))]
    new = pd.DataFrame({"user": ["u70"] * 9, "item": [f"i{k}" for k in range(45, 54)], "time": start + np.arange(9)})
    pd.concat([events, new.assign(completion=1.0)]).to_parquet(other / "events.parquet")
    items, users = (pd.read_parquet(whole / f"{name}.parquet") for name in ("items", "users"))
    titles = [f"a thing of the future {k}" for k in range(48, 60)]
    more = pd.DataFrame({"item": [f"i{k}" for k in range(48, 60)], "title": titles, "category": "boat"})
    pd.concat([items, more]).to_parquet(other / "items.parquet")
    pd.concat([users, pd.DataFrame({"user": ["u70"], "gender": ["X"], "age": [999]})]).to_parquet(
        other / "users.parquet"
    )
    return other


def test_a_planted_future_is_never_read(tmp_path: Path, saved_models: Path) -> None:
    """What training and validation see, and the weights after two epochs, stay, bit for bit."""
    write_log(tmp_path / "log")
    whole = ready(tmp_path / "log")
    start = int(whole.queries("test").times.min())
    validation = int(whole.queries("validation").times.min())
    seen, weights = [], []
    for folder in (tmp_path / "log", with_a_future(tmp_path, start)):
        windows: dict[str, Any] = {"validation": validation, "test": start, "cache": tmp_path / "cache"}
        data = tiny_data(folder, **windows, hard_negatives=1, uniform_negatives=3)
        data.setup("fit")
        batches = [*data.train_dataloader(), *data.val_dataloader()]
        names_of = ("history", "user", "row", "position", "target", "uniform", "hard")
        seen.append([batch[name].tolist() for batch in batches for name in names_of if name in batch])
        counts = np.bincount(data.training_log.items, minlength=60)
        seen[-1] += [data.profiles[:60].tolist(), data.user_profiles.vocabulary, counts.tolist()]
        encoder = HuggingFaceText(str(saved_models / "minilm"))
        module = tiny_two_tower(encoder, mining=NearestNegatives(every=4, skip=1))
        tiny_trainer(tmp_path / folder.name, max_epochs=2, limit_val_batches=0).fit(module, datamodule=data)
        weights.append(module.state_dict())
    assert seen[0] == seen[1]
    different = [name for name, value in weights[0].items() if not torch.equal(value, weights[1][name])]
    assert not different and float(weights[0]["items.spread"].sum()) > 0


def test_histories_of_the_test_window_roll_on(tmp_path: Path) -> None:
    data = ready(tmp_path)
    queries, log = data.queries("test"), data.log
    batch = next(iter(data.test_dataloader()))
    for row in range(len(batch["target"])):
        event = int(batch["index"][row])
        before = (log.users == log.users[event]) & (log.times < log.times[event])
        read = batch["history"][row, : batch["position"][row]].tolist()
        assert read == log.items[before].tolist()[-6:]
    assert (queries.lengths > np.bincount(data.training_log.users, minlength=60)[queries.users]).any()


def test_leaving_the_last_out_says_that_it_leaks(tmp_path: Path) -> None:
    data = ready(tmp_path, split="leave_last_out")
    assert len(data.queries("test")) == 60 and any("leaks" in note for note in data.notes)


def test_repeated_items_are_told_and_not_asked_for(tmp_path: Path) -> None:
    write_log(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    last = int(events["time"].max())
    again = events[events["completion"] > 0.5].groupby("user").head(1).assign(time=last)
    pd.concat([events, again]).to_parquet(tmp_path / "events.parquet")
    data = ready(tmp_path)
    assert any("60 of" in note and "repeat an item" in note for note in data.notes)
    assert len(data.queries("test")) == len(data.windows.test) - 60


def test_only_ids_are_needed(tmp_path: Path) -> None:
    write_log(tmp_path)
    data = InteractionDataModule(tmp_path / "events.parquet", num_workers=0, cache=tmp_path / "cache")
    data.setup("fit")
    assert list(data.item_texts) == [] and data.profiles.shape[1] == 0
    assert data.events is not None and data.events.viewed is None


def change(folder: Path, name: str, **columns: Any) -> None:
    table = pd.read_parquet(folder / f"{name}.parquet")
    table.assign(**columns).to_parquet(folder / f"{name}.parquet")


def duplicated(folder: Path, name: str) -> None:
    table = pd.read_parquet(folder / f"{name}.parquet")
    pd.concat([table, table.head(1)]).to_parquet(folder / f"{name}.parquet")


def drop(folder: Path, name: str, column: str) -> None:
    pd.read_parquet(folder / f"{name}.parquet").drop(columns=column).to_parquet(folder / f"{name}.parquet")


def shorter(folder: Path, rows: int) -> None:
    pd.read_parquet(folder / "items.parquet").head(rows).to_parquet(folder / "items.parquet")


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda f: drop(f, "items", "title"), {}, r"no column 'title'.* Set texts to the right one"),
        (lambda f: drop(f, "items", "category"), {}, r"no column 'category'"),
        (lambda f: drop(f, "users", "user"), {}, r"no column 'user'"),
        (lambda f: drop(f, "events", "item"), {}, r"'item'"),
        (lambda f: duplicated(f, "items"), {}, r"the item i0 more than once: rows? 49; keep one row each"),
        (lambda f: duplicated(f, "users"), {}, r"the user u0 more than once: row 61"),
        (lambda f: shorter(f, 20), {}, r"i2\d|i3\d|i4\d"),
        (lambda f: change(f, "events", time=lambda t: t["time"] * 1000), {}, r"time_unit"),
        (lambda f: change(f, "events", completion=2.0), {}, r"completion"),
        (lambda f: None, {"profile": ["genders"]}, r"no column 'genders'; did you mean gender"),
        (lambda f: None, {"test": "2031-01-01", "validation": "2030-01-01"}, r"window|event"),
        (lambda f: None, {"split": "random"}, r"split must be temporal or leave_last_out, got 'random'"),
        (lambda f: None, {"history_length": 1}, r"history_length must be at least 2, got 1"),
        (lambda f: None, {"queries_per_row": 0}, r"queries_per_row must be at least 1, got 0"),
        (lambda f: None, {"hard_negatives": -1}, r"hard_negatives must be at least 0, got -1"),
    ],
)
def test_what_is_refused(spoil: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_log(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        ready(tmp_path, **options)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (["items"], r"no table .*items.parquet; did you mean .*users.parquet\? Else set items \(--data.items=FILE\)"),
        (["users"], r"no table .*users.parquet.* set users \(--data.users=FILE\)"),
        (["items", "events"], r"set items and events, none of which is there \(--data.items=FILE --data.events=FILE\)"),
        (["items", "users", "events"], r"items.parquet; set items and users and events, none of which is there \(--"),
    ],
)
def test_all_files_that_are_gone_are_named_at_once(gone: list[str], words: str, tmp_path: Path) -> None:
    write_log(tmp_path)
    for name in gone:
        (tmp_path / f"{name}.parquet").unlink()
    names = {name: tmp_path / f"{name}.parquet" for name in ("events", "items", "users")}
    with pytest.raises(FileNotFoundError, match=words):
        InteractionDataModule(**names, texts=["title"], cache=tmp_path / "cache").setup("fit")


def test_more_negatives_than_items(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"uniform_negatives must be at most the number of items .* training window, 4\d, got 100"
    ):
        ready(tmp_path, uniform_negatives=100).train_dataloader()


def test_no_events_at_all() -> None:
    with pytest.raises(ValueError, match="there are no events: set events to a Parquet or CSV file"):
        InteractionDataModule().setup("fit")


@pytest.mark.parametrize(("policy", "items"), [("skip", 20), ("text-less", 48)])
def test_items_without_a_row(policy: str, items: int, tmp_path: Path) -> None:
    write_log(tmp_path)
    shorter(tmp_path, 20)
    data = ready(tmp_path, unknown_items=policy)
    assert len(data.item_texts) == items and len(data.log.item_ids) == items
    assert sum(text == "" for text in data.item_texts) == items - 20


# ---------------------------------------------------------------- profiles


def test_profiles_are_coded_by_training_users() -> None:
    table = pd.DataFrame({"sex": ["F", "M", None, "X"], "age": ["30", "40", "50", None]})
    found = Profiles(table, np.array([True, True, True, False]))
    assert found.codes.tolist() == [[1, 1], [2, 2], [0, 3], [0, 0]] and found.sizes == (3, 4)
    assert found.labels["sex"].tolist() == ["F", "M", "unknown", "unknown"]


def test_numbers_are_cut_at_the_deciles_of_training_users() -> None:
    age = np.concatenate([np.arange(100.0), [1e6, np.nan]])
    found = Profiles(pd.DataFrame({"age": age}), np.arange(102) < 100)
    codes = found.codes[:, 0]
    assert np.bincount(codes[:100]).tolist() == [0] + [10] * 10
    assert codes[100] == 10 and codes[101] == 0 and found.sizes == (11,)
    assert found.labels["age"][[0, 100, 101]].tolist() == ["below 9.9", "89.1 up", "unknown"]


# ---------------------------------------------------------------- data sets that people know


@pytest.mark.parametrize("parquet", [False, True])
def test_movielens_in_both_shapes(parquet: bool, tmp_path: Path) -> None:
    data = MovieLensDataModule(movielens(tmp_path / "ml", parquet), cache=tmp_path / "cache", num_workers=0)
    data.setup("fit")
    assert data.item_titles[0] == "Film 1 (1995)" and data.item_texts[0] == "Film 1 (1995). Comedy, Drama"
    assert data.item_categories[0] == "Comedy" and len(data.log) == 64
    assert data.profile_labels.keys() == {"age", "gender", "occupation"}


def test_a_folder_without_movielens(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither u.item nor items.parquet: set root .*to the unpacked folder"):
        MovieLensDataModule(tmp_path).setup("fit")
    with pytest.raises(FileNotFoundError, match="no folder was given: set root"):
        MovieLensDataModule().setup("fit")


def test_streamrec_has_hard_negatives_and_an_oracle(tmp_path: Path) -> None:
    world = StreamRecSettings(users=40, items=120, days=30)
    data = StreamRecDataModule(world, cache=tmp_path, num_workers=0, hard_negatives=1, batch_size=8)
    data.setup("fit")
    assert data.events is not None and data.events.viewed is not None and len(data.events.viewed) > 50
    batch = next(iter(data.train_dataloader()))
    assert len(batch["hard"]) > 0
    queries = data.queries("test")
    found = data.oracle.scores(queries, slice(0, 120))
    assert found.shape == (len(queries), 120)
    part = data.oracle.scores(queries, slice(5, 9))
    assert part.tolist() == found[:, 5:9].tolist()
    chance = 1 / 120
    share = (found[np.arange(len(queries)), queries.targets] / found.sum(1)).mean()
    assert share > 2 * chance


# ---------------------------------------------------------------- what would go unnoticed


def test_a_window_in_which_nothing_is_new(tmp_path: Path) -> None:
    write_log(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet").query("completion == 1")
    start = int(events["time"].quantile(0.8))
    first = events[events["time"] < start]
    again = first.drop_duplicates("user").assign(time=start + 10)
    pd.concat([first, again]).to_parquet(tmp_path / "events.parquet")
    with pytest.raises(
        ValueError, match=r"nothing is left to be foretold in the test window: all of its 60 events repeat"
    ):
        ready(tmp_path, test=start + 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"completion": None, "min_completion": 0.7}, "min_completion=0.7 has no effect without completion"),
        ({"items": None, "texts": None, "category": None, "unknown_items": "skip"}, "unknown_items=skip has no effect"),
        ({"profile": ["age", "age"]}, "profile names the column 'age' more than once"),
        ({"history_length": 10**8}, "history_length must be at most 10,000, got 100,000,000"),
    ],
)
def test_options_in_vain(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_log(tmp_path)
    tables: dict[str, Any] = {name: tmp_path / f"{name}.parquet" for name in ("events", "items", "users")}
    usual = {"completion": "completion", "category": "category", "texts": ["title"], "cache": tmp_path / "cache"}
    with pytest.raises(ValueError, match=message):
        InteractionDataModule(**(tables | usual | options)).setup("fit")


def test_a_profile_of_lists(tmp_path: Path) -> None:
    write_log(tmp_path)
    change(tmp_path, "users", speaks=[["de", "fr"]] * 60)
    with pytest.raises(ValueError, match="the column 'speaks' of users holds a ndarray"):
        ready(tmp_path)


def test_what_tells_every_user_apart_is_told(tmp_path: Path) -> None:
    write_log(tmp_path)
    change(tmp_path, "users", mail=[f"u{k}@example.org" for k in range(60)], town=list("abcd") * 15)
    data = ready(tmp_path)
    assert set(data.profile_labels) == {"gender", "age", "town", "mail"}
    assert "the column of users 'mail' has 60 different values for 60 users, as an id does" in " ".join(data.notes)
    assert not ready(tmp_path, profile=["mail"]).notes
    assert set(ready(tmp_path, profile=["mail"]).profile_labels) == {"mail"}


def test_items_without_text_are_counted(tmp_path: Path) -> None:
    write_log(tmp_path)
    change(tmp_path, "items", title=["", None, "  "] + ["a title"] * 45)
    assert "3 of 48 items have no text: an encoder reads nothing of them" in ready(tmp_path).notes
