"""Event files: what is read, in which order, what is refused, and what is kept."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warm_python import warm_executable

from datamodules.events.reading import event_batches
from datamodules.events.reading.event_files import EventColumns, Events, read_events
from datamodules.events.reading.event_sorter import EventSorter
from lightning_tl.contracts.interactions import InteractionLog

FULL = EventColumns(completion="done", weight="weight")
EVENT = st.tuples(  # user, item, second, whether taken, weight
    st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.booleans(), st.sampled_from([0.5, 1.0, 2.0])
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def save(path: Path, **columns: object) -> Path:
    """A table as Parquet, CSV or TSV; by default with three columns of two events."""
    given = {"user": [1, 2], "item": [7, 8], "time": [10, 20]} | columns
    if path.suffix == ".parquet":
        pq.write_table(pa.table(given), path)
    else:
        pd.DataFrame(given).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def rows_of(log: InteractionLog) -> list[tuple[str, str, int, float]]:
    weights = [1.0] * len(log) if log.weights is None else log.weights.tolist()
    users = [log.user_ids[number] for number in log.users]
    items = [log.item_ids[number] for number in log.items]
    return list(zip(users, items, log.times.tolist(), weights, strict=True))


def slowly(
    events: list[tuple[int, int, int, bool, float]], number: dict[int, int]
) -> list[tuple[int, int, int, bool, float]]:
    """The same events sorted and without duplicates, by plain loops. `number` ranks the users."""
    kept: list[list] = []
    for event in events:
        earlier = [row for row in kept if tuple(row[:3]) == event[:3]]
        if earlier:
            earlier[0][3] = earlier[0][3] or event[3]
        else:
            kept.append(list(event))
    found: list[tuple] = []
    for row in kept:  # insertion sort: stable
        place = len(found)
        while place and (number[found[place - 1][0]], found[place - 1][2]) > (number[row[0]], row[2]):
            place -= 1
        found.insert(place, tuple(row))
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(EVENT, min_size=1, max_size=40), st.integers(1, 12), st.integers(1, 15))
def test_sorted_out_of_memory_as_slow_loops_do(tmp_path_factory, events, block: int, piece: int) -> None:
    folder = tmp_path_factory.mktemp("sorter")
    sorter = EventSorter(folder, completion=True, weights=True, block=block)
    names = ("user", "item", "time", "taken", "weight")
    for start in range(0, len(events), piece):
        columns = zip(*events[start : start + piece], strict=True)
        sorter.add(**{name: np.array(values) for name, values in zip(names, columns, strict=True)})
    result = sorter.write(folder)
    expected = slowly(events, {user: user for user in range(6)})
    for kind, taken in (("taken", True), ("viewed", False)):
        found = [np.load(folder / f"{kind}_{name}.npy").tolist() for name in ("users", "items", "times", "weights")]
        assert list(zip(*found, strict=True)) == [(*row[:3], row[4]) for row in expected if row[3] is taken]
    assert (result.taken + result.viewed, result.duplicates) == (len(expected), len(events) - len(expected))
    assert (result.first, result.last) == (min(row[2] for row in events), max(row[2] for row in events))
    assert not list(folder.glob("events.*"))


@settings(deadline=None, max_examples=15)
@given(
    st.lists(EVENT, min_size=1, max_size=40).filter(lambda events: any(event[3] for event in events)),
    st.sampled_from([".parquet", ".csv", ".tsv"]),
    st.integers(1, 3),
    st.booleans(),
)
def test_files_are_read_as_slow_loops_do(tmp_path_factory, events, suffix: str, files: int, text: bool) -> None:
    folder = tmp_path_factory.mktemp("log")
    name = "id-{}" if text else "{}"
    size = -(-len(events) // files)
    for start in range(0, len(events), size):
        user, item, second, taken, weight = zip(*events[start : start + size], strict=True)
        ids = [[name.format(k) if text else k for k in column] for column in (user, item)]
        done = [0.75 if value else 0.25 for value in taken]
        save(folder / f"part-{start:03d}{suffix}", user=ids[0], item=ids[1], time=second, done=done, weight=weight)
    found = read_events(folder, FULL, cache=folder / ".cache")
    appeared = {user: rank for rank, user in enumerate(dict.fromkeys(event[0] for event in events))}
    expected = slowly(events, appeared)
    for log, taken in ((found.taken, True), (found.viewed, False)):
        rows = [(name.format(u), name.format(i), t, w) for u, i, t, done, w in expected if done is taken]
        assert rows_of(log) == rows
    assert found.taken.user_ids == [name.format(user) for user in appeared]
    assert found.taken.item_ids == [name.format(item) for item in dict.fromkeys(event[1] for event in events)]


def test_time_may_run_backwards_and_ties_keep_the_order_of_the_file(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv", user=[5, 3, 5, 5, 3], item=list("vwxyz"), time=[30, 20, 10, 30, 10])
    log = read_events(file, EventColumns(), cache=cache).taken
    assert [row[:3] for row in rows_of(log)] == [
        ("5", "x", 10), ("5", "v", 30), ("5", "y", 30), ("3", "z", 10), ("3", "w", 20),
    ]  # fmt: skip
    assert (log.users.dtype, log.items.dtype, log.times.dtype) == (np.int32, np.int32, np.int64)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_many_small_pieces_are_as_one(
    suffix: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    columns = {name: random.integers(0, 50, 3000) for name in ("user", "item", "time")}
    file = save(tmp_path / f"a{suffix}", **columns)
    whole = rows_of(read_events(file, EventColumns(), cache=cache).taken)
    monkeypatch.setattr(event_batches, "_ROWS", 7)
    monkeypatch.setattr(event_batches, "_BYTES", 256)
    assert rows_of(read_events(file, EventColumns(), cache=tmp_path / "other").taken) == whole


TIMES = {
    "numbers": (pa.array([0, 1714566600]), [0, 1714566600]),
    "unsigned": (pa.array([0, 1714566600], pa.uint32()), [0, 1714566600]),
    "whole floats": (pa.array([0.0, 1714566600.0]), [0, 1714566600]),
    "naive timestamps": (pa.array([0, 1714566600_999_999], pa.timestamp("us")), [0, 1714566600]),
    "timestamps of a zone": (pa.array([0, 1714566600_000], pa.timestamp("ms", "Europe/Berlin")), [0, 1714566600]),
    "days": (pa.array([0, 19844], pa.date32()), [0, 19844 * 86400]),
    "texts of numbers": (pa.array(["0", "1714566600"]), [0, 1714566600]),
    "texts of floats": (pa.array(["0.0", "1714566600.0"]), [0, 1714566600]),
    "ISO": (pa.array(["1970-01-01", "2024-05-01 12:30:00.75"]), [0, 1714566600]),
    "ISO of several zones": (pa.array(["1970-01-01T01:00:00+01:00", "2024-05-01T12:30:00Z"]), [0, 1714566600]),
    "ISO with and without zone": (pa.array(["1970-01-01", "2024-05-01T10:30:00-0200"]), [0, 1714566600]),
    "ISO in categories": (pa.array(["1970-01-01", "2024-05-01T12:30"]).dictionary_encode(), [0, 1714566600]),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_become_utc_seconds(name: str, tmp_path: Path, cache: Path) -> None:
    column, expected = TIMES[name]
    log = read_events(save(tmp_path / "a.parquet", time=column), EventColumns(), cache=cache).taken
    assert log.times.tolist() == expected


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_numbers_in_other_units(unit, factor: int, suffix: str, tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / f"a{suffix}", time=[1700000000 * factor, 1700000001 * factor + factor // 2])
    log = read_events(file, EventColumns(), time_unit=unit, cache=cache).taken
    assert log.times.tolist() == [1700000000, 1700000001]
    if unit != "s":
        with pytest.raises(ValueError, match=rf"looks like {unit}; set time_unit to {unit}; got .* in row 1 of"):
            read_events(file, EventColumns(), cache=cache)


def test_cells_of_columns_that_are_not_read_may_hold_anything(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'user,item,time,title\n1,2,3,\xe9\n4,5,6,"two\nlines"\n')
    assert len(read_events(tmp_path / "a.csv", EventColumns(), cache=cache).taken) == 2
    file = save(tmp_path / "a.parquet", **{"item.id": [1, 2], "both": [0.5, 1.0]})
    found = read_events(file, EventColumns(item="item.id", completion="both", weight="both"), cache=cache)
    assert rows_of(found.taken) == [("1", "1", 10, 0.5), ("2", "2", 20, 1.0)]


def test_csv_ids_stay_as_they_are_written(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffuser,title,item,time\n007,"a, ""b""\nc",NA,3\n7,,é,4\n'.encode())
    log = read_events(file, EventColumns(), cache=cache).taken
    assert (log.user_ids, log.item_ids) == (["007", "7"], ["NA", "é"])


IDS = {
    "categories": pa.array(["a", "b"]).dictionary_encode(),
    "large texts": pa.array(["a", "b"], pa.large_string()),
    "views": pa.array(["a", "b"], pa.string_view()),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_any_text_type(kind: str, tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.parquet", user=IDS[kind])
    assert read_events(file, EventColumns(), cache=cache).taken.user_ids == ["a", "b"]


def read_unknown(tmp_path: Path, what: str) -> Events:
    file = save(tmp_path / "a.csv", user=[1, 2, 3, 1], item=[7, 8, 9, 9], time=[1, 2, 3, 4])
    return read_events(file, EventColumns(), ["i", "8", "7"], ["3", "none", "2"], what, cache=tmp_path / "cache")  # type: ignore[arg-type]


def test_unknown_items_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"2 events are of 1 items .*: 9, which has such as i. Add them, or set unknown"
    ):
        read_unknown(tmp_path, "error")


def test_unknown_items_are_skipped_and_leave_no_user_behind(tmp_path: Path) -> None:
    found = read_unknown(tmp_path, "skip")
    assert found.taken.item_ids == ["i", "8", "7"] and found.taken.user_ids == ["3", "none", "2", "1"]
    assert [row[:2] for row in rows_of(found.taken)] == [("2", "8"), ("1", "7")]
    assert "2 events of 1 items that are not in the table of items: skipped" in found.notes
    assert "1 users of events are not in the table of users: added, without profile" in found.notes
    assert "1 of 3 items have no event that was taken" in found.notes
    assert "2 of 4 users have no event that was taken" in found.notes


def test_unknown_items_are_appended(tmp_path: Path) -> None:
    found = read_unknown(tmp_path, "text-less")
    assert found.taken.item_ids == ["i", "8", "7", "9"] and len(found.taken) == 4
    assert "2 events of 1 items that are not in the table of items: kept without text" in found.notes


def test_duplicates_are_one_event(tmp_path: Path, cache: Path) -> None:
    columns = {"user": [1] * 5, "item": [7, 8, 7, 8, 7], "time": [5, 5, 5, 5, 6]}
    file = save(tmp_path / "a.csv", **columns, done=[0.1, 0.2, 0.9, 0.3, 0.4], weight=[3, 4, 5, 6, 7])
    found = read_events(file, FULL, cache=cache)
    assert rows_of(found.taken) == [("1", "7", 5, 3.0)]
    assert found.viewed is not None and rows_of(found.viewed) == [("1", "8", 5, 4.0), ("1", "7", 6, 7.0)]
    assert "2 events repeat user, item and second of another one: dropped" in found.notes
    assert "2 events were viewed and not taken: completion below 0.5" in found.notes


@pytest.mark.parametrize(("least", "taken"), [(0.0, 3), (0.7, 2), (1.0, 1)])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_completion_at_the_limit_is_taken(least: float, taken: int, kind, tmp_path: Path, cache: Path) -> None:
    file = save(
        tmp_path / "a.parquet", user=[1, 1, 1], item=[1, 2, 3], time=[1, 2, 3], done=pa.array([0, 0.7, 1], kind)
    )
    found = read_events(file, EventColumns(completion="done"), min_completion=least, cache=cache)
    assert found.viewed is not None and (len(found.taken), len(found.viewed)) == (taken, 3 - taken)


def test_no_completion_no_viewed(tmp_path: Path, cache: Path) -> None:
    found = read_events(save(tmp_path / "a.csv", time=[1700000000, 1700000001]), EventColumns(), cache=cache)
    assert found.viewed is None and found.taken.weights is None and found.notes == ()


REFUSED: dict[str, tuple[dict, str]] = {
    "null user": ({"user": pa.array([1, None])}, "row 2 of .* has no user; fill it in or drop the row"),
    "empty item": ({"item": ["", "x"]}, "item must be an id.*; got '' in row 1"),
    "open quote": ({"item": ["x\n3,4", "x"]}, "item must be an id without line break"),
    "float ids": ({"user": [1.0, 2.0]}, "user must be whole numbers or texts.* has it as double"),
    "null time": ({"time": pa.array([1, None])}, "row 2 of .* has no time"),
    "NaN time": ({"time": [1.0, float("nan")]}, "time must be a number.*; got nan in row 2"),
    "negative time": ({"time": [5, -1]}, "time must be at or after 1970-01-01.*; got -1 in row 2"),
    "short floats": ({"time": pa.array([5, 6], pa.float32())}, "32-bit floats round them to minutes"),
    "time no text": ({"time": ["2024-05-01", "May"]}, "time must be .*ISO 8601.*; got 'May' in row 2"),
    "time no number": ({"time": ["12", "x"]}, "time must be .*; got 'x' in row 2"),
    "no such day": ({"time": ["2024-05-01", "2024-02-30"]}, "got '2024-02-30' in row 2"),
    "time of lists": ({"time": [[1], [2]]}, "time must be .* has it as list"),
    "time after all": ({"time": pa.array([1, 10**12], pa.timestamp("s"))}, "time must be before the year 5138"),
    "huge time": ({"time": pa.array([1, 2**63], pa.uint64())}, "time must be below 2\\^63.*in row 2"),
    "zero weight": ({"weight": [1.0, 0.0]}, "weight must be above 0 and finite.*; got 0 in row 2"),
    "tiny weight": ({"weight": [1.0, 1e-60]}, "weight must be above 0 and finite.*in row 2"),
    "negative weight": ({"weight": [-1, 1]}, "weight must be above 0.*; got -1 in row 1"),
    "infinite weight": ({"weight": [1.0, float("inf")]}, "weight must be above 0.*; got inf in row 2"),
    "NaN weight": ({"weight": [1.0, float("nan")]}, "weight must be above 0.*; got nan in row 2"),
    "text weight": ({"weight": ["1", "heavy"]}, "weight must be a number above 0.*; got 'heavy' in row 2"),
    "weight of time": ({"weight": pa.array([1, 2], pa.timestamp("s"))}, "weight must be a number .*as timestamp"),
    "weight of lists": ({"weight": [[1.0], [2.0]]}, "weight must be a number .*as list"),
    "completion above 1": ({"done": [0.5, 50.0]}, "done must be in 0…1; divide.*; got 50 in row 2"),
    "NaN completion": ({"done": [float("nan"), 0.5]}, "done must be in 0…1.*; got nan in row 1"),
    "null completion": ({"done": pa.array([0.5, None])}, "row 2 of .* has no done"),
    "none taken": ({"done": [0.1, 0.2]}, "none of 2 events has done of 0.5 or more; lower min_completion"),
    "no rows": ({name: pa.array([], pa.int64()) for name in ("user", "item", "time", "done", "weight")}, "has no rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_cannot_be_right(name: str, tmp_path: Path, cache: Path) -> None:
    columns, message = REFUSED[name]
    file = save(tmp_path / "a.parquet", **({"done": [0.9, 0.9], "weight": [1, 1]} | columns))
    with pytest.raises(ValueError, match=message) as caught:
        read_events(file, FULL, cache=cache)
    assert "\n" not in str(caught.value).replace("x\n3", "") and not list(cache.glob("*"))


def test_the_row_is_counted_within_its_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_batches, "_ROWS", 10)
    save(tmp_path / "a.parquet")
    numbers = list(range(95))
    save(tmp_path / "b.parquet", user=numbers, item=numbers, time=[*numbers[:77], -3, *numbers[78:]])
    with pytest.raises(ValueError, match=r"got -3 in row 78 of .*b\.parquet"):
        read_events(tmp_path, EventColumns(), cache=cache)


SEPARATED: dict[str, tuple[bytes, str]] = {
    "ragged": (b"user,item,time\n1,2,3\n1,2\n", "cannot be read as CSV: .*Row #3: Expected 3 columns, got 2"),
    "long": (b"user,item,time\n1,2,3,4\n", "Row #2: Expected 3 columns, got 4"),
    "latin1": (b"user,item,time\n1,2,3\n1,\xe9,3\n", "is not UTF-8: byte 0xe9 in row 2"),
    "latin1 header": (b"user,item,time,\xe9t\xe9\n1,2,3,4\n", "is not UTF-8: byte 0xe9 in the header"),
    "UTF-16": ("user,item,time\n1,2,3\n".encode("utf-16"), "is UTF-16, not UTF-8"),
    "nothing": (b"", "is empty"),
    "blank": (b"\n\n", "is empty"),
    "header": (b"user,item,time\n", "has no rows"),
    "missing": (b"user,itme,time\n1,2,3\n", "no column 'item'; did you mean itme.*Set item to the right one"),
    "twice": (b"user,item,time,item\n1,2,3,4\n", "has 2 columns 'item'; rename all but one"),
    "semicolons": (b"user;item;time\n1;2;3\n", "no column 'user'"),
    "no cell": (b"user,item,time\n1,,3\n", "row 1 of .* has no item"),
    "last quote left open": (
        b'user,item,time,title\n1,2,3,a\n4,5,6,"b\n7,8,9,c\n',
        "a quote is left open in the last row",
    ),
    "quote left open": (b'user,item,time\n1,"2,3\n4,5,6\n', "cannot be read as CSV"),
}


@pytest.mark.parametrize("name", SEPARATED)
def test_csv_that_cannot_be_read(name: str, tmp_path: Path, cache: Path) -> None:
    content, message = SEPARATED[name]
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_events(tmp_path / "a.csv", EventColumns(), cache=cache)


@pytest.mark.parametrize(
    ("suffix", "first", "second", "message"),
    [
        (".parquet", [1, 2], ["1", "2"], "int64 in .*a.parquet, string in .*b.parquet"),
        (".csv", [1, 2], ["x1", "x2"], "whole numbers in .*a.csv, texts in .*b.csv"),
    ],
)
def test_ids_change_their_type_between_files(suffix, first, second, message, tmp_path: Path, cache: Path) -> None:
    save(tmp_path / f"a{suffix}", user=first)
    save(tmp_path / f"b{suffix}", user=second)
    with pytest.raises(ValueError, match=f"ids in user change their type between files: {message}"):
        read_events(tmp_path, EventColumns(), cache=cache)


def test_ids_that_only_look_alike(tmp_path: Path, cache: Path) -> None:
    """Widths of numbers do not matter, nor that some texts are digits."""
    save(tmp_path / "a.parquet", user=pa.array([1, 2], pa.int16()))
    save(tmp_path / "b.parquet", user=[2, 3])
    assert read_events(tmp_path, EventColumns(), cache=cache).taken.user_ids == ["1", "2", "3"]
    files = [save(tmp_path / "a.csv", user=["1", "2"]), save(tmp_path / "b.csv", user=["1", "X"])]
    assert read_events(files, EventColumns(), cache=cache).taken.user_ids == ["1", "2", "X"]


def test_parts_without_rows_and_files_beside_them(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    save(folder / "part-1.parquet")
    save(folder / "part-0.parquet", **{name: pa.array([], pa.int64()) for name in ("user", "item", "time")})
    (folder / "_SUCCESS").touch()
    (folder / ".part-1.crc").touch()
    found = read_events(folder, EventColumns(), cache=cache)
    assert len(found.taken) == 2 and "1 of 2 event files have no rows" in found.notes


def test_paths_that_cannot_be_read(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    table, csv = save(tmp_path / "a.parquet"), save(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(b"x")
    (tmp_path / "a.parquet.gz").write_bytes(b"x")
    for path, error, message in (
        (tmp_path / "none.csv", FileNotFoundError, "there is no event file or folder"),
        (tmp_path / "sub", ValueError, "holds no event files"),
        (tmp_path, ValueError, "holds 1 folders, such as sub"),
        ([table, csv], ValueError, "must be of one kind"),
        ([csv, csv], ValueError, "is among the event files twice"),
        ([], ValueError, "there are no event files"),
        (tmp_path / "a.csv.gz", ValueError, "cannot be unpacked"),
        (tmp_path / "a.parquet.gz", ValueError, "event files must be .csv, .tsv, .jsonl"),
        (tmp_path / "bad.parquet", ValueError, "cannot be read as Parquet"),
    ):
        with pytest.raises(error, match=message):
            read_events(path, EventColumns(), cache=cache)


def test_arguments_that_cannot_be(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv")
    for options, message in (
        ({"min_completion": 1.5}, "min_completion must be in 0…1, got 1.5"),
        ({"unknown_items": "drop"}, "unknown_items must be error, skip or text-less, got 'drop'"),
        ({"time_unit": "h"}, "time_unit must be s, ms, us or ns, got 'h'"),
        ({"item_ids": ["7", "8", "7"]}, "item ids must differ, but '7' occurs twice"),
        ({"user_ids": [1, 2]}, "user ids must be texts, got 1; convert them with str"),
        ({"item_ids": ["x"], "unknown_items": "skip"}, "no events are left: all 2 are of items"),
    ):
        with pytest.raises(ValueError, match=message):
            read_events(file, EventColumns(), cache=cache, **options)
    with pytest.raises(ValueError, match="must be three columns, got 'user', 'user' and 'time'"):
        EventColumns(item="user")


def test_times_that_are_no_seconds_are_told(tmp_path: Path, cache: Path) -> None:
    found = read_events(save(tmp_path / "a.csv", time=[20240501, 20240502]), EventColumns(), cache=cache)
    assert any(note.startswith("all events are from 1970-08-23") for note in found.notes)


def test_what_was_prepared_is_found_again(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv", done=[1, 1], weight=[2, 2])
    first = read_events(file, FULL, cache=cache)
    assert isinstance(first.taken.users, np.memmap)
    (folder,) = cache.iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = read_events(file, FULL, cache=cache)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert rows_of(again.taken) == rows_of(first.taken) and again.notes == first.notes
    assert again.viewed is not None and len(again.viewed) == 0
    for number, options in enumerate(({"min_completion": 0.1}, {"item_ids": ["8", "7"]}, {"user_ids": ["2"]}), start=2):
        read_events(file, FULL, cache=cache, **options)
        assert len(list(cache.iterdir())) == number
    save(file, user=[5, 6], done=[1, 1], weight=[2, 2])
    os.utime(file, ns=(1, 1))
    assert read_events(file, FULL, cache=cache).taken.user_ids == ["5", "6"]


def test_what_was_damaged_is_told(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv")
    read_events(file, EventColumns(), cache=cache)
    (folder,) = cache.iterdir()
    os.truncate(folder / "taken_times.npy", 130)
    with pytest.raises(ValueError, match=rf"{folder} is damaged \(mmap length.*; remove it to have it prepared anew"):
        read_events(file, EventColumns(), cache=cache)


KILLED = """
import sys, time
from pathlib import Path
from datamodules import event_preparation
from datamodules.events.reading.event_files import EventColumns, read_events
def wait(*_):
    print("waiting", flush=True)
    time.sleep(60)
