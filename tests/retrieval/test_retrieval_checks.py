"""Settings of retrieval that would change nothing, or mean nothing, are refused in one line before any training."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import tiny_trainer
from tiny_retrieval import tiny_data, tiny_two_tower, write_log

from datamodules import InteractionDataModule, MovieLensDataModule, StreamRecDataModule
from datamodules.events.item_pictures import ItemPictures, picture_sources
from datamodules.events.negatives import Negatives
from lightning_tl.backbones import HuggingFaceText, HuggingFaceVision
from lightning_tl.cli import main
from lightning_tl.contracts.interactions import InteractionLog
from lightning_tl.retrieval import ItemTower, TextHistory


def refused(folder: Path, message: str, **options: Any) -> None:
    """Setting the tiny log up to train fails with one line."""
    data = tiny_data(folder, **options)
    with pytest.raises(ValueError, match=message) as caught:
        data.setup("fit")
    assert "\n" not in str(caught.value)


def with_items(folder: Path, **columns: Any) -> Path:
    """The tiny log, its items' table with these columns; None drops one."""
    write_log(folder)
    table = pd.read_parquet(folder / "items.parquet").assign(**columns)
    table.drop(columns=[name for name, value in columns.items() if value is None]).to_parquet(folder / "items.parquet")
    return folder


# ---------------------------------------------------------------- hard negatives

NO_HARD = r"hard_negatives=2 finds no items: .*\(data\.completion\).*\(data\.category\); name one of these columns"


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({}, {"category": None}),
        ({"category": ""}, {}),
        ({"category": [f"c{k}" for k in range(48)]}, {}),  # nothing is of the same one
    ],
)
def test_hard_negatives_need_a_category_or_what_was_not_taken(columns: Any, options: Any, tmp_path: Path) -> None:
    folder = with_items(tmp_path, **columns)
    refused(folder, NO_HARD, completion=None, hard_negatives=2, **options)
    data = tiny_data(folder, completion=None, **options)
    data.setup("fit")
    assert data.negatives is None
    asked = tiny_data(folder, hard_negatives=2, **options)  # what was seen and not taken is enough
    asked.setup("fit")
    assert len(next(iter(asked.train_dataloader()))["hard"]) > 0


def test_views_after_the_training_window_do_not_count(tmp_path: Path) -> None:
    write_log(tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    seen = events["completion"] < 0.5
    events.loc[seen, "time"] = events["time"].max() + 1
    events.to_parquet(tmp_path / "events.parquet")
    refused(tmp_path, NO_HARD, hard_negatives=2, category=None)


def test_other_stages_draw_no_negatives(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, completion=None, category=None, hard_negatives=1)
    data.setup("test")
    assert len(data.queries("test")) > 0


def test_one_shared_category_is_enough() -> None:
    nobody = InteractionLog(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), ["u"], ["i"] * 4)
    with pytest.raises(ValueError, match="hard_negatives=1 finds no items"):
        Negatives(np.arange(4) < 3, 0, 1, nobody, np.array([-1, 0, 1, -1]), seed=0)
    drawn = Negatives(np.arange(4) < 3, 0, 1, nobody, np.array([-1, 0, 0, -1]), seed=0)
    found = [drawn.draw(np.zeros(2, int), np.array([1, 0]), epoch, 0)[1].tolist() for epoch in range(20)]
    assert [2] in found and all(one in ([2], []) for one in found)


# ---------------------------------------------------------------- columns and files in vain


@pytest.mark.parametrize(
    ("option", "value", "table"),
    [
        ("picture", "cover", "items"),
        ("category", "kind", "items"),
        ("texts", ["a"], "items"),
        ("profile", ["age"], "users"),
    ],
)
def test_columns_of_a_table_that_is_not_there(option: str, value: Any, table: str, tmp_path: Path) -> None:
    write_log(tmp_path)
    wanted = value if isinstance(value, str) else value[0]
    message = rf"{option}={wanted} asks for columns of the table of {table}, but there is none: set {table} \(--data"
    data = InteractionDataModule(tmp_path / "events.parquet", cache=tmp_path / "cache", **{option: value})
    with pytest.raises(ValueError, match=message):
        data.setup("fit")


@pytest.mark.parametrize("empty", [None, "", b""])
def test_a_column_without_a_single_picture(empty: Any, tmp_path: Path) -> None:
    with_items(tmp_path, cover=[empty] * 48)
    refused(tmp_path, r"items\.parquet has no picture in its column 'cover': all 48 cells are empty", picture="cover")


@pytest.mark.parametrize("name", ["events", "items", "users"])
@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (StreamRecDataModule, "are simulated: leave it out, and set the world's size with world (--data.world.users="),
        (MovieLensDataModule, "is read from one folder: leave it out, and set root (--data.root=FOLDER)"),
    ],
)
def test_files_that_are_not_read(make: Any, remedy: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}=0 names a file, but .*{re.escape(remedy)}"):
        make(**{name: Path("0")})
    make(events=None, items=None, users=None)  # as the configuration of a run has them


def test_a_number_of_users_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", "streamrec_two_tower", "--data.users=0", f"--run_folder={tmp_path / 'run'}"])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert exit_.value.code == 2 and len(lines) == 1 and "--data.world.users=COUNT" in lines[0]


# ---------------------------------------------------------------- cells that are no pictures

