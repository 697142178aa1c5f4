"""What was trained for an item or a kind of user stays with it, however tables and log change after training."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from datamodules.events.profiles import Profiles
from lightning_tl.callbacks import ResumableCheckpoint
from lightning_tl.cli import main
from lightning_tl.retrieval import HistoryMean, TwoTower
from lightning_tl.search.faiss_index.item_index import ItemIndex

pytestmark = pytest.mark.filterwarnings("ignore:the checkpoint belongs to a run of")

RECIPE = """\
# Items by their ids alone.
model:
  class_path: lightning_tl.retrieval.TwoTower
  init_args:
    lr: 0.01
    items:
      class_path: lightning_tl.retrieval.ItemTower
      init_args: {{dim: 16}}
data:
  class_path: datamodules.InteractionDataModule
  init_args:
    events: {log}/events.parquet
    items: {log}/items.parquet
    users: {log}/users.parquet
    completion: completion
    history_length: 6
    batch_size: 8
    num_workers: 0
    cache: {log}/cache
retrieval_report: {{min_queries: 10, ease_l2: [300.0], ease_history: [20]}}
checkpoint: {{monitor: val_mrr, mode: max}}
trainer: {{max_epochs: 2, accelerator: cpu, devices: 1, enable_progress_bar: false, enable_model_summary: false}}
"""
COLD = "i5"  # has no event


def write_cold_log(folder: Path) -> Path:
    write_log(folder)
    events = pd.read_parquet(folder / "events.parquet")
    events[events["item"] != COLD].to_parquet(folder / "events.parquet")
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in `run`, made of the log in `log`. Leave both as they are."""
    folder = tmp_path_factory.mktemp("same_catalogue")
    write_cold_log(folder / "log")
    (folder / "mine.yaml").write_text(RECIPE.format(log=folder / "log"))
    main(["--recipe", str(folder / "mine.yaml"), f"--run_folder={folder / 'run'}"])
    return folder


@pytest.fixture
def again(kept: Path, tmp_path: Path) -> Path:
    """A copy to change; its run reads the copied log."""
    shutil.copytree(kept, tmp_path / "again")
    config = tmp_path / "again" / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(kept), str(tmp_path / "again")))
    return tmp_path / "again"


