"""Image-caption pairs: where they come from, how they are parted, which captions go with which image."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_pairs import caption, conditions, pairs_of, write_images, write_pairs
from tiny_text import save_tokenizer

from datamodules import CaptionedImagesDataModule, ImageAugmentation
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.data import NamedSamples
from lightning_tl.contracts.notice import Notice


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve different images, 0.png to 11.png."""
    folder = tmp_path_factory.mktemp("pictures")
    write_images(folder, 12)
    return folder


def table_of(folder: Path, rows: list[dict[str, Any]], name: str = "pairs.csv") -> Path:
    table = pd.DataFrame(rows)
    path = folder / name
    if name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return path


def rows(count: int = 8, **more: Any) -> list[dict[str, Any]]:
    return [{"image": f"{k}.png", "caption": caption(k), **more} for k in range(count)]


# -------------------------------------------------------------------- where pairs come from


def list_rows() -> list[dict[str, Any]]:
    return [{"image": f"{k}.png", "caption": [caption(k), f"the old {k % 3} boat"]} for k in range(8)]


def as_table(name: str, made: Callable[[], list[dict[str, Any]]] = rows) -> Callable[[Path], Path]:
    return lambda folder: table_of(folder, made(), name)


def as_contents(folder: Path) -> Path:
    made = [{"image": (folder / f"{k}.png").read_bytes(), "caption": caption(k)} for k in range(4)]
    return table_of(folder, made, "pairs.parquet")


def as_hugging_face(folder: Path) -> Path:
    contents = [(folder / f"{k}.png").read_bytes() for k in range(4)]
    made = [{"image": {"bytes": each, "path": None}, "caption": caption(k)} for k, each in enumerate(contents)]
    return table_of(folder, made, "pairs.parquet")


def as_folder(folder: Path) -> Path:
    for k in range(12):
        (folder / f"{k}.txt").write_text(f"{caption(k)}\n\n  the boat was {k % 5} \n" if k < 8 else caption(k))
    return folder


def as_split_folder(folder: Path) -> Path:
    for k in range(12):
        split = "train" if k < 8 else "val"
        (folder / split).mkdir(exist_ok=True)
        (folder / f"{k}.png").rename(folder / split / f"{k}.png")
        (folder / split / f"{k}.txt").write_text(caption(k))
    return folder


def put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    told = tarfile.TarInfo(name)
    told.size = len(content)
    archive.addfile(told, BytesIO(content))


def as_shards(folder: Path) -> Path:
    """Two shards with captions as text and as JSON; what is no sample with an image is left out."""
    for number, name in enumerate(("train-0.tar", "val-0.tar")):
        with tarfile.open(folder / name, "w") as archive:
            for k in range(6 * number, 6 * number + 6):
                put(archive, f"set/{k:04}.cls", b"3")
                put(archive, f"set/{k:04}.PNG", (folder / f"{k}.png").read_bytes())
                if k % 2:
                    put(archive, f"set/{k:04}.txt", f"{caption(k)}\n".encode())
                else:
                    put(archive, f"set/{k:04}.json", json.dumps({"caption": [caption(k), "the boat"]}).encode())
            put(archive, "about.md", b"no sample")
            put(archive, "index.json", b"[1]")
    return folder


