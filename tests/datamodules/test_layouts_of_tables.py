"""Tables as hubs, competitions and spreadsheets have them: which rows are what, and what their labels mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datamodules import ManifestDataModule, TextDataModule
from datamodules.labelled.labels import class_numbers
from datamodules.texts.text_sources import split_of

WORDS = ("good", "bad", "blue", "long", "warm", "soft", "new", "small")


def rows(count: int, seed: int = 0, **columns: Any) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    texts = [f"{' '.join(draw.choice(WORDS, 4))} {seed} {k}" for k in range(count)]
    return pd.DataFrame({"text": texts, "label": ["a", "b"] * (count // 2), **columns})


def read(path: Path | str, **options: Any) -> TextDataModule:
    data = TextDataModule(str(path), **options)
    _ = data.records
    return data


def sizes(data: Any) -> dict[str, int]:
    return {
        str(split): int(count) for split, count in zip(*np.unique(data.records.splits, return_counts=True), strict=True)
    }


# -------------------------------------------------------------------- splits


def test_validation_is_taken_from_training_and_told(tmp_path: Path) -> None:
    rows(200).to_csv(tmp_path / "Train.csv", index=False)
    rows(40, 1).to_csv(tmp_path / "TEST.csv.gz", index=False)
    (tmp_path / "sample_submission.csv").write_text("id\n1\n")
    data = read(tmp_path)
    assert sizes(data)["test"] == 40 and 10 < sizes(data)["validation"] < 50
    assert {"Train/row-1", "TEST/row-40"} <= set(data.records.ids) and len(set(data.records.ids)) == 240
    assert any("validation is taken from training" in note for note in data.notes)
    assert any("left out: sample_submission.csv" in note for note in data.notes)


def test_training_alone_gives_all_three(tmp_path: Path) -> None:
    rows(200).to_csv(tmp_path / "train.tsv", sep="\t", index=False)
    data = read(tmp_path)
    assert set(sizes(data)) == {"train", "validation", "test"}
    assert any("validation and test are taken from training" in note for note in data.notes)


@pytest.mark.parametrize("hidden", ["-1", "none", "no column"])
def test_a_test_part_without_labels_is_to_be_predicted(hidden: str, tmp_path: Path) -> None:
    rows(60, label=[0, 1] * 30).to_parquet(tmp_path / "train.parquet")
    test = rows(10, 1).drop(columns="label") if hidden == "no column" else rows(10, 1, label=-1)
    (test.assign(label=None) if hidden == "none" else test).to_parquet(tmp_path / "test.parquet")
    data = read(tmp_path)
    assert sizes(data)["predict"] == 10 and "test" not in sizes(data)
    assert data.records.class_names == ("0", "1") and set(data.records.labels[data.records.splits == "predict"]) == {-1}


def test_a_missing_label_among_others_is_named_by_its_file(tmp_path: Path) -> None:
    rows(60).to_csv(tmp_path / "train.csv", index=False)
    rows(10, 1, label=["a"] * 6 + [None] + ["b"] * 3).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(ValueError, match=r"1 rows of .* have no label: row 7 of test.csv"):
        read(tmp_path)
    rows(10, 1, text=["x"] * 4 + [""] * 6).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(ValueError, match=r"have no text: rows 5, 6, 7, 8, 9 and 1 more of test.csv"):
        read(tmp_path)


def test_two_files_for_one_split(tmp_path: Path) -> None:
    for name in ("train.csv", "valid.csv", "dev.csv"):
        rows(20).to_csv(tmp_path / name, index=False)
    with pytest.raises(ValueError, match=r"two tables for validation: dev.csv and valid.csv; keep one"):
        read(tmp_path)


def test_names_of_parts() -> None:
    known = {"TRAIN": "train", "validation_matched": "validation", "dev": "validation", "eval": "validation"}
    assert {name: split_of(name) for name in known} == known
    assert split_of("validation_mismatched") is None and split_of("unsupervised") is None


def test_a_hub_set_without_validation_and_with_unlabelled_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, test, and a part without labels, as `load_dataset` reads them from a repository's Parquet files."""
    import datasets

    repository = tmp_path / "owner" / "reviews" / "data"
    repository.mkdir(parents=True)
    parts = {"train": rows(80), "test": rows(20, 1), "unsupervised": rows(30, 2, label=-1)}
    names = datasets.ClassLabel(names=["bad", "good"])
    for part, table in parts.items():
        labels = [int(label) if label == -1 else k % 2 for k, label in enumerate(table["label"])]
        columns = {"text": table["text"].tolist(), "label": labels}
        features = datasets.Features({"text": datasets.Value("string"), "label": names})
        datasets.Dataset.from_dict(columns, features).to_parquet(repository / f"{part}-00000-of-00001.parquet")
    load = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name, *more: load(str(tmp_path / name), *more))
    data = read("owner/reviews")
    assert data.records.class_names == ("bad", "good")
    assert sizes(data)["test"] == 20 and sizes(data)["validation"] > 2
    assert any("unsupervised" in note for note in data.notes)