def change(file: Path, how: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    how(pd.read_parquet(file)).to_parquet(file)


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


def with_new_rows(table: pd.DataFrame) -> pd.DataFrame:
    """New items or users before, between and after the others."""
    new = table.iloc[:3].copy()
    new[table.columns[0]] = ["new0", "new1", "new2"]
    return pd.concat([new.iloc[:1], table.iloc[:7], new.iloc[1:2], table.iloc[7:], new.iloc[2:]], ignore_index=True)


def with_new_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(city="Rome")[[table.columns[0], "city", *reversed(table.columns[1:])]]


def with_a_known_cold_item(events: pd.DataFrame) -> pd.DataFrame:
    """Much later events, so that the end of the training window moves beyond those of the item that was cold."""
    last = int(events["time"].max())
    taken = [(f"u{user}", COLD, last + 3600 + user, 1.0) for user in range(20, 40)]
    later = [(f"u{user}", f"i{6 + k}", last + 7200 + 60 * k, 1.0) for user in range(20, 40) for k in range(20)]
    return pd.concat([events, pd.DataFrame(taken + later, columns=list(events))], ignore_index=True)


def printed(run: Path, *words: str) -> list[str]:
    """The history and the recommendations of a user, line by line."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main(["recommend", "--run", str(run), "--user", "u7", "--k", "100", *words])
    return [line for line in out.getvalue().splitlines() if not line.startswith("items that came after")]


@pytest.fixture(scope="module")
def before(kept: Path) -> list[str]:
    return printed(kept / "run")


CHANGES = {
    "items in another order, and new ones": ("items", lambda table: shuffled(with_new_rows(table))),
    "users in another order, and new ones": ("users", lambda table: shuffled(with_new_rows(table))),
    "more profile fields, in another order": ("users", with_new_columns),
    "a cold item that becomes known": ("events", with_a_known_cold_item),
}


@pytest.mark.parametrize("name", CHANGES)
def test_recommendations_stay_what_they_were(name: str, before: list[str], again: Path) -> None:
    file, how = CHANGES[name]
    change(again / "log" / f"{file}.parquet", how)
    assert printed(again / "run") == before and len(before) > 30


def test_items_that_the_index_lacks_are_told(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(again / "log" / "items.parquet", with_new_rows)
    main(["recommend", "--run", str(again / "run"), "--user", "u7"])
    assert "items that came after the index: 3, which are not offered" in capsys.readouterr().out
    main(["test", "--run", str(again / "run")])
    main(["recommend", "--run", str(again / "run"), "--user", "u7", "--k", "100"])
    found = capsys.readouterr().out
    assert "came after" not in found and "new1" in found


def test_items_that_are_gone_are_not_recommended(before: list[str], again: Path) -> None:
    gone = next(line.split()[2] for line in before if line.split()[0].isdecimal())
    change(again / "log" / "items.parquet", lambda table: table[table["item"] != gone])
    found = printed(again / "run", "--data.unknown_items=skip")
    items = [line.split()[2] for line in found if line.split()[0].isdecimal()]
    assert items == [line.split()[2] for line in before if line.split()[0].isdecimal()][1:]


def test_a_test_of_a_shuffled_table_ranks_the_same(kept: Path, again: Path) -> None:
    change(again / "log" / "items.parquet", shuffled)
    change(again / "log" / "users.parquet", shuffled)
    main(["test", "--run", str(again / "run")])
    before, after = (
        pd.read_parquet(folder / "run" / "predictions" / "test.parquet")
        .sort_values(["user", "time", "item"])["rank_two_tower"]
        .tolist()
        for folder in (kept, again)
    )
    assert after == before and len(set(before)) > 10


# ---------------------------------------------------------------- the weights themselves


def trained(folder: Path, users: Any = None) -> tuple[TwoTower, Path]:
    """A module after one epoch, and its checkpoint."""
    write_cold_log(folder / "log")
    module = tiny_two_tower(users=users)
    checkpoint = ResumableCheckpoint(monitor="val_mrr", mode="max", dirpath=folder / "kept")
    tiny_trainer(folder, [checkpoint], max_epochs=1).fit(module, datamodule=tiny_data(folder / "log"))
    return module.eval(), folder / "kept" / "last.ckpt"


def loaded(folder: Path, checkpoint: Path, users: Any = None) -> tuple[TwoTower, Any]:
    """The module with the data of now, and this data."""
    module, data = tiny_two_tower(users=users), tiny_data(folder / "log")
    tiny_trainer(folder).validate(module, datamodule=data, ckpt_path=str(checkpoint), verbose=False)
    return module.eval(), data


def by_id(module: TwoTower, data: Any) -> dict[str, list[float]]:
    return dict(zip(data.log.item_ids, module.item_vectors().tolist(), strict=True))


def test_every_item_keeps_its_vector(tmp_path: Path) -> None:
    module, checkpoint = trained(tmp_path)
    before = by_id(module, module.data)
    change(tmp_path / "log" / "items.parquet", lambda table: shuffled(with_new_rows(table)))
    change(tmp_path / "log" / "events.parquet", with_a_known_cold_item)
    other, data = loaded(tmp_path, checkpoint)
    after = by_id(other, data)
    assert data.training_log.item_counts()[list(data.log.item_ids).index(COLD)] > 0
    assert {item: after[item] for item in before} == before and len(after) == len(before) + 3
    assert after[COLD] == after["new1"] == other.items.embedding.weight[0].tolist() != after["i1"]


def test_every_user_keeps_the_codes_of_their_profile(tmp_path: Path) -> None:
    module, checkpoint = trained(tmp_path, HistoryMean())
    before = module.profiles.tolist()

    def older(table: pd.DataFrame) -> pd.DataFrame:
        """Half of them have other ages, and one another gender than training knew: both make other vocabularies."""
        table["age"] = np.where(table.index < 30, table["age"], table["age"] - 79)
        table.loc[0, "gender"] = "A"  # before F and M
        return with_new_columns(table)

    change(tmp_path / "log" / "users.parquet", older)
    other, data = loaded(tmp_path, checkpoint, HistoryMean())
    after = other.profiles.tolist()
    assert data.profile_sizes == (2, 11, 4) and data.profiles[1:30, 1].tolist() != [row[1] for row in before[1:30]]
    assert after[1:30] == before[1:30] and after[0] == [0, before[0][1]] and {row[1] for row in after[30:]} == {1}
    assert [len(field.weight) for field in other.users.fields] == [3, 11]


def test_a_resumed_run_keeps_the_rows_and_goes_on(tmp_path: Path) -> None:
    _, checkpoint = trained(tmp_path)
    before = torch.load(checkpoint, weights_only=True)
    change(tmp_path / "log" / "items.parquet", lambda table: shuffled(with_new_rows(table)))
    change(tmp_path / "log" / "events.parquet", with_a_known_cold_item)
    module, later = tiny_two_tower(), tmp_path / "later"
    kept = ResumableCheckpoint(monitor="val_mrr", mode="max", dirpath=later)
    trainer = tiny_trainer(tmp_path, [kept], max_epochs=2)
    trainer.fit(module, datamodule=tiny_data(tmp_path / "log"), ckpt_path=str(checkpoint))
    after = torch.load(later / "last.ckpt", weights_only=True)
    name = "items.embedding.weight"
    rows, earlier = (json.loads(checkpoint["rows"]) for checkpoint in (after, before))
    assert rows["until"] > earlier["until"]  # the log went on, and so did its training window
    assert {**rows, "until": 0} == {**earlier, "until": 0} and rows["items"].count("i1") == 1
    assert after["state_dict"][name].shape == before["state_dict"][name].shape
    assert not torch.equal(after["state_dict"][name], before["state_dict"][name])


def test_a_vocabulary_survives_its_file_and_other_types_of_the_same_values() -> None:
    table = pd.DataFrame({"age": [20, 30, 40, 30], "member": [True, False, True, None], "town": list("abca")})
    wide = pd.DataFrame({"income": np.linspace(0, 1, 40) / 3})
    first, deciles = Profiles(table, np.ones(4, bool)), Profiles(wide, np.ones(40, bool))
    again = pd.DataFrame({"town": list("acz"), "member": [False, True, True], "age": [30.0, np.nan, 41.0]})
    found = Profiles(again, np.ones(3, bool)).coded_by(json.loads(json.dumps(first.vocabulary)))
    assert found.codes.tolist() == [[2, 1, 1], [0, 2, 3], [0, 2, 0]] and found.sizes == first.sizes == (4, 3, 4)
    same = Profiles(wide[::-1], np.arange(40) < 25).coded_by(json.loads(json.dumps(deciles.vocabulary)))
    assert same.codes[::-1].tolist() == deciles.codes.tolist() and same.labels["income"][0] == "0.3 up"


# ---------------------------------------------------------------- what cannot be told apart is refused


def rename_items(folder: Path) -> None:
    for file in ("items", "events"):
        change(folder / "log" / f"{file}.parquet", lambda table: table.assign(item="x" + table["item"]))


def rename_the_index(folder: Path) -> None:
    names = json.loads((folder / "run" / "index" / "items.json").read_text())
    names["ids"] = [f"x{item}" for item in names["ids"]]
    vectors = np.load(folder / "run" / "index" / "embeddings.npy")
    made_by = json.loads((folder / "run" / "index" / "index.json").read_text())["model_sha256"]
    ItemIndex.build(vectors, names["ids"], names["titles"], made_by, vectors[:0]).write(folder / "run/index", vectors)


def cut_short(folder: Path) -> None:
    file = folder / "run" / "index" / "items.faiss"
    file.write_bytes(file.read_bytes()[:-100])


def of_another_run(folder: Path) -> None:
    """Vectors of other weights, put under the same facts."""
    index = ItemIndex.build(np.eye(48, 16, dtype=np.float32), [str(k) for k in range(48)], [""] * 48, "x", np.eye(16))
    index.write(folder / "other", np.eye(48, 16))
    shutil.copy(folder / "other" / "items.faiss", folder / "run" / "index" / "items.faiss")


def break_the_facts(folder: Path) -> None:
    (folder / "run" / "index" / "index.json").write_text("{")


def a_list_of_names(folder: Path) -> None:
    (folder / "run" / "index" / "items.json").write_text('["a"]')


def drop_a_field(folder: Path) -> None:
    change(folder / "log" / "users.parquet", lambda table: table.drop(columns="age"))


def forget_the_rows(folder: Path) -> None:
    (file,) = (folder / "run" / "checkpoints").glob("best*.ckpt")
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["rows"]
    torch.save(checkpoint, file)


REFUSED = {
    "other items": (rename_items, "the data has none of the 47 items that the model was trained on (its first is"),
    "another index": (rename_the_index, "the index was made for another catalogue: of its 48 items the data has none"),
    "half a file": (cut_short, "the index in "),
    "other vectors": (of_another_run, "the index in "),
    "no facts": (break_the_facts, "the index in "),
    "other names": (a_list_of_names, "the index in "),
    "a lost field": (
        drop_a_field,
        "the model reads the profile field 'age', which users do not have (they have gen",
    ),
    "no rows": (forget_the_rows, "the checkpoint does not say which items its weights belong to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_line_says_what_is_wrong(name: str, again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, message = REFUSED[name]
    spoil(again)
    with pytest.raises(SystemExit) as ended:
        main(["recommend", "--run", str(again / "run"), "--user", "u7"])
    error = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and error.startswith(f"error: {message}") and "\n" not in error
    assert not message.startswith("the index in") or ("is damaged" in error and "test the run again" in error)


def test_profiles_that_are_gone_altogether(again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", "--run", str(again / "run"), "--data.users=null"])
    assert "the model reads the profile fields gender, age, and the data has none" in capsys.readouterr().err
