"""Splits in space: blocks of one size, tiles that touch, and where whole blocks go."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.earth.block_grid import BlockGrid
from datamodules.earth.outlines import boxes_in_one_crs, touches, touching
from datamodules.earth.space import DROPPED, SplitInSpace, told_leak

A, F = 6378137.0, 1 / 298.257223563
ES = F * (2 - F)


def _meridian_m(latitude: float) -> float:
    """Length of the meridian from the equator, by 20,000 steps of its radius of curvature."""
    angles = np.linspace(0, math.radians(abs(latitude)), 20_001)
    radius = A * (1 - ES) / (1 - ES * np.sin(angles) ** 2) ** 1.5
    return math.copysign(float(np.trapezoid(radius, angles)), latitude)


def _parallel_m(latitude: float) -> float:
    sine = math.sin(math.radians(latitude))
    return 2 * math.pi * A * math.cos(math.radians(latitude)) / math.sqrt(1 - ES * sine**2)


@pytest.mark.parametrize("latitude", [0.01, 7.3, -33.9, 51.2, 69.9, -84.0])
def test_blocks_of_degrees_are_as_large_as_asked(latitude: float) -> None:
    """Steps of a metre along the meridian and the parallel change the block after `size_m`."""
    size = 5000.0
    grid = BlockGrid(size)
    row, column = (int(part) for part in grid.names(np.array([10.0]), np.array([latitude]), "EPSG:4326")[0].split(":"))
    assert row == math.floor(_meridian_m(latitude) / size)
    around = _parallel_m(latitude)
    longitudes = 10 + np.arange(0, 360 * 20 * size / around, 360 * 10 / around)  # 20 blocks, every 10 m
    changes = np.flatnonzero(np.diff(_columns(grid, longitudes, latitude)))
    width = np.diff(changes).mean() * 10
    assert abs(width / size - 1) < 0.05
    assert column >= 0


def _columns(grid: BlockGrid, longitudes: np.ndarray, latitude: float) -> np.ndarray:
    names = grid.names(longitudes, np.full(len(longitudes), latitude), "EPSG:4326")
    return np.array([int(name.split(":")[1]) for name in names])


def test_a_place_has_one_block_whatever_its_projection() -> None:
    from pyproj import Transformer

    generator = np.random.default_rng(0)
    longitude, latitude = generator.uniform(11.5, 12.5, 200), generator.uniform(-60, 70, 200)  # between two UTM zones
    grid = BlockGrid(10_000)
    want = grid.names(longitude, latitude, "EPSG:4326")
    latitude = np.abs(latitude)
    north = grid.names(longitude, latitude, "EPSG:4326")
    for code in (32632, 32633, 3857):
        x, y = Transformer.from_crs(4326, code, always_xy=True).transform(longitude, latitude)
        assert (grid.names(np.asarray(x), np.asarray(y), f"EPSG:{code}") == north).mean() > 0.99  # but for rounding
    assert len(set(want)) > 150


def test_the_ends_of_the_earth_have_blocks() -> None:
    names = BlockGrid(200_000).names(
        np.array([180.0, -180.0, 0.0, 0.0]), np.array([0.0, 0.0, 90.0, -90.0]), "EPSG:4326"
    )
    assert names[0] == names[1]
    assert names[2].split(":")[0] == str(math.floor(_meridian_m(90) / 200_000))


def test_a_plane_has_square_blocks() -> None:
    names = BlockGrid(100).names(np.array([0.0, 99.9, 100.0, -0.1]), np.array([0.0, 99.9, 250.0, 0.0]), None)
    assert names.tolist() == ["0:0", "0:0", "2:1", "0:-1"]


@pytest.mark.parametrize(
    ("x", "y", "crs", "text"),
    [
        ([np.nan], [1.0], "EPSG:4326", "1 of 1 tiles have no place"),
        ([45.0], [123.0], "EPSG:4326", "are x and y exchanged"),
        ([45.0], [12.0], "EPSG:99", "EPSG:99 is not known"),
        ([1.0, 2.0], [1.0, 2.0], ["EPSG:4326"], "one projection for each of the 2 places, got 1"),
    ],
)
def test_places_that_are_none_are_refused(x: list[float], y: list[float], crs: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BlockGrid(1000).names(np.array(x), np.array(y), crs)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_blocks_have_a_size(size: float) -> None:
    with pytest.raises(ValueError, match="size of a block must be above 0"):
        BlockGrid(size)


def _slow_touches(some: np.ndarray, others: np.ndarray) -> list[bool]:
    return [
        any(a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3] for b in others.tolist())
        for a in some.tolist()
    ]


_BOXES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 3), st.integers(1, 3)), min_size=0, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(_BOXES, _BOXES)
def test_touching_is_what_comparing_all_pairs_finds(some: list[tuple], others: list[tuple]) -> None:  # type: ignore[type-arg]
    a, b = (
        np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], float).reshape(-1, 4) * 10 + 500_000
        for boxes in (some, others)
    )
    assert touches(a, b).tolist() == _slow_touches(a, b)
    assert touching(a, b) == sum(_slow_touches(a, b))


def test_edges_that_differ_in_their_last_digits_touch_and_tiles_apart_do_not() -> None:
    step = 0.1
    a, b = np.array([[0, 0, 3 * step, 1]]), np.array([[0.30000000000000001, 0, 0.6, 1]])
    assert 3 * step != 0.3
    assert touching(a, b) == 1
    assert touching(a, b + np.array([[0.01, 0, 0.01, 0]])) == 0


def test_tiles_touch_over_the_date_line_and_over_utm_zones() -> None:
    west, east = np.array([[-180.0, 0, -179, 1]]), np.array([[179.0, 0, 180, 1]])
    assert touching(west, east) == 0
    assert touching(west, east, degrees=True) == 1
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(12.0, 48.0)
    x2, y2 = Transformer.from_crs(4326, 32633, always_xy=True).transform(12.0, 48.0)
    boxes = np.array(
        [[x - 640, y - 320, x, y + 320], [x2 - 60, y2 - 320, x2 + 580, y2 + 320], [x, y + 900, x + 9, y + 999]]
    )
    outlines, degrees = boxes_in_one_crs(boxes, ["EPSG:32632", "EPSG:32633", "EPSG:32632"])
    assert degrees
    assert touches(outlines[:1], outlines[1:2], degrees).tolist() == [True]
    assert touches(outlines[:2], outlines[2:], degrees).tolist() == [False, False]


def _tiles(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A field of count × count tiles of 640 m in UTM, of 3 classes in patches."""
    rows, columns = np.mgrid[:count, :count].reshape(2, -1)
    west, north = 500_000 + 640.0 * columns, 5_500_000 - 640.0 * rows
    boxes = np.stack([west, north - 640, west + 640, north], 1)
    return boxes, (rows // 4 + columns // 3 + seed) % 3


SPLIT = SplitInSpace(block_km=3, validation_fraction=0.2, test_fraction=0.2, seed=1)
NAMES = ("forest", "water", "urban")


def test_whole_blocks_go_to_one_split_and_shares_are_met_in_the_mean() -> None:
    boxes, labels = _tiles()
    notes: list[str] = []
    splits, blocks = SPLIT.split(boxes, "EPSG:32633", labels, NAMES, notes)
    assert all(len(set(splits[blocks == block])) == 1 for block in set(blocks))
    assert 0.08 < (splits == "test").mean() < 0.32
    assert 0.48 < (splits == "train").mean() < 0.72
    assert notes[0].startswith("split in space: ")
    assert "blocks of 3 km" in notes[0]


def test_new_tiles_move_no_others_and_another_seed_does() -> None:
    boxes, labels = _tiles()
    whole, _ = SPLIT.split(boxes, "EPSG:32633", labels, NAMES)
    part = boxes[:, 0] < 500_000 + 640 * 31
    some, _ = SPLIT.split(boxes[part], "EPSG:32633", labels[part], NAMES)
    assert (some == whole[part]).all()
    other, _ = SplitInSpace(3, 0.2, 0.2, seed=2).split(boxes, "EPSG:32633", labels, NAMES)
    assert (other != whole).any()


def test_a_gap_leaves_no_training_tile_beside_a_held_out_one() -> None:
    boxes, labels = _tiles()
    notes: list[str] = []
    plain, _ = SPLIT.split(boxes, "EPSG:32633", labels, NAMES)
    splits, _ = SplitInSpace(3, 0.2, 0.2, 1, gap=True).split(boxes, "EPSG:32633", labels, NAMES, notes)
    held_out = (splits == "test") | (splits == "validation")
    assert not any(_slow_touches(boxes[splits == "train"] + np.array([[-1, -1, 1, 1]]), boxes[held_out]))
    dropped = splits == DROPPED
    assert (splits[~dropped] == plain[~dropped]).all()
    assert dropped.sum() == sum(_slow_touches(boxes[plain == "train"], boxes[plain != "train"]))
    assert f"{dropped.sum():,} training tiles that touch" in " ".join(notes)


def test_a_gap_that_takes_all_is_refused() -> None:
    boxes, labels = _tiles(count=8)
    with pytest.raises(ValueError, match="training tiles touch a tile of validation or test"):
        SplitInSpace(0.64, 0.45, 0.45, 1, gap=True).split(boxes, None, labels, NAMES)


def test_too_few_blocks_are_refused_with_their_number() -> None:
    boxes, labels = _tiles(count=6)
    with pytest.raises(ValueError, match=r"36 tiles lie in \d blocks? of 50 km, and 3 splits need at least 3"):
        SplitInSpace(50).split(boxes, "EPSG:32633", labels, NAMES)


def test_a_split_of_one_class_is_refused_and_a_missing_class_told() -> None:
    boxes, _ = _tiles()
    labels = (boxes[:, 0] > 500_000 + 640 * 38).astype(np.int64)  # the second class lies in one column of blocks
    labels[boxes[:, 3] < 5_500_000 - 640 * 2] = 0
    with pytest.raises(ValueError, match="has only 'forest' of 2 classes: take smaller blocks"):
        SPLIT.split(boxes, "EPSG:32633", labels, NAMES[:2])
    _, three = _tiles()
    three[:] = np.where(three == 2, 0, three)
    three[:2] = 2
    notes: list[str] = []
    SPLIT.split(boxes, "EPSG:32633", three, NAMES, notes)
    assert sum("has no tile of urban" in note for note in notes) == 2


def test_presence_of_classes_splits_as_labels_do() -> None:
    boxes, labels = _tiles()
    there = (labels[:, None] == np.arange(3)).astype(np.int64)
    assert (SPLIT.split(boxes, None, there, NAMES)[0] == SPLIT.split(boxes, None, labels, NAMES)[0]).all()


def test_random_splits_are_told_to_leak_with_the_number_of_tiles() -> None:
    boxes, _ = _tiles(count=20)
    splits = np.random.default_rng(0).choice(["train", "validation", "test"], len(boxes), p=[0.7, 0.1, 0.2])
    count = sum(_slow_touches(boxes[splits == "test"], boxes[splits == "train"]))
    told = told_leak(splits, boxes, "EPSG:32633")
    assert told is not None
    assert told.startswith(f"{count} of {(splits == 'test').sum()} test tiles touch or overlap a training tile")
    apart = np.where(boxes[:, 0] > 505_000, "train", "dropped")
    apart[boxes[:, 0] < 503_000] = "test"
    assert told_leak(apart, boxes, "EPSG:32633") is None
