"""Texts from a table to padded batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_text import SPECIAL, WORDS, save_text_model, save_tokenizer
from transformers import AutoTokenizer

from datamodules import TextDataModule
from datamodules.texts.length_grouped import LengthGroupedOrder, padding_share
from datamodules.texts.text_tokens import load_tokenizer, tokenise
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.conditions import Conditions

VOCABULARY = len(SPECIAL) + len(WORDS)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> TextSpec:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return TextSpec(str(folder), 12, VOCABULARY, segments=True)


def with_backbone(data: TextDataModule, spec: TextSpec | ImageSpec, **others: Any) -> TextDataModule:
    """The data module as it serves such a backbone."""
    data.serve(Conditions(spec, "TinyBackbone", **others))
    return data


def sentences(count: int) -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(1, 9))) + f" {k}" for k in range(count)]


def table(folder: Path, count: int = 60, **columns: Any) -> Path:
    rows = {"text": sentences(count), "label": [("land", "sea", "sky")[k % 3] for k in range(count)], **columns}
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    return folder / "texts.csv"


def ready(spec: TextSpec, path: Path, **options: Any) -> TextDataModule:
    data = with_backbone(TextDataModule(str(path), cache=path.parent / "cache", batch_size=4, **options), spec)
    data.setup()
    return data


# ---------------------------------------------------------------- records


def test_own_table(spec: TextSpec, tmp_path: Path) -> None:
    data = ready(spec, table(tmp_path))
    assert data.class_names == ("land", "sea", "sky") and data.num_classes == 3
    assert {split: len(found) for split, found in data.indices.items()} == {
        "train": 40,
        "validation": 5,
        "test": 15,
        "predict": 0,
    }
    assert data.sample_ids([0, 59]) == ["row-1", "row-60"]
    assert data.sample_text(0) == sentences(1)[0]
    assert data.blocks([0]) is None


def test_other_columns_and_given_splits(spec: TextSpec, tmp_path: Path) -> None:
    splits = ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    path = table(tmp_path, body=sentences(60)[::-1], part=splits, name=[f"n{k}" for k in range(60)], who=[1, 2] * 30)
    data = ready(spec, path, text=["body", "text"], split="part", id="name", block="who", label="label")
    assert data.records.splits.tolist() == [{"val": "validation"}.get(split, split) for split in splits]
    assert data.sample_ids([3]) == ["n3"]
    assert data.sample_text(0) == f"{sentences(60)[-1]}\n{sentences(1)[0]}"
    assert data.blocks([0, 1, 2]).tolist() == [0, 1, 0]
    batch = next(iter(data.val_dataloader()))
    assert set(batch["inputs"]["token_type_ids"].unique().tolist()) == {0, 1}


def test_a_folder_of_splits(spec: TextSpec, tmp_path: Path) -> None:
    frame = pd.read_csv(table(tmp_path))
    (tmp_path / "parts").mkdir()
    for name, start in (("train", 0), ("dev", 30), ("test", 45)):
        frame[start : start + 15].to_json(tmp_path / "parts" / f"{name}.jsonl", orient="records", lines=True)
    data = ready(spec, tmp_path / "parts")
    assert {split: len(found) for split, found in data.indices.items() if len(found)} == {
        "train": 15,
        "validation": 15,
        "test": 15,
    }


def test_two_tables_for_one_split(spec: TextSpec, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("train.csv", "training.CSV", "test.csv"):
        table(tmp_path).rename(folder / name)
    with pytest.raises(ValueError, match=r"has two tables for train: train\.csv and training\.CSV; keep one"):
        ready(spec, folder)


def test_a_data_set_of_the_hub(spec: TextSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load_dataset` opens a folder of Parquet files as it opens a repository of the hub."""
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    parts = {
        name: Dataset.from_dict({"sentence": sentences(size), "label": [k % 2 for k in range(size)]}, features)
        for name, size in (("train", 20), ("validation", 8), ("test", 8))
    }
    repository = tmp_path / "owner" / "reviews"
    for name, part in DatasetDict(parts).items():
        (repository / "data").mkdir(parents=True, exist_ok=True)
        part.to_parquet(repository / "data" / f"{name}-00000-of-00001.parquet")
    import datasets

    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name, *more: load(str(tmp_path / name), *more))
    data = with_backbone(TextDataModule("owner/reviews", text="sentence", cache=tmp_path / "cache"), spec)
    data.setup()
    assert data.class_names == ("bad", "good")
    assert len(data.indices["train"]) == 20 and len(data.indices["test"]) == 8


