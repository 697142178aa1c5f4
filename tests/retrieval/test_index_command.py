"""`index build` and `index refresh` of a run, as people type them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from indexed_run import indexed_run
from ports import free_port
from warm_python import warm_executable

from lightning_tl.cli import main
from lightning_tl.cli.commands.index_options import read_index_options
from lightning_tl.search import FaissStore, ItemFilter, ItemIndex

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Path:
    return indexed_run(tmp_path_factory.mktemp("indexed"), saved_models)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run whose index may be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def vectors_of(run: Path, ids: list[str]) -> np.ndarray:
    index = ItemIndex.open(run / "index", None)
    return FaissStore(index).vectors(ids)


def test_built_anew_it_has_the_vectors_of_the_test_and_columns(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"i{k}" for k in range(48)]
    before = vectors_of(run, names)
    main(["index", "build", "--run", str(run)])
    np.testing.assert_allclose(vectors_of(run, names), before, atol=1e-5)
    assert "48 items, exact (IndexFlatIP), recall@100 1.0" in capsys.readouterr().out
    store = FaissStore(ItemIndex.open(run / "index", None))
    (found,) = store.search(before[:1], 48, [ItemFilter(where={"category": "boat", "price": {"to": 20}})])
    assert {int(name[1:]) for name in found.ids} == {k for k in range(0, 20, 3)}
    main(["index", "build", "--run", str(run), "--kind", "IVF4,Flat", "--recall", "1.0"])
    assert json.loads((run / "index" / "index.json").read_text())["factory"] == "IVF4,Flat"
    main(["recommend", "--run", str(run), "--user", "u7", "--k", "5"])
    assert len(capsys.readouterr().out.splitlines()) >= 6


def test_items_are_added_changed_and_removed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["index", "build", "--run", str(run)])
    before = vectors_of(run, ["i1", "i2"])
    new = {"item": ["n1", "i2", "i3"], "title": ["this is the boat of a boat", "a quite different book", "same"]}
    pd.DataFrame(new | {"price": [None, 7.0, 8.0]}).to_parquet(tmp_path / "new.parquet")
    (tmp_path / "gone.txt").write_text("i5\n\ni6\nnobody\n")
    refresh = ["index", "refresh", "--run", str(run), "--items", str(tmp_path / "new.parquet")]
    main([*refresh, "--remove", str(tmp_path / "gone.txt")])
    out = capsys.readouterr().out
    assert "added 1, changed 2, removed 2 of 3 items that were named" in out and "47 items" in out
    index = ItemIndex.open(run / "index", None)
    store = FaissStore(index)
    assert store.known(["n1", "i2", "i5", "i6"]) == [True, True, False, False] and store.titles(["n1"]) == [
        "this is the boat of a boat"
    ]
    np.testing.assert_array_equal(store.vectors(["i1"]), before[:1])
    assert not np.allclose(store.vectors(["i2"]), before[1:])
    assert store.values("price", ["i2"])[0] == 7.0 and np.isnan(store.values("price", ["n1"])[0])
    main(refresh)  # doing it twice is as doing it once
    assert "added 0, changed 3" in capsys.readouterr().out
    main(["recommend", "--run", str(run), "--user", "u7", "--k", "40"])
    assert "i5 " not in capsys.readouterr().out


def test_an_item_that_is_the_same_again_keeps_its_vector(run: Path, tmp_path: Path, finished: Path) -> None:
    """Texts and numbers by the way of the refresh are those by the way of the training."""
    names = [f"i{k}" for k in range(48)]
    before = vectors_of(run, names)
    pd.read_parquet(finished.parent / "log" / "items.parquet").to_csv(tmp_path / "all.csv", index=False)
    main(["index", "refresh", "--run", str(run), "--items", str(tmp_path / "all.csv")])
    np.testing.assert_allclose(vectors_of(run, names), before, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"item": ["n1", "n2", "n3"], "title": ["boat", " ", None]}, r"there are 2 items \(n2, n3\) without any text"),
        ({"item": ["n1", "n1"], "title": ["a", "b"]}, "has the item n1 more than once"),
        ({"name": ["n1"], "title": ["a"]}, "item"),
        ({"item": [], "title": []}, "has no rows"),
        ({"item": ["n1"], "title": ["a"], "price": ["dear"]}, "new values of 'price' do not fit"),
    ],
)
def test_what_is_refused_leaves_the_index(
    table: dict[str, list[object]], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["index", "build", "--run", str(run)])
    before = (run / "index" / "index.json").read_bytes()
    pd.DataFrame(table).to_parquet(tmp_path / "new.parquet")
    with pytest.raises(SystemExit) as caught:
        main(["index", "refresh", "--run", str(run), "--items", str(tmp_path / "new.parquet")])
    assert caught.value.code == 2 and (run / "index" / "index.json").read_bytes() == before
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "index needs to know what to do"),
        (["rebuild"], "index build or index refresh, got 'rebuild'"),
        (["build"], "index build needs --run RUN_FOLDER"),
        (["refresh", "--run", "RUN"], "index refresh needs --items FILE, --remove FILE or both"),
        (["build", "--run", "RUN", "--items", "x.csv"], "belong to index refresh"),
        (["build", "--run", "RUN", "--memory_limit", "much"], "memory_limit is a size such as 500M or 2G, got 'much'"),
        (["build", "--run", "RUN", "--recall", "2"], r"recall must be in (0, 1], got 2.0"),
        (["build", "--run", "RUN", "--kind", "Fast"], "there is no index of kind 'Fast'"),
        (["build", "--run", "RUN", "--memory_limit", "1K"], "memory_limit is 0 MiB"),
        (["refresh", "--run", "RUN", "--items", "nowhere.parquet"], "nowhere.parquet"),
        (["refresh", "--run", "RUN", "--remove", "nowhere.txt"], "there is no file nowhere.txt"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["index", *(str(finished) if word == "RUN" else word for word in arguments)])
    assert caught.value.code == 2 and message in capsys.readouterr().err


SIZES = {"500M": 500 * 2**20, "2G": 2 * 2**30, "1.5GiB": 3 * 2**29, "100": 100}


def test_sizes(finished: Path) -> None:
    read = [read_index_options(["build", f"--run={finished}", f"--memory_limit={text}"]) for text in SIZES]
    assert [one.memory_limit for one in read] == list(SIZES.values())


def recommend_all(run: Path, folder: Path, *more: str) -> list[str]:
    users = [f"u{k}" for k in range(40, 0, -1)] + ["stranger"]
    pd.DataFrame({"user": users}).to_parquet(folder / "users.parquet")
    files = [f"--users={folder / 'users.parquet'}", f"--output={folder / 'recs.parquet'}"]
    return ["recommend", f"--run={run}", "--k=5", *files, *more]


def test_recommendations_for_a_table_of_users(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = recommend_all(finished, tmp_path)
    main(command)
    assert "205 rows for 41 users" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path / "recs.parquet")
    assert list(table.columns) == ["user", "rank", "item", "score", "by"]
    assert list(table["user"].drop_duplicates())[:2] == ["u40", "u39"]
    main(["recommend", f"--run={finished}", "--user=u40", "--k=5"])
    shown = [line.split()[2] for line in capsys.readouterr().out.splitlines() if re.match(r" +\d+ ", line)]
    assert shown == list(table["item"][:5])
    with pytest.raises(SystemExit):
        main(command)
    assert "is there already" in capsys.readouterr().err
    main([*command, "--overwrite"])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "recs.parquet"), table)


def test_two_processes_write_the_rows_of_one(finished: Path, tmp_path: Path) -> None:
    main(recommend_all(finished, tmp_path))
    one = pd.read_parquet(tmp_path / "recs.parquet")
    (tmp_path / "recs.parquet").unlink()
    words = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}", "--", "two.py"]
    (tmp_path / "two.py").write_text("import sys\nfrom lightning_tl.cli import main\nmain(sys.argv[1:])\n")
    command = [warm_executable(), *words, *recommend_all(finished, tmp_path, "--save_every=10")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    two = pd.read_parquet(tmp_path / "recs.parquet")
    pd.testing.assert_frame_equal(two.drop(columns="score"), one.drop(columns="score"))
    np.testing.assert_allclose(two["score"], one["score"], atol=1e-5)
    assert not (tmp_path / "recs.parquet.parts").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user=u1", "--users=u.csv"], "takes --user ID or --users FILE, not both"),
        (["--users=u.csv"], "to --output FILE.parquet: name both"),
        (["--user=u1", "--output=r.parquet"], "to --output FILE.parquet: name both"),
        (["--users=u.csv", "--output=r.csv"], "--output must end in .parquet, got r.csv"),
        (["--users=u.csv", "--output=r.parquet"], "u.csv"),
    ],
)
def test_mistakes_of_many_users(
    arguments: list[str], message: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["recommend", f"--run={finished}", *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err
