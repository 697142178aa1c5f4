"""Conditions on every type of column, beside a slow loop, and values that do not fit."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_tl.search import ItemFields
from lightning_tl.search.item_fields import fields_of_frame

DAY = datetime.datetime(2024, 5, 1)
TABLE = pa.table(
    {
        "kind": ["a", "b", None, "a"],
        "coded": pa.array(["x", None, "y", "x"]).dictionary_encode(),
        "stock": [1, 5, None, 9],
        "price": [0.5, float("nan"), 2.0, None],
        "exact": pa.array([Decimal("1.50"), None, Decimal("2.25"), Decimal("3.00")]),
        "there": [True, False, None, True],
        "since": pa.array([DAY, DAY + datetime.timedelta(hours=30), None, DAY], pa.timestamp("us")),
        "zone": pa.array([DAY, None, DAY, DAY], pa.timestamp("s", tz="UTC")),
        "date": pa.array([DAY.date(), None, datetime.date(2025, 1, 1), DAY.date()]),
        "tags": [["r", "s"], [], None, ["s"]],
    }
)


@pytest.mark.parametrize(
    ("where", "right"),
    [
        ({}, [0, 1, 2, 3]),
        ({"kind": "a"}, [0, 3]),
        ({"kind": ["a", "b"], "stock": {"from": 2}}, [1, 3]),
        ({"kind": []}, []),
        ({"coded": ["x", "unheard of"]}, [0, 3]),
        ({"stock": {"from": 1, "to": 5.5}}, [0, 1]),
        ({"stock": [9, 1.0]}, [0, 3]),
        ({"stock": 1.5}, []),
        ({"price": {"from": 0}}, [0, 2]),
        ({"price": 2}, [2]),
        ({"exact": {"to": 2.25}}, [0, 2]),
        ({"there": True}, [0, 3]),
        ({"there": [True, False]}, [0, 1, 3]),
        ({"since": {"from": "2024-05-02"}}, [1]),
        ({"since": {"to": "2024-05-01T02:00:00+02:00"}}, [0, 3]),
        ({"zone": {"to": datetime.date(2024, 5, 1)}}, [0, 2, 3]),
        ({"date": "2024-05-01"}, [0, 3]),
        ({"date": {"from": "2024-12-31"}}, [2]),
        ({"tags": "s"}, [0, 3]),
        ({"tags": ["r", "z"]}, [0]),
    ],
)
def test_what_holds(where: dict[str, Any], right: list[int]) -> None:
    fields = ItemFields(TABLE)
    assert np.flatnonzero(fields.mask(where)).tolist() == right
    assert np.flatnonzero(fields.mask(where)).tolist() == right  # as kept
    assert np.flatnonzero(fields.taken(np.array([3, 0])).mask(where)).tolist() == [
        place for place, row in enumerate((3, 0)) if row in right
    ]


@pytest.mark.parametrize(
    "where",
    [
        {"stock": {"from": 10**30}},
        {"stock": [10**400]},
        {"stock": True},
        {"stock": "1"},
        {"kind": None},
        {"kind": ["a", ["b"]]},
        {"kind": "\ud800"},
        {"there": 1},
        {"since": "yesterday"},
        {"since": 3},
        {"since": {"from": "0001-01-01T00:00:00+14:00"}},
        {"tags": 3},
        {"tags": {"from": "a"}},
        {"price": {"from": None}},
        {"nothing": 1},
    ],
)
def test_what_does_not_fit(where: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(where))}'"):
        ItemFields(TABLE).mask(where)


def test_files_are_read_in_the_order_of_the_ids(tmp_path: Path) -> None:
    table = TABLE.append_column("item", pa.array(["i0", "i1", "i2", "i3"])).append_column("raw", pa.array([b"x"] * 4))
    pq.write_table(table, tmp_path / "items.parquet")
    fields = ItemFields.read(tmp_path / "items.parquet", "item", ["i3", "new", "i0"])
    assert "raw" not in fields.names and fields.mask({"kind": "a"}).tolist() == [True, False, True]
    (tmp_path / "items.csv").write_text("item,price\n7,1.5\n8,2\n")
    assert ItemFields.read(tmp_path / "items.csv", "item", ["8", "7"]).column("price").tolist() == [2.0, 1.5]
    with pytest.raises(ValueError, match="has no column 'colour'; it has: item, price"):
        ItemFields.read(tmp_path / "items.csv", "item", ["8"], ["colour"])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ItemFields.read(tmp_path / "none.csv", "item", ["8"])
    (tmp_path / "items.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        ItemFields.read(tmp_path / "items.parquet", "item", ["8"])
    (tmp_path / "items.csv").write_text("item,price\n7,1.5\n7,2\n")
    with pytest.raises(ValueError, match="has the item '7' more than once"):
        ItemFields.read(tmp_path / "items.csv", "item", ["7"])


def test_a_frame_keeps_what_can_be_filtered_by() -> None:
    import pandas as pd

    frame = pd.DataFrame({"item": [1.0, 2.0], "price": [None, 2.0], "mixed": [1, "a"], "blob": [b"a", b"b"]})
    fields = fields_of_frame(frame, "item", ["2", "1", "3"])
    assert fields is not None and fields.names == ["price"]
    assert fields.mask({"price": {"from": 0}}).tolist() == [True, False, False]
    assert fields_of_frame(frame[["item", "blob"]], "item", ["2"]) is None
