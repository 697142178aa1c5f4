"""Tables that people bring, well and badly made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.labelled.labels import class_numbers, split_names
from datamodules.labelled.stratified import grouped_split
from datamodules.tables.tables import check_column, check_columns, read_table, rows_listed

ROWS = [{"text": "a, b", "label": "x"}, {"text": 'say "no"\nnow', "label": "y"}, {"text": "grün", "label": "x"}]


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"table{suffix}"
    table = pd.DataFrame(ROWS)
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    else:
        table.to_csv(path, sep="\t" if suffix == ".tsv" else ",", index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_all_kinds_hold_the_same(suffix: str, tmp_path: Path) -> None:
    assert read_table(written(tmp_path, suffix)).to_dict("records") == ROWS


def test_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("\ufefftext,label\r\nhot,x\r\n\r\ncold,\r\n".encode())
    assert read_table(path).to_dict("records") == [{"text": "hot", "label": "x"}, {"text": "cold", "label": None}]


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c", "\x1c", "\u2029"])
def test_marks_that_only_look_like_line_ends(mark: str, tmp_path: Path) -> None:
    pd.DataFrame({"text": ["one", f"two{mark}still two"], "label": ["x", "y"]}).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv")["text"].tolist() == ["one", f"two{mark}still two"]


def test_rows_of_parquet_are_known_by_their_numbers(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", "b"]}, index=["k0", "k0"])
    table.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").index.tolist() == [0, 1]
    table.rename_axis("key").to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_dict("list") == {"key": ["k0", "k0"], "text": ["a", "b"]}


def content(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda f: written(f, ".csv").with_name("tabel.csv"),
            "there is no table .*tabel.csv; did you mean .*table.csv",
        ),
        (lambda f: f / "no" / "table.csv", "there is no folder .*no$"),
        (content("t.xlsx", b"x"), "a table must be .csv, .tsv, .jsonl .* or .parquet, got .*t.xlsx"),
        (content("t.csv", b"text,label\n"), "has no rows"),
        (content("t.csv", b""), "is empty"),
        (
            content("t.csv", b"text,label\na,x\nb,y,z\nc\n"),
            r"2 rows .* than the 2 of the header: rows 2, 3 \(row 2 has 3\)",
        ),
        (content("t.csv", b"text,text\na,x\n"), "several columns of the same name: text"),
        (content("t.csv", b"text,label\na,x\nh\xf6t,y\n"), "is not UTF-8: byte 0xf6 in row 2. Convert it.*iconv"),
        (
            content("t.csv", b'text,label\na,b\n\n"open,x\ny,z\n'),
            "row 2 of .* is not closed as it should be.*quotes inside it",
        ),
        (content("t.tsv", b'text\tlabel\n"so" she said\tx\n'), "row 1 of .* is not closed as it should be .*a tab"),
        (content("t.csv", "text,label\na,b\n".encode("utf-16")), "is UTF-16, not UTF-8. Convert .* iconv -f utf-16"),
        (content("t.jsonl", b'{"text": "a"}\n{"text": "\\ud83d"}\n'), "row 2 of .* holds half a character"),
        (content("t.jsonl", b'{"text": "a"}\n{"text": \n'), r"row 2 of .* is no JSON"),
        (
            content("t.jsonl", b'{"a": ' + b"[" * 99_999 + b"]" * 99_999 + b"}"),
            r"row 1 of .* nests lists .* too deeply",
        ),
        (content("t.jsonl", b'["a"]\n'), r"row 1 of .* must be a JSON object"),
        (content("t.jsonl", b'{"a": 1}\n\xff\n'), "byte 0xff in row 2"),
        (content("t.parquet", b"PAR1 no"), "cannot be read as Parquet"),
    ],
)
def test_badly_made_tables(make: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        read_table(make(tmp_path))
    assert "\n" not in str(error.value)


def test_columns() -> None:
    table = pd.DataFrame({"Body": ["a", "b"], "topic": ["x", None]})
    with pytest.raises(ValueError, match=r"t has no column 'body'; did you mean Body. It has Body, topic. Set text to"):
        check_column(table, "text", "body", "t")
    with pytest.raises(ValueError, match="t has no column 'zzz'; It has Body, topic"):
        check_column(table, "text", "zzz", "t")
    with pytest.raises(ValueError, match="1 rows of t have no topic: row 2"):
        check_columns(table, {"text": "Body", "label": "topic"}, "t")
    assert rows_listed(range(7)) == "rows 1, 2, 3, 4, 5 and 2 more"


@pytest.mark.parametrize(
    ("values", "wanted", "labels", "names"),
    [
        (["b", "a", "b", "a"], None, [1, 0, 1, 0], ("a", "b")),
        ([3, 5, 3, 5], None, [0, 1, 0, 1], ("3", "5")),
        ([10.0, 9.0, 9.0, 10.0], None, [1, 0, 0, 1], ("9", "10")),
        (["10", "9", "9", "10"], None, [1, 0, 0, 1], ("9", "10")),
        ([1, 0, 1, 0], ("no", "yes"), [1, 0, 1, 0], ("no", "yes")),
        ([True, False, True, False], None, [1, 0, 1, 0], ("False", "True")),
        (pd.array([True, False, True, False], dtype="object"), None, [1, 0, 1, 0], ("False", "True")),
        (["01", "1", "01", "1"], None, [0, 1, 0, 1], ("01", "1")),
        (
            [*pd.to_datetime(["2020-01-02", "2020-01-01"] * 2)],
            None,
            [1, 0, 1, 0],
            ("2020-01-01 00:00:00", "2020-01-02 00:00:00"),
        ),
    ],
)
def test_class_numbers(
    values: list[object], wanted: tuple[str, ...], labels: list[int], names: tuple[str, ...]
) -> None:
    found = class_numbers(pd.Series(values), ["r"] * len(values), "t", wanted)
    assert (found[0].tolist(), found[1]) == (labels, names)


@pytest.mark.parametrize(
    ("values", "wanted", "message"),
    [
        (["a", "a", "b"], None, "1 labels occur only once in t: b"),
        ([0.5, 1.0, 2.5, 1.0], None, r"2 labels in t have a fraction \(0.5 for r0\): classes are names or whole"),
        (["0.5", "1", "1", "0.5"], None, r"2 labels in t have a fraction \(0.5 for r0\)"),
        ([0, 3, 0, 3], ("no", "yes"), r"labels must be in 0…1 \(2 class_names\).* 2 rows .*: 3 for r1"),
        (["a", "c", "a", "c"], ("a", "b"), "has labels that are not in class_names: c"),
    ],
)
def test_bad_labels(values: list[object], wanted: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_numbers(pd.Series(values), [f"r{k}" for k in range(len(values))], "t", wanted)


def test_a_class_of_one_text() -> None:
    texts = ["same"] * 10 + [f"text {k}" for k in range(10)]
    with pytest.raises(
        ValueError, match=r"the label 'c' occurs 10 times, but as 1 different one .*as equal ones lie on"
    ):
        grouped_split(texts, np.array([0] * 10 + [1] * 10), ("c", "d"), 0.2, 0.2, 0)


def test_split_names() -> None:
    column = pd.Series(["Train", "dev", " test", "validation"], name="part")
    assert split_names(column, "t").tolist() == ["train", "validation", "test", "validation"]
    with pytest.raises(ValueError, match="column 'part' of t must hold train, validation or test, got later"):
        split_names(pd.Series(["train", "later"], name="part"), "t")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=12, max_size=60), st.integers(0, 5), st.randoms())
def test_equal_texts_lie_on_one_side(letters: list[str], seed: int, random: object) -> None:
    filler = [f"unique {k}" for k in range(12)]  # each class needs three different texts
    texts = [*letters, *[f" {letter.upper()} " for letter in letters[:5]], *filler]
    labels = np.arange(len(texts)) % 2
    splits = grouped_split(texts, labels, ("x", "y"), 0.2, 0.2, seed)
    sides: dict[str, set[str]] = {}
    for text, split in zip(texts, splits, strict=True):
        sides.setdefault(text.strip().lower(), set()).add(str(split))
    assert all(len(found) == 1 for found in sides.values())
    assert set(splits) == {"train", "validation", "test"}
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    if len({(texts[i].strip().lower(), int(labels[i])) for i in order}) == len(sides):  # no text has two labels
        again = grouped_split([texts[i] for i in order], labels[order], ("x", "y"), 0.2, 0.2, seed)
        assert again.tolist() == splits[order].tolist(), "the order of the rows must not matter"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_long_whole_numbers_beside_missing_ones_stay_apart(suffix: str, tmp_path: Path) -> None:
    labels = [2**53 + 1, 2**53, None, 7]
    path = tmp_path / f"t{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps({"text": "a", "label": label}) for label in labels))
    else:
        pq.write_table(pa.table({"text": ["a"] * 4, "label": pa.array(labels, pa.int64())}), path)
    table = read_table(path)
    assert table["label"].iloc[[0, 1, 3]].tolist() == [2**53 + 1, 2**53, 7]
    assert table["label"].isna().tolist() == [False, False, True, False]