event_preparation._without_events = wait  # all arrays are written by then
read_events(Path(sys.argv[1]), EventColumns(), cache=Path(sys.argv[2]))
"""


def test_a_killed_preparation_leaves_nothing_that_is_taken_for_whole(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv")
    with subprocess.Popen(
        [warm_executable(), "-c", KILLED, str(file), str(cache)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGKILL)
    assert list(cache.glob(".partial-*")) and not list(cache.glob("events-*"))
    assert len(read_events(file, EventColumns(), cache=cache).taken) == 2


def test_files_that_change_while_they_are_read(tmp_path: Path, cache: Path) -> None:
    file = save(tmp_path / "a.csv")

    class Rewriting(list):
        """A table of items whose reading takes so long that the file is another one afterwards."""

        def __iter__(self):
            save(file, user=[1, 222])
            return super().__iter__()

    with pytest.raises(ValueError, match="changed while they were read"):
        read_events(file, EventColumns(), Rewriting(["7", "8"]), cache=cache)
    assert not list(cache.iterdir())


# ---------------------------------------------------------------- ids of two kinds, and columns of other things


def test_users_of_another_kind_than_the_table(tmp_path: Path) -> None:
    file = save(tmp_path / "a.csv", user=["u1", "u2"], item=[7, 8], time=[1, 2])
    with pytest.raises(
        ValueError, match=r"none of the 2 users .* in the table of users \(u1, u2, and there such as 1\)"
    ):
        read_events(file, EventColumns(), None, ["1", "2"], cache=tmp_path / "cache")


def test_textless_items_of_another_kind_than_the_table(tmp_path: Path) -> None:
    file = save(tmp_path / "a.csv", user=[1, 2], item=["x7", "x8"], time=[1, 2])
    with pytest.raises(ValueError, match=r"all 2 are of items that are not in the table of items \(x7, x8\)"):
        read_events(file, EventColumns(), ["7", "8"], None, "text-less", cache=tmp_path / "cache")


@pytest.mark.parametrize("ending", ["csv", "tsv.gz", "parquet", "jsonl"])
def test_ids_are_no_fractions_in_any_format(ending: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"user": [1.0, 2.0], "item": [7, 8], "time": [1, 2]})
    with pytest.raises(ValueError, match=r"user must be (whole numbers or texts|a whole number or a text)"):
        read_events(written(table, tmp_path / f"a.{ending}"), EventColumns(), cache=tmp_path / "cache")


@pytest.mark.parametrize("whole", ["66.0", "-66.0", "0.00"])
def test_whole_numbers_written_as_fractions_are_no_ids(whole: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"user,item,time\n1,{whole},1\n2,7,2\n")
    with pytest.raises(ValueError, match=f"item .* written as a fraction; write it without; got '{whole}' in row 1"):
        read_events(tmp_path / "a.csv", EventColumns(), cache=tmp_path / "cache")


def written(table: pd.DataFrame, path: Path) -> Path:
    if ".jsonl" in path.name:
        table.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")
    return path


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "parquet"])
def test_every_format_gives_the_same_log(ending: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"user": draw.integers(0, 9, 60), "item": draw.integers(0, 9, 60), "time": np.arange(60) * 7})
    log = read_events(written(table, tmp_path / f"a.{ending}"), EventColumns(), cache=tmp_path / "cache").taken
    order = np.lexsort((table.time, [log.user_ids.index(str(user)) for user in table.user]))
    assert log.times.tolist() == table.time.to_numpy()[order].tolist()
    assert [log.item_ids[k] for k in log.items] == [str(item) for item in table.item.to_numpy()[order]]


@pytest.mark.parametrize(
    "times",
    [
        [1714566600.75, 1714566601.0],
        ["1714566600.75", "1714566601"],
        ["2024-05-01 12:30:00.75 UTC", "2024-05-01T12:30:01 GMT"],
        ["2024-05-01 14:30:00.75 +0200", "2024-05-01 12:30:01+00:00"],
    ],
    ids=["floats", "texts", "UTC", "offsets"],
)
def test_fractions_of_seconds_and_zones(times: list[object], tmp_path: Path) -> None:
    table = pd.DataFrame({"user": [1, 1], "item": [7, 8], "time": times})
    log = read_events(written(table, tmp_path / "a.parquet"), EventColumns(), cache=tmp_path / "cache").taken
    assert log.times.tolist() == [1714566600, 1714566601]


@pytest.mark.parametrize("times", [[20240214233546, 20240214233547], [202402142335, 202402142336]])
def test_the_digits_of_a_date_are_no_seconds(times: list[int], tmp_path: Path) -> None:
    file = save(tmp_path / "a.csv", user=[1, 2], item=[7, 8], time=times)
    with pytest.raises(ValueError, match=r"time must be .* not the digits of a date \(YYYYMMDDhhmm or with ss\); got"):
        read_events(file, EventColumns(), cache=tmp_path / "cache")


def test_zero_bytes_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"user,item,time\n" + bytes(200))
    with pytest.raises(ValueError, match="is no text, as it holds zero bytes"):
        read_events(tmp_path / "a.csv", EventColumns(), cache=tmp_path / "cache")