def test_a_list_of_images_without_validation_and_with_hidden_labels(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    listed = []
    for k in range(60):
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
        split = "train" if k < 50 else "test"
        listed.append({"path": f"{k}.png", "label": "ab"[k % 2] if k < 50 else "-1", "split": split})
    pd.DataFrame(listed).to_csv(tmp_path / "list.csv", index=False)
    data = ManifestDataModule(tmp_path / "list.csv", image_size=8, mean=[0.5] * 3, std=[0.5] * 3, num_workers=0)
    data.setup("fit")
    assert {split: len(found) > 0 for split, found in data.indices.items()} == {
        "train": True,
        "validation": True,
        "test": False,
        "predict": True,
    }
    assert data.class_names == ("a", "b")


def test_equal_texts_in_several_splits_are_told(tmp_path: Path) -> None:
    table = rows(60, split=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    table.loc[55, "text"] = f"  {table.text[3].upper()} "
    table.loc[7, "text"] = table.text[4]
    table.loc[7, "label"] = "b" if table.label[4] == "a" else "a"
    table.to_csv(tmp_path / "t.csv", index=False)
    notes = " ".join(read(tmp_path / "t.csv").notes)
    assert "2 identical texts are in several splits, for example row-4, row-56" in notes
    assert "identical texts are with different labels" in notes


def test_semicolons_of_spreadsheets(tmp_path: Path) -> None:
    rows(40).to_csv(tmp_path / "t.csv", index=False, sep=";")
    assert len(read(tmp_path / "t.csv").records.ids) == 40


# -------------------------------------------------------------------- labels


def numbers(values: list[Any], wanted: tuple[str, ...] | None = None) -> tuple[list[int], tuple[str, ...]]:
    labels, names = class_numbers(
        pd.Series(values, dtype=object), [str(k) for k in range(len(values))], "t.csv", wanted
    )
    return labels.tolist(), names


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        ([" a", "b ", "a", "b"], [0, 1, 0, 1], ("a", "b")),
        (["3", "10", "3", "10"], [0, 1, 0, 1], ("3", "10")),
        ([3.0, 10.0, 3.0, 10.0], [0, 1, 0, 1], ("3", "10")),
        (
            ["12345678901234567891", "12345678901234567890", "12345678901234567891", "12345678901234567890"],
            [1, 0, 1, 0],
            ("12345678901234567890", "12345678901234567891"),
        ),
        (["01", "1", "01", "1"], [0, 1, 0, 1], ("01", "1")),
        ([True, False, True, False], [1, 0, 1, 0], ("False", "True")),
        (["1", "x", "1", "x"], [0, 1, 0, 1], ("1", "x")),
    ],
    ids=["spaces", "digits", "floats", "20 digits", "codes", "truth", "mixed"],
)
def test_what_labels_mean(values: list[Any], labels: list[int], names: tuple[str, ...]) -> None:
    assert numbers(values) == (labels, names)


def test_labels_among_wanted_names() -> None:
    assert numbers([3, 4, 3, 4], ("1", "2", "3", "4")) == ([2, 3, 2, 3], ("1", "2", "3", "4"))  # by name
    assert numbers([0, 1, 0, 1], ("x", "y")) == ([0, 1, 0, 1], ("x", "y"))  # by place, where no name is a number


def test_names_that_differ_by_case_alone_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"'Sport' \(2\) and 'sport' \(3\), which differ by case or spaces alone"):
        numbers(["sport", "Sport", "food", "food", "sport", "Sport", "sport"])
