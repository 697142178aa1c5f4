"""A run's catalogue in a store, as people type it: loaded, refreshed, served, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pgserver
import pytest
import yaml
from cli_runs import error_of
from ports import free_port
from tiny_retrieval import write_log
from warm_python import warm_executable

from lightning_tl.cli import main
from lightning_tl.cli.commands.index_options import read_index_options
from lightning_tl.cli.commands.opened_store import opened_store
from lightning_tl.cli.commands.serve_options import read_serve_options
from lightning_tl.cli.commands.store_options import StoreOptions
from lightning_tl.search import ItemFilter, ItemIndex
from lightning_tl.search.stores.about import OtherModelError
from lightning_tl.search.stores.postgres_store import PostgresStore
from lightning_tl.serving import open_bundle
from lightning_tl.serving.answering import RecommendingModel, Wish

TOWERS = "lightning_tl.retrieval."
WISHES = [
    Wish(user="u7", k=20),
    Wish(history=("i3", "i9"), k=10, where={"category": "boat"}),
    Wish(user="nobody", k=12, where={"price": {"from": 5, "to": 30}}),
    Wish(user="u3", k=8, diversity=0.3, boost={"price": 0.01}),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run by ids alone, with prices, and its bundle."""
    folder = tmp_path_factory.mktemp("stored")
    log = write_log(folder / "log")
    items = pd.read_parquet(log / "items.parquet")
    items["price"] = np.arange(len(items)) + 0.5
    items["since"] = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(len(items)), unit="D")
    items.to_parquet(log / "items.parquet")
    data = {name: str(log / f"{name}.parquet") for name in ("events", "items", "users")}
    data |= {"completion": "completion", "category": "category", "cache": str(log / "cache")}
    more: dict[str, Any] = {"history_length": 6, "batch_size": 8, "num_workers": 0}
    recipe = {
        "model": {
            "class_path": f"{TOWERS}TwoTower",
            "init_args": {
                "lr": 0.01,
                "items": {"class_path": f"{TOWERS}ItemTower", "init_args": {"dim": 16}},
                "users": {"class_path": f"{TOWERS}HistoryMean"},
            },
        },
        "data": {"class_path": "datamodules.InteractionDataModule", "init_args": data | more},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "checkpoint": {"monitor": "val_mrr", "mode": "max"},
    }
    (folder / "mine.yaml").write_text(f"# mine\n{yaml.safe_dump(recipe)}")
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    main(["index", "build", "--run", str(folder / "run")])
    main(["export", "--run", str(folder / "run")])
    return folder / "run"


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["qdrant", "postgres"])
def words(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Where the items go."""
    if request.param == "qdrant":
        return ["--store", "qdrant", "--url", str(tmp_path / "qdrant"), "--name", "films"]
    return ["--store", "postgres", "--dsn", request.getfixturevalue("dsn"), "--name", "films"]


def model_of(run: Path, words: list[str]) -> Any:
    options = StoreOptions(words[1], words[3], words[5])
    model = open_bundle(run / "bundle", store=lambda model_sha256: opened_store(options, model_sha256))
    assert isinstance(model, RecommendingModel)
    return model


def test_a_run_is_loaded_refreshed_and_recommends_from_a_store(
    run: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", "build", "--run", str(run), *words])
    out = capsys.readouterr().out
    kind = "Qdrant" if words[1] == "qdrant" else "pgvector"
    assert "written  48 of 48 items" in out and f"catalogue films: 48 items, {kind}, compared one by one" in out
    model, own = model_of(run, words), open_bundle(run / "bundle")
    assert isinstance(own, RecommendingModel) and model.facts.version != own.facts.version
    for found, right in zip(model.recommend(WISHES), own.recommend(WISHES), strict=True):
        assert (found.items, found.titles, found.because, found.note) == (
            right.items, right.titles, right.because, right.note,
        )  # fmt: skip
        np.testing.assert_allclose(found.scores, right.scores, atol=1e-5)
    since = [ItemFilter(where={"since": {"to": "2024-01-04"}})]
    assert len(model.store.search(model.store.vectors(["i1"]), 48, since)[0].ids) == 4
    model.store.close()

    new = {"item": ["n1", "i2"], "title": ["this is new", "another title"], "category": ["boat", "new"]}
    pd.DataFrame(new | {"price": [None, 7.0], "other": [1, 2]}).to_parquet(tmp_path / "new.parquet")
    (tmp_path / "gone.txt").write_text("i5\nnobody\n")
    refresh = ["index", "refresh", "--run", str(run), *words, "--items", str(tmp_path / "new.parquet")]
    main([*refresh, "--remove", str(tmp_path / "gone.txt")])
    out = capsys.readouterr().out
    assert "added 1, changed 1, removed 1 of 2 items that were named" in out and "catalogue films: 48 items" in out
    model = model_of(run, words)
    assert model.store.known(["n1", "i5"]) == [True, False]
    assert model.store.titles(["n1", "i2"]) == ["this is new", "another title"]
    assert model.store.values("price", ["i2"])[0] == 7.0 and np.isnan(model.store.values("price", ["n1"])[0])
    (everything,) = model.recommend([Wish(user="u7", k=48, exclude="none")])
    assert "n1" in everything.items and "i5" not in everything.items and len(everything.items) == 48
    model.store.close()
    everybody = "\n".join([*(f"i{k}" for k in range(48)), "n1"])
    (tmp_path / "gone.txt").write_text(everybody)
    said = error_of(["index", "refresh", "--run", str(run), *words, "--remove", str(tmp_path / "gone.txt")], capsys)
    assert said == "no item would be left in the catalogue; nothing was written"
    with pytest.raises(OtherModelError, match="vectors of another model"):
        opened_store(StoreOptions(words[1], words[3], "films"), "0" * 64)


def test_a_service_searches_the_database(run: Path, dsn: str) -> None:
    """Without torch and without the address among its words; a catalogue of another model is refused at its start."""
    main(["index", "build", "--run", str(run), "--store", dsn, "--name", "served"])
    words = ["serve", "--bundle", str(run / "bundle"), "--store", "postgres", "--name", "served", "--port", "0"]
    environment = {**os.environ, "LIGHTNING_TL_STORE": dsn, "OMP_NUM_THREADS": "1"}
    code = "import sys; from lightning_tl.cli import main; main(sys.argv[1:])"
    with subprocess.Popen(
        [warm_executable(), "-c", code, *words], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            address = lines[1].split()[1].rstrip(",;")
            answer = httpx.post(f"{address}/recommend", json={"user": "u7", "k": 5}, timeout=20)
            own = open_bundle(run / "bundle")
            assert isinstance(own, RecommendingModel)
            assert [one["item"] for one in answer.json()["items"]] == own.recommend([Wish(user="u7", k=5)])[0].items
            assert httpx.get(f"{address}/ready").json() == {"status": "ready"}
            assert httpx.get(f"{address}/models").json()["models"][0]["card"]["index"] == {"kind": "pgvector"}
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_a_store_that_is_not_there_or_is_of_another_model(
    run: Path, dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = ["serve", "--bundle", str(run / "bundle"), "--port", "0", "--name", "others"]
    assert "the database has no catalogue 'others'" in error_of([*bundle, "--store", dsn], capsys)
    sha256 = json.loads((run / "index" / "index.json").read_text())["model_sha256"]
    PostgresStore.create(dsn, "others", 16, "0" * 64).close()
    said = error_of([*bundle, "--store", dsn], capsys)
    assert said.startswith("the catalogue others holds vectors of another model (hash 000000000000) than this one")
    closed = f"http://127.0.0.1:{free_port()}"
    assert "the Qdrant of the catalogue others does not answer" in error_of([*bundle, "--store", closed], capsys)
    index = ["index", "build", "--run", str(run), "--store", closed, "--name", "others"]
    assert "the Qdrant of the catalogue others does not answer" in error_of(index, capsys)
    assert ItemIndex.open(run / "index", sha256) is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--store", "qdrant", "--name", "x"], "--store qdrant needs --url ADDRESS, or LIGHTNING_TL_STORE"),
        (["--store", "postgres", "--name", "x"], "--store postgres needs --dsn ADDRESS, or LIGHTNING_TL_STORE"),
        (["--store", "postgres", "--dsn", "postgresql://h/d"], "a store needs --name NAME"),
        (["--store", "mysql://h/d", "--name", "x"], "got 'mysql://h/d'"),
        (["--store", "milvus", "--name", "x"], "--store is faiss, qdrant or postgres"),
        (["--name", "x"], "--name belongs to a store"),
        (["--url", "http://h"], "--url or --dsn belongs to a store"),
        (["--store", "faiss", "--dsn", "postgresql://h/d"], "--url or --dsn belongs to a store"),
        (["--store", "postgres", "--url", "http://h", "--name", "x"], "--store postgres takes --dsn"),
        (["--store", "qdrant", "--dsn", "postgresql://h", "--name", "x"], "--store qdrant takes --url"),
        (["--store", "qdrant", "--url", "postgresql://h/d", "--name", "x"], "is no address of qdrant"),
        (["--store", "postgresql://u:secret@h/d", "--name", "x"], "put it into PGPASSWORD"),
        (["--store", "postgres", "--dsn", "host=h password=secret", "--name", "x"], "put it into PGPASSWORD"),
        (["--store", "postgresql://h/d?password=secret", "--name", "x"], "put it into PGPASSWORD"),
        (["--store", "https://u:secret@h", "--name", "x"], "put it into QDRANT_API_KEY"),
        (["--store", "https://h", "--name", "x", "--kind", "IVFFlat"], "in a store --kind is auto, FlatIP or HNSW"),
        (["--store", "https://h", "--name", "x", "--recall", "0.9"], "--recall belongs to an index of files"),
        (["--store", "https://h", "--name", "x", "--bundle", "b"], "--bundle belongs to an index of files"),
    ],
)
def test_words_that_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(["index", "build", "--run", "RUN", *words], capsys)
    assert message in said and "secret" not in said


def test_words_that_are_read(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    build = ["build", "--run", str(run), "--name", "films"]
    cases = [
        (["--store", "pgvector", "--dsn", "postgresql://postgres:@/d?host=/tmp"], ("postgres", "postgresql://postgres:@/d?host=/tmp")),
        (["--store", "postgres", "--dsn", "host=h dbname=d"], ("postgres", "host=h dbname=d")),
        (["--store", "https://h:6333"], ("qdrant", "https://h:6333")),
        (["--store", "qdrant", "--url", "some/folder"], ("qdrant", "some/folder")),
        (["--store", "qdrant:some/folder"], ("qdrant", "some/folder")),
        (["--store", "postgres"], ("postgres", "postgresql://u:secret@h/d")),
    ]  # fmt: skip
    monkeypatch.setenv("LIGHTNING_TL_STORE", "postgresql://u:secret@h/d")
    for words, (kind, address) in cases:
        assert read_index_options([*build, *words]).store == StoreOptions(kind, address, "films")
    assert read_index_options(build[:3]).store is None
    served = read_serve_options(["--bundle", "b", "--store", "https://h", "--name", "films"])
    assert served.store == StoreOptions("qdrant", "https://h", "films")


def test_a_store_is_for_one_model_that_recommends(capsys: pytest.CaptureFixture[str]) -> None:
    two = ["serve", "--bundle", "a=x", "--bundle", "b=y", "--store", "https://h", "--name", "films"]
    assert "--store is for one model, and 2 are served" in error_of(two, capsys)
    nowhere = ["serve", "--bundle", "b", "--store", "postgres", "--name", "films"]
    said = "--store postgres needs an address in its place, or in LIGHTNING_TL_STORE"
    assert error_of(nowhere, capsys) == said
    unnamed = ["serve", "--bundle", "b", "--name", "films"]
    assert "--name belongs to a store: add --store" in error_of(unnamed, capsys)