def test_reviews_that_ship() -> None:
    for label, classes in (("department", 6), ("rating", 5)):
        records = TextDataModule(label=label).records
        assert len(records.ids) == 22_628 and len(records.class_names) == classes
        texts = pd.DataFrame({"text": [" ".join(text.split()).casefold() for text in records.texts]})
        assert texts.assign(split=records.splits).groupby("text")["split"].nunique().max() == 1
        assert records.blocks is not None and len(set(records.blocks.tolist())) > 1000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: table(f, count=2), "labels occur only once"),
        (lambda f: table(f, label=["sea"] * 60), r"at least two classes, found one: 'sea' \(60 texts\)"),
        (lambda f: table(f, label=[k / 7 for k in range(60)]), "have a fraction"),
        (
            lambda f: table(f, text=["", " ", *sentences(58)]),
            "2 rows of .* have no text: rows 1, 2; drop them, or set on_em",
        ),
        (lambda f: table(f, label=[None, *["a", "b"] * 29, "a"]), "1 rows of .* have no label: row 1"),
        (lambda f: table(f).rename(f / "x.txt"), "a table must be .csv"),
        (lambda f: f, "must hold a table named train .* it holds no tables"),
        (
            lambda f: table(f, split=["train"] * 30 + ["val"] + ["train"] * 29),
            "2 of 3 classes are missing from validation",
        ),
    ],
)
def test_bad_tables(make: Callable[[Path], Path], message: str, spec: TextSpec, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ready(spec, make(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "body"}, "has no column 'body'; It has text, label. Set text to the right one"),
        ({"label": "lable"}, "has no column 'lable'; did you mean label"),
        ({"split": "fold"}, "has no column 'fold'.*Set split"),
        ({"id": "label"}, "label of .* must name every row differently; named again: rows 4, 5, 6, 7, 8 and 52 more"),
        ({"text": ["text", "label", "text"]}, "text must be one column or two, got 3"),
        ({"max_length": 2}, "max_length must be at least 3"),
        ({"max_length": 13}, "at most the backbone's 12 tokens, got 13"),
        ({"labels_per_class": 15}, "training has only 13 texts of 'land'"),
        ({"on_empty_text": "drop"}, "on_empty_text must be 'error' or 'skip'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, spec: TextSpec, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        ready(spec, table(tmp_path), **options)


def test_texts_that_are_none(spec: TextSpec, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [["a", "list"], *sentences(29)], "label": ["x", "y"] * 15})
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    with pytest.raises(ValueError, match=r"text of .* must hold texts; row 1 holds a list"):
        ready(spec, tmp_path / "t.jsonl")
    with pytest.raises(FileNotFoundError, match=r"no table or folder nosuch; a data set of the .* is named owner/name"):
        ready(spec, Path("nosuch"))


def test_pairs_are_split_by_their_first_text(spec: TextSpec, tmp_path: Path) -> None:
    firsts = [f"question {k // 2}" for k in range(60)]
    data = ready(spec, table(tmp_path, first=firsts, label=["x", "y"] * 30), text=["first", "text"])
    sides = pd.DataFrame({"first": firsts, "split": data.records.splits}).groupby("first")["split"].nunique()
    assert sides.max() == 1


def test_offline_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        FileNotFoundError, match=r"'owner/no-such-set' is no file.*Remedies: check the name; set HF_HOME"
    ):
        _ = TextDataModule("owner/no-such-set").records


def test_empty_texts_are_skipped_on_request(spec: TextSpec, tmp_path: Path) -> None:
    path = table(tmp_path, text=[None, *sentences(59)])
    with pytest.warns(UserWarning, match="1 rows of .* have no text: row 1; they are left out"):
        data = ready(spec, path, on_empty_text="skip")
    assert data.sample_ids([0]) == ["row-2"], "rows keep the numbers that they have in the file"


def test_a_backbone_that_reads_images(tmp_path: Path) -> None:
    data = with_backbone(TextDataModule(str(table(tmp_path))), ImageSpec(8, 3, (0.5,) * 3, (0.5,) * 3))
    with pytest.raises(ValueError, match=r"needs a backbone that reads texts, such as .*HuggingFaceText"):
        data.setup()


# ---------------------------------------------------------------- tokens