NO_PICTURE = "a picture is the path or content of an image file"
NO_FILE = r"correct the path \(relative ones start from .*\), or leave the cell empty; contents of files are bytes"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([1, 2, 3], rf"row 2 has \[1, 2, 3\] as its cover; {NO_PICTURE}"),
        (np.array([1, 2, 3]), rf"row 2 has array\(\[1, 2, 3\]\) as its cover; {NO_PICTURE}"),
        (np.zeros((9, 9)), rf"row 2 has array\(\[\[0.*….{{20}} as its cover; {NO_PICTURE}"),
        ({"bytes": np.array([1, 2])}, rf"row 2 has array\(\[1, 2\]\) as its cover; {NO_PICTURE}"),
        ("iVBORw0KGgo" * 60, rf"row 2 has the cover 'iVBOR.{{14}}….{{20}}', which cannot be opened \(.*\); {NO_FILE}"),
        ("covers/" + "a" * 50 + "/k.png", rf"the cover 'covers/a{{12}}…a{{14}}/k\.png', which is no file; {NO_FILE}"),
        ("no\0path", "which is no file"),
        (".", r"the cover '\.', which is no file"),
    ],
)
def test_cells_are_quoted_in_short(cell: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        picture_sources(pd.Series([None, cell], name="cover"), tmp_path)
    text = str(caught.value).replace(str(tmp_path), "")
    assert "\n" not in text and len(text) < 240


@pytest.mark.parametrize("cell", [None, pd.NA, pd.NaT, float("nan"), np.float32("nan"), "", b"", {}, {"bytes": b""}])
def test_empty_cells(cell: Any, tmp_path: Path) -> None:
    assert picture_sources(pd.Series([b"x", cell], dtype=object), tmp_path) == [b"x", None]


def test_a_picture_that_cannot_be_decoded_is_named_by_its_item(tmp_path: Path, saved_models: Path) -> None:
    spec = HuggingFaceVision(str(saved_models / "vit")).input_spec
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file, "PNG")
    (tmp_path / "a.png").write_bytes(b"junk")
    pictures = ItemPictures([b"junk", file.getvalue()[:900], tmp_path / "a.png"], ["i7", "i8", "i9"])
    for item, message in enumerate(
        [
            r"the picture of item i7 cannot be read: its 4 bytes are no image of a known format\. Repair it, or leave",
            r"the picture of item i8 cannot be read: .*truncated.*\. Repair it",
            r"the picture of item i9 cannot be read: .*a\.png'\. Repair it",
        ]
    ):
        with pytest.raises(ValueError, match=message) as caught:
            pictures.inputs(np.array([item]), spec)
        assert "0x" not in str(caught.value)


# ---------------------------------------------------------------- texts for an encoder


@pytest.mark.parametrize(
    ("columns", "options", "what"),
    [
        (None, {"category": None, "texts": None}, "empty"),
        ({"title": ""}, {}, "empty"),
        ({"title": "  "}, {}, "empty"),
        ({"title": "a boat"}, {}, "the same"),
    ],
)
def test_histories_without_a_title(columns: Any, options: Any, what: str, tmp_path: Path, saved_models: Path) -> None:
    data = tiny_data(with_items(tmp_path / "log", **(columns or {})), **options)
    if columns is None:
        data.items_path = None
    users = TextHistory(HuggingFaceText(str(saved_models / "minilm")))
    message = (
        f"the encoder of TextHistory has nothing to read: the texts of all 48 items are {what}; name the items' table "
        r"with data\.items and its columns of texts with data\.texts, or take a user tower without an encoder"
    )
    with pytest.raises(ValueError, match=message):
        tiny_trainer(tmp_path).fit(tiny_two_tower(users=users), datamodule=data)


@pytest.mark.parametrize(("title", "told"), [(None, True), (["a boat", *[""] * 47], False)])
def test_ids_instead_of_titles_are_told(
    title: Any, told: bool, tmp_path: Path, saved_models: Path, recwarn: pytest.WarningsRecorder
) -> None:
    data = tiny_data(with_items(tmp_path, title=title), texts=None)
    data.setup("fit")
    TextHistory(HuggingFaceText(str(saved_models / "minilm"))).build(16, data)
    assert any("TextHistory reads the items' ids" in str(one.message) for one in recwarn) == told


@pytest.mark.parametrize(
    ("texts", "what"), [([""] * 4, "4 items are empty"), ([" ", ""], "empty"), (["a"] * 3, "the same")]
)
def test_items_without_a_text(texts: list[str], what: str, saved_models: Path) -> None:
    items = ItemTower(HuggingFaceText(str(saved_models / "minilm")), dim=4)
    with pytest.raises(ValueError, match=f"encoder of ItemTower has nothing to read: .* {what}; .* encoder to null"):
        items.build(texts, np.ones(len(texts), np.int64))


@pytest.mark.parametrize("texts", [["a"], ["a", ""]])
def test_some_text_is_enough(texts: list[str], saved_models: Path) -> None:
    ItemTower(HuggingFaceText(str(saved_models / "minilm")), dim=4).build(texts, np.ones(len(texts), np.int64))


# ---------------------------------------------------------------- classes of another kind


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--model.users=lightning_tl.retrieval.ItemTower",
            r"model\.users: lightning_tl\.retrieval\.ItemTower is not a subclass of UserTower; take .*TextHistory",
        ),
        (
            "--model.items=lightning_tl.retrieval.HistoryMean",
            r"HistoryMean is not a subclass of ItemTower; take lightning_tl\.retrieval\.ItemTower$",
        ),
        ("--data=lightning_tl.retrieval.ItemTower", "data: .*ItemTower is not a subclass of LightningDataModule"),
        ("--model=lightning_tl.adaptation.Full", "model: .*Full is not a subclass of LightningModule$"),  # too many
        ("--model.users=ItemTower", r"there is no class 'ItemTower' \(nearest: UserTower\); give its full path"),
    ],
)
def test_classes_of_another_kind(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--recipe", "streamrec_two_tower", argument, "--print_config"])
    assert exit_.value.code == 2 and re.search(message, capsys.readouterr().err.strip())