PLACES: dict[str, tuple[Callable[[Path], Path], int, int]] = {  # how it is written, images, captions
    "csv": (as_table("pairs.csv"), 8, 8),
    "tsv": (as_table("pairs.tsv"), 8, 8),
    "jsonl": (as_table("pairs.jsonl", list_rows), 8, 16),
    "parquet": (as_table("pairs.parquet", list_rows), 8, 16),
    "contents": (as_contents, 4, 4),
    "hugging face": (as_hugging_face, 4, 4),
    "folder": (as_folder, 12, 20),
    "shards": (as_shards, 12, 18),
    "split folder": (as_split_folder, 12, 12),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_pairs_come_from(name: str, pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    write, images, captions = PLACES[name]
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    data = pairs_of(write(folder), tokenizer, validation_fraction=0.3)
    records = data.records
    assert len(records.ids) == images and sum(map(len, records.captions)) == captions
    assert {len(data.indices[split]) > 0 for split in ("train", "validation")} == {True}
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        assert batch["inputs"].shape == (len(batch["index"]), 3, 4, 4)
        assert len(batch["captions"]["input_ids"]) == len(batch["caption"]) == len(batch["image"])
    if name == "shards":
        assert (len(data.indices["train"]), len(data.indices["validation"])) == (6, 6)
        expected = np.asarray(Image.open(pictures / "8.png"))
        assert np.array_equal(data._whole.images.read(8), expected), "read out of the middle of the archive"
    if name == "split folder":
        assert (len(data.indices["train"]), len(data.indices["validation"])) == (8, 4)


def test_rows_of_one_image_are_its_captions(pictures: Path, tokenizer: Path) -> None:
    twice = [*rows(6), {"image": "0.png", "caption": "a second"}, {"image": "./0.png", "caption": "a third"}, *rows(1)]
    with pytest.warns(Notice, match=r"1 images are copies of others, such as 0.png, ./0.png: their captions are put"):
        data = pairs_of(table_of(pictures, twice), tokenizer)
    assert data.records.captions[0] == (caption(0), "a second", "a third")
    assert [len(said) for said in data.records.captions[1:]] == [1] * 5


def test_several_columns_and_holes(pictures: Path, tokenizer: Path) -> None:
    made = [row | {"also": None if k % 2 else "good"} for k, row in enumerate(rows(6))]
    data = pairs_of(table_of(pictures, made), tokenizer, caption=["caption", "also"])
    assert [len(said) for said in data.records.captions] == [2, 1, 2, 1, 2, 1]


# -------------------------------------------------------------------- splits


def test_a_column_of_splits_is_kept(tmp_path: Path, tokenizer: Path) -> None:
    data = pairs_of(write_pairs(tmp_path), tokenizer)
    assert data.indices["validation"].tolist() == [3, 7, 11] and len(data.indices["train"]) == 9
    assert not data.has_test


def test_equal_pictures_lie_on_one_side(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    for k in range(12):
        shutil.copy(folder / f"{k}.png", folder / f"copy-{k}.png")
    made = [
        {"image": f"{start}{k}.png", "caption": caption(k + j)}
        for j, start in enumerate(("", "copy-"))
        for k in range(12)
    ]
    with pytest.warns(Notice, match="12 images are copies"):
        data = pairs_of(table_of(folder, made), tokenizer, validation_fraction=0.3, test_fraction=0.2)
    assert sum(map(len, data.indices.values())) == 12 and data.has_test
    assert all(len(said) == 2 for said in data.records.captions)
    again = pairs_of(table_of(folder, made[:12]), tokenizer, validation_fraction=0.3, test_fraction=0.2)
    assert again.records.splits.tolist() == data.records.splits.tolist(), "what an image shows says where it goes"


def test_copies_across_given_splits_are_told(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    shutil.copy(folder / "0.png", folder / "other.png")
    made = [row | {"split": "train"} for row in rows(4)] + [{"image": "other.png", "caption": "a", "split": "val"}]
    with pytest.warns(Notice, match="1 images have identical copies in other splits"):
        data = pairs_of(table_of(folder, made), tokenizer)
    assert len(data.records.ids) == 5


# -------------------------------------------------------------------- batches


def test_draws_are_a_function_of_seed_epoch_and_index(tmp_path: Path, tokenizer: Path) -> None:
    path = write_pairs(tmp_path)
    data = pairs_of(path, tokenizer, caption=["caption", "also"], augmentation=ImageAugmentation())
    whole = data._training.fetch(np.arange(12), 3)
    for k in range(12):
        alone = data._training.fetch(np.array([k]), 3)
        assert torch.equal(alone["inputs"][0], whole["inputs"][k]) and alone["caption"][0] == whole["caption"][k]
    drawn = torch.stack([data._training.fetch(np.arange(12), epoch)["caption"] for epoch in range(20)])
    counts = (drawn == drawn.min(0).values).float().mean(0)
    assert ((counts > 0.1) & (counts < 0.9)).all(), "both captions of every image are seen"
    other = pairs_of(path, tokenizer, caption=["caption", "also"], seed=2)
    assert not torch.equal(other._training.fetch(np.arange(12), 3)["caption"], whole["caption"])


def test_tokens_are_those_of_the_caption(tmp_path: Path, tokenizer: Path) -> None:
    import transformers

    data = pairs_of(write_pairs(tmp_path), tokenizer, caption=["caption", "also"])
    batch = data._whole.fetch(np.array([5, 2]), 0)
    texts = [text for k in (5, 2) for text in data.records.captions[k]]
    own: Any = transformers.AutoTokenizer.from_pretrained(tokenizer)
    expected = own(texts, padding=True, return_tensors="pt")
    assert torch.equal(batch["captions"]["input_ids"], expected["input_ids"])
    assert batch["image"].tolist() == [0, 0, 1, 1] and batch["index"].tolist() == [5, 2]


def slow_true(captions: list[tuple[str, ...]], image: int, text: str) -> bool:
    plain = [" ".join(said.lower().split()) for said in captions[image]]
    return " ".join(text.lower().split()) in plain


def test_true_captions_are_known(pictures: Path, tokenizer: Path) -> None:
    """Against a loop over the texts: equal but for case and spacing, or said of the image elsewhere."""
    made = [
        *({"image": f"{k}.png", "caption": [caption(k)]} for k in range(5)),
        {"image": "5.png", "caption": ["A  red DRESS", "a boat"]},
        {"image": "6.png", "caption": ["a fish", caption(0)]},
        {"image": "7.png", "caption": ["a boat"]},
    ]
    data = pairs_of(table_of(pictures, made, "pairs.parquet"), tokenizer)
    captions = list(data.records.captions)
    for epoch in range(4):
        batch = data._training.fetch(np.arange(8), epoch)
        rows = data._training.captions
        texts = [t for k in range(8) for t in captions[k]]
        first = np.cumsum([0, *map(len, captions)])
        drawn = []
        for k in range(8):
            own = [j for j in range(first[k], first[k + 1]) if rows.number[j] == batch["caption"][k]]
            drawn.append(texts[own[0]])
        found = (batch["known"][:, None, :] == batch["caption"][None, :, None]).any(2)
        expected = [[slow_true(captions, i, text) for text in drawn] for i in range(8)]
        assert found.tolist() == expected


def test_captions_that_are_cut_alike_are_one(pictures: Path, tokenizer: Path, caplog: Any) -> None:
    long = "good " * 20
    made = [*rows(4), {"image": "4.png", "caption": long + "boat"}, {"image": "5.png", "caption": long + "car"}]
    with caplog.at_level("INFO"):
        data = pairs_of(table_of(pictures, made), tokenizer)
    assert "2 of 6 captions are longer than 12 tokens and are cut there" in caplog.text
    known = data._training.captions.known
    assert known[4, 0] == known[5, 0] and len(known.unique()) == 5


# -------------------------------------------------------------------- what goes wrong

MISTAKES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "an empty caption": (
        [*rows(3), {"image": "3.png", "caption": " "}, {"image": "4.png", "caption": None}],
        {},
        r"2 rows of .* have no caption \(caption\): rows 4, 5; write one, or set on_empty_caption to skip",
    ),
    "nothing to be seen": (
        [*rows(3), {"image": "3.png", "caption": "\u200b\u00a0"}, {"image": "4.png", "caption": "\u2060\n"}],
        {},
        "have no caption .caption.: rows 4, 5; write one",
    ),
    "no such column": (rows(3), {"caption": "captoin"}, r"no column 'captoin'; did you mean caption\?"),
    "no such image column": (rows(3), {"image": "file"}, "has no column 'file'"),
    "no such split column": (rows(3), {"split": "part"}, "has no column 'part'"),
    "an image that is not there": (
        [*rows(3), {"image": "99.png", "caption": "a"}],
        {},
        r"1 rows of .* have no image \(image\) that is there: row 4 \(99.png\); paths are relative to",
    ),
    "one pair": (rows(1), {}, "has 1 image with a caption to part into training and validation: at least 2"),
    "one caption": ([row | {"caption": "a boat"} for row in rows(6)], {}, "have the same caption, 'a boat': there is"),
    "one split": (
        [row | {"split": "validation"} for row in rows(4)],
        {},
        r"too few images to train on \(train 0, validation 4, test 0 of 4\): at least 2",
    ),
    "an image in two splits": (
        [row | {"split": split} for row in rows(3) for split in ("train", "val")],
        {},
        "0.png is in train and in validation in",
    ),
    "lists written as texts": (
        [row | {"caption": str([row["caption"], "a boat"])} for row in rows(4)],
        {},
        r"column caption of .* has lists that were written as texts, such as \['a red dress', 'a boat'\]: write",
    ),
    "longer than the model reads": (rows(4), {"max_length": 30}, "max_length must be at most the backbone's 12 tokens"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_table(name: str, pictures: Path, tokenizer: Path) -> None:
    made, options, message = MISTAKES[name]
    with pytest.raises((ValueError, OSError), match=message):
        pairs_of(table_of(pictures, made), tokenizer, **options)


def test_brackets_are_words_where_they_are_no_list(pictures: Path, tokenizer: Path) -> None:
    made = [row | {"caption": f"[{row['caption']}]"} for row in rows(4)]
    data = pairs_of(table_of(pictures, made), tokenizer)
    assert data.records.captions[0] == ("[a red dress]",)


def test_samples_are_named(pictures: Path, tokenizer: Path) -> None:
    data = pairs_of(table_of(pictures, rows(4)), tokenizer)
    assert data.sample_ids([2, 0]) == ["2.png", "0.png"] and isinstance(data, NamedSamples)


def test_shards_with_missing_members(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    with tarfile.open(folder / "train-0.tar", "w") as archive:
        for k in range(6):
            if k not in (2, 4):
                put(archive, f"{k}.png", (folder / f"{k}.png").read_bytes())
            put(archive, f"{k}.txt", caption(k).encode())
    with pytest.raises(
        FileNotFoundError, match=r"2 captions in train-0.tar have no image .*: train-0.tar/2, train-0.tar/4; make the"
    ):
        pairs_of(folder / "train-*.tar", tokenizer)
    with pytest.warns(Notice, match=r"2 captions in train-0.tar have no image .*; they are left out"):
        data = pairs_of(folder / "train-*.tar", tokenizer, on_bad_image="skip")
    assert len(data.records.ids) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vaal-*.tar", r"no shard matches .*vaal-\*.tar; a pattern stands for names inside of one folder"),
        ("pairs.tar.gz", r"pairs.tar.gz is packed: unpack it to a .tar first"),
        ("pairs.tgz", "is packed: unpack it"),
        ("train.tar", "there is no shard .*train.tar"),
    ],
)
def test_shards_that_are_not_there(name: str, message: str, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError), match=message):
        pairs_of(tmp_path / name, tokenizer)


def test_a_caption_of_another_kind(pictures: Path, tokenizer: Path) -> None:
    path = table_of(pictures, [*rows(2), {"image": "2.png", "caption": {"text": "a"}}], "pairs.jsonl")
    with pytest.raises(ValueError, match=r"row 3 of .* has \{'text': 'a'\}, a dict, as its caption; a caption is a"):
        pairs_of(path, tokenizer)


def test_skipping_is_counted(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    (folder / "2.png").write_bytes(b"no picture")
    made = [*rows(6), {"image": "99.png", "caption": "a"}, {"image": "7.png", "caption": ""}]
    with pytest.raises(ValueError, match=r"1 of 6 images of .* cannot be read: 2.png \(not an .*set on_bad_image"):
        pairs_of(table_of(folder, made[:6]), tokenizer)
    with pytest.warns(Notice) as told:
        data = pairs_of(table_of(folder, made), tokenizer, on_bad_image="skip", on_empty_caption="skip")
    text = " ".join(str(warning.message) for warning in told)
    assert "1 of 6 images of" in text and "row 7 (99.png); they are left out" in text
    assert re.search(r"1 rows of \S+ have no caption \(caption\): row 8; they are left out", text)
    assert len(data.records.ids) == 5


def test_texts_without_an_image_are_told(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = as_folder(Path(shutil.copytree(pictures, tmp_path / "data")))
    (folder / "3.png").unlink()
    with pytest.warns(
        Notice, match=r"1 texts in .* have no image of the same name beside them and are left out: 3.txt"
    ):
        data = pairs_of(folder, tokenizer)
    assert len(data.records.ids) == 11


def test_mistakes_in_a_folder(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "data"))
    for k in range(1, 12):
        (folder / f"{k}.txt").write_text(caption(k))
    with pytest.raises(ValueError, match=r"1 of 12 images in .* have no caption \(a .txt file of the same .*: 0.png;"):
        pairs_of(folder, tokenizer)
    (folder / "0.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"0.txt is not UTF-8"):
        pairs_of(folder, tokenizer)
    with pytest.raises(FileNotFoundError, match="path: there is no folder"):
        pairs_of(tmp_path / "nothing", tokenizer)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images in path"):
        pairs_of(tmp_path / "empty", tokenizer)


def test_mistakes_in_shards(pictures: Path, tokenizer: Path, tmp_path: Path) -> None:
    def shard(**files: bytes) -> Path:
        with tarfile.open(tmp_path / "one.tar", "w") as archive:
            for name, content in files.items():
                put(archive, name.replace("_", "."), content)
        return tmp_path / "one.tar"

    picture = (pictures / "0.png").read_bytes()
    with pytest.raises(
        ValueError, match=r"1 of 1 images in one.tar have no caption \(a txt file, or caption in a json"
    ):
        pairs_of(shard(a_png=picture), tokenizer)
    for content, message in (
        (b"{", "Expecting property"),
        (b"[]", "no JSON object"),
        (b'{"caption": 3}', "its caption is a int"),
    ):
        with pytest.raises(ValueError, match=rf"a.json in .*one.tar cannot be read: .*{message}"):
            pairs_of(shard(a_png=picture, a_json=content), tokenizer)
    with pytest.raises(FileNotFoundError, match=r"there is no shard .*two.tar"):
        pairs_of(tmp_path / "two.tar", tokenizer)
    (tmp_path / "packed.tar").write_bytes(gzip.compress(b"much"))
    with pytest.raises(ValueError, match=r"packed.tar cannot be read as a tar archive: .*must be unpacked first"):
        pairs_of(tmp_path / "packed.tar", tokenizer)
    others = {f"{name}_png": (pictures / f"{k}.png").read_bytes() for k, name in enumerate("bc", 1)}
    whole = shard(a_png=picture, a_txt=b"a boat", **others, b_txt=b"a car", c_txt=b"a house")
    data = pairs_of(whole, tokenizer, check_images=False)
    whole.write_bytes(whole.read_bytes()[:600])
    with pytest.raises(OSError, match=r"one.tar/a cannot be read: .*ends after .* it was cut off"):
        data._whole.fetch(np.arange(1), 0)


def test_a_model_without_texts(pictures: Path, tokenizer: Path) -> None:
    data = CaptionedImagesDataModule(table_of(pictures, rows(4)))
    data.serve(Conditions(conditions(tokenizer).input_spec, "TinyVit"))
    with pytest.raises(ValueError, match=r"needs a model that reads images and texts, .*Clip; TinyVit reads no"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad_image": "drop"}, "on_bad_image must be 'error' or 'skip', got 'drop'"),
        ({"on_empty_caption": "drop"}, "on_empty_caption must be 'error' or 'skip', got 'drop'"),
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({"max_length": 2}, "max_length must be at least 3 tokens"),
        ({"caption": []}, "caption must name at least one column"),
        ({"validation_fraction": 1}, r"validation_fraction must be in \(0, 1\), got 1"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaptionedImagesDataModule("pairs.csv", **options)