def test_tokens_are_the_tokenizers_own(spec: TextSpec, tmp_path: Path) -> None:
    texts = [*sentences(30), "good " * 40]
    tokens = tokenise(texts, None, spec, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(spec.tokenizer)
    for index in np.random.default_rng(0).permutation(len(texts)):
        expected = tokenizer(texts[index], truncation=True, max_length=12)["input_ids"]
        assert tokens.read(np.array([index]), "input_ids")[0].tolist() == expected
        assert tokens.lengths[index] == len(expected)
    assert tokens.cut.tolist() == [len(tokenizer(text)["input_ids"]) > 12 for text in texts]
    assert tokens.cut.sum() >= 1


def test_tokens_are_kept(spec: TextSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenise(["a good book", "a boat"], None, spec, tmp_path)
    monkeypatch.setattr("datamodules.texts.text_tokens._encode", None)  # to call it would fail
    again = tokenise(["a good book", "a boat"], None, spec, tmp_path)
    assert again.folder == first.folder and again.lengths.tolist() == first.lengths.tolist()
    for texts, seconds, other in (
        (["a good boat", "a boat"], None, spec),
        (["a boat", "a good book"], None, spec),
        (["a good book", "a boat"], ["x", "y"], spec),
        (["a good book", "a boat"], None, TextSpec(spec.tokenizer, 11, VOCABULARY, True)),
    ):
        with pytest.raises(TypeError):
            tokenise(texts, seconds, other, tmp_path)
    assert not list(tmp_path.glob(".partial-*"))


def test_tokenizer_of_another_model(spec: TextSpec, tmp_path: Path) -> None:
    small = TextSpec(spec.tokenizer, 12, VOCABULARY - 1)
    with pytest.raises(ValueError, match=f"has {VOCABULARY} tokens, but the model's vocabulary has {VOCABULARY - 1}"):
        load_tokenizer(small)
    with pytest.raises(ValueError, match="has no tokenizer that can be opened"):
        load_tokenizer(TextSpec(str(tmp_path), 12, 99))


def test_cut_texts_are_counted(spec: TextSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, text=["warm " * 30 + str(k) for k in range(7)] + sentences(53))
    said: list[str] = []
    monkeypatch.setattr(
        "datamodules.texts.tokenised_texts.rank_zero_info", said.append
    )  # other tests change the log's level
    ready(spec, path)
    assert said == ["7 of 60 texts are longer than 12 tokens and are cut there"]


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_batches(family: str, tmp_path: Path) -> None:
    backbone = HuggingFaceText(str(save_text_model(family, tmp_path)))
    data = ready(backbone.input_spec, table(tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(backbone.input_spec.tokenizer)
    segments = backbone.input_spec.segments
    seen = []
    for batch in data.train_dataloader():
        texts = [data.sample_text(int(k)) for k in batch["index"]]
        expected = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=segments)
        assert batch["inputs"].keys() == expected.keys()
        for name, value in batch["inputs"].items():
            assert torch.equal(value, expected[name]), name
        assert batch["target"].tolist() == [int(data.records.labels[k]) for k in batch["index"]]
        seen += batch["index"].tolist()
    assert len(seen) == len(set(seen)) == 40  # 42 texts in whole batches of 4
    evaluated = torch.cat([batch["index"] for batch in data.test_dataloader()]).tolist()
    assert sorted(evaluated) == data.indices["test"].tolist()
    kept = torch.cat([batch["index"] for batch in data.cache_loader("train", 0, 0, 1)]).tolist()
    assert sorted(kept) == data.indices["train"].tolist()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=120),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
def test_length_grouped_order(lengths: list[int], batch: int, ranks: int, epoch: int, drop_last: bool) -> None:
    sizes = np.array([0, *lengths, 0])
    indices = np.arange(1, len(lengths) + 1)
    orders = [LengthGroupedOrder(sizes, indices, batch, 5, rank, ranks, True, drop_last) for rank in range(ranks)]
    epochs = [order.batches(epoch) for order in orders]
    assert {len(batches) for batches in epochs} == {len(orders[0])}
    served = np.concatenate([part for batches in epochs for part in batches])
    plain = np.concatenate([p for r in range(ranks) for p in plain_order(indices, batch, r, ranks, drop_last, epoch)])
    assert sorted(served) == sorted(plain), "the same samples as without grouping"
    assert max(len(part) for batches in epochs for part in batches) <= batch
    again = LengthGroupedOrder(sizes, indices, batch, 5, 0, ranks, True, drop_last).batches(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(again, epochs[0], strict=True))


def plain_order(indices: Any, batch: int, rank: int, ranks: int, drop_last: bool, epoch: int) -> list[Any]:
    from datamodules.loading.orders import TrainingOrder

    return TrainingOrder(indices, batch, 5, rank, ranks, True, drop_last).batches(epoch)


def test_batches_differ_from_epoch_to_epoch() -> None:
    lengths = np.random.default_rng(0).integers(3, 120, 640)
    order = LengthGroupedOrder(lengths, np.arange(640), 8, 0)
    first, second = ({frozenset(batch.tolist()) for batch in order.batches(epoch)} for epoch in (0, 1))
    assert len(first & second) < 5
    longest = [int(lengths[batch].max()) for batch in order.batches(0)]
    assert longest != sorted(longest), "batches come in a random order, not the short ones first"


def test_little_padding_on_the_reviews(tmp_path: Path) -> None:
    data = with_backbone(TextDataModule(cache=tmp_path), HuggingFaceText().input_spec)
    data.setup()
    lengths = data.tokens.lengths
    assert padding_share(data.training_order(data.indices["train"], 0, 1, True).batches(3), lengths) < 0.10
    plain = plain_order(data.indices["train"], 32, 0, 1, True, 3)
    assert padding_share(plain, lengths) > 0.25
    evaluated = data.val_dataloader().order.batches(0)
    assert padding_share(evaluated, lengths) < 0.02
