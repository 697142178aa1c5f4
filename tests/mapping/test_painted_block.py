"""What is painted: against loops over all pixels, for any size of block, with pixels that are missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from lightning_tl.mapping.painted_block import NO_CLASS, NO_CONFIDENCE, NO_PROBABILITY, BlockPainter, PaintedBlock
from lightning_tl.mapping.plans import DensePlan, MapPlan, TilePlan, blocks, region

HEIGHT, WIDTH, WINDOW, CLASSES = 45, 58, 12, 3


def _softmax(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    powers = np.exp(values - values.max(axis, keepdims=True))
    found: NDArray[np.float32] = powers / powers.sum(axis, keepdims=True)
    return found


def tile_scorer(windows: list[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Probabilities of the mean pixel."""
    for window in windows:
        yield _softmax(4 * window.mean((0, 1)), 0)


def dense_scorer(windows: list[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Probabilities of each pixel, with some of the whole window's, so that windows differ in what they say of one."""
    for window in windows:
        yield _softmax((4 * window + window.mean((0, 1))).transpose(2, 0, 1), 0)


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    pixels = rng.random((HEIGHT, WIDTH, CLASSES)).astype(np.float32)
    valid = np.ones((HEIGHT, WIDTH), bool)
    valid[:20, :16] = False
    valid[30, 40:50] = False
    return pixels, valid


def _map(plan: MapPlan, scorer: object, scene: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> PaintedBlock:
    painter = BlockPainter(plan, scorer, CLASSES, 0.5, True)  # type: ignore[arg-type]
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    confidence = classes.copy()
    probabilities = np.zeros((CLASSES, HEIGHT, WIDTH), np.uint16)
    for block in blocks(plan):
        place = region(plan.windows(block))
        rows, columns = slice(place[0], place[0] + place[2]), slice(place[1], place[1] + place[3])
        found = painter.paint(block, place, scene[0][rows, columns], scene[1][rows, columns])
        inside = slice(block[0], block[0] + block[2]), slice(block[1], block[1] + block[3])
        classes[inside], confidence[inside] = found.classes, found.confidence
        assert found.probabilities is not None
        probabilities[:, inside[0], inside[1]] = found.probabilities
    return PaintedBlock(classes, confidence, probabilities)


@pytest.mark.parametrize("stride", [1, 4, 5, 12])
def test_tiles_against_a_loop_over_pixels(stride: int, scene: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    pixels, valid = scene
    found = _map(TilePlan(HEIGHT, WIDTH, WINDOW, stride, 20), tile_scorer, scene)
    for row in range(0, HEIGHT, 3):
        for column in range(0, WIDTH, 3):
            top = min(max(row // stride * stride + stride // 2 - WINDOW // 2, 0), HEIGHT - WINDOW)
            left = min(max(column // stride * stride + stride // 2 - WINDOW // 2, 0), WIDTH - WINDOW)
            part = slice(top, top + WINDOW), slice(left, left + WINDOW)
            if not valid[row, column] or valid[part].mean() < 0.5:
                assert found.classes[row, column] == NO_CLASS and found.confidence[row, column] == NO_CONFIDENCE
                assert (found.probabilities[:, row, column] == NO_PROBABILITY).all()  # type: ignore[index]
                continue
            want = next(tile_scorer([pixels[part]]))
            assert found.classes[row, column] == want.argmax()
            assert abs(int(found.confidence[row, column]) - 100 * want.max()) <= 0.51
            np.testing.assert_allclose(found.probabilities[:, row, column], want * 10_000, atol=0.51)  # type: ignore[index]
    assert (found.classes == NO_CLASS).any() and (found.classes != NO_CLASS).any()


@pytest.mark.parametrize("overlap", [0, 3, 6, 11])
def test_blended_windows_against_a_loop_over_pixels(
    overlap: int, scene: tuple[NDArray[np.float32], NDArray[np.bool_]]
) -> None:
    pixels, valid = scene
    plan = DensePlan(HEIGHT, WIDTH, WINDOW, overlap, 20)
    found = _map(plan, dense_scorer, scene)
    starts = [[*range(0, size - WINDOW, WINDOW - overlap), size - WINDOW] for size in (HEIGHT, WIDTH)]
    for row in range(0, HEIGHT, 4):
        for column in range(0, WIDTH, 4):
            total, weight = np.zeros(CLASSES), 0.0
            for top in starts[0]:
                for left in starts[1]:
                    part = slice(top, top + WINDOW), slice(left, left + WINDOW)
                    y, x = row - top, column - left
                    if not (0 <= y < WINDOW and 0 <= x < WINDOW) or valid[part].mean() < 0.5:
                        continue
                    share = min(1, (y + 1) / (overlap + 1), (WINDOW - y) / (overlap + 1))
                    share *= min(1, (x + 1) / (overlap + 1), (WINDOW - x) / (overlap + 1))
                    total += share * next(dense_scorer([pixels[part]]))[:, y, x]
                    weight += share
            if not valid[row, column] or not weight:
                assert found.classes[row, column] == NO_CLASS
                continue
            np.testing.assert_allclose(found.probabilities[:, row, column], total / weight * 10_000, atol=0.51)  # type: ignore[index]


@pytest.mark.parametrize("most", [1, 13, 24, 1000])
def test_blocks_of_any_size_paint_the_same(most: int, scene: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    for make, scorer in (
        (lambda m: TilePlan(HEIGHT, WIDTH, WINDOW, 4, m), tile_scorer),
        (lambda m: DensePlan(HEIGHT, WIDTH, WINDOW, 5, m), dense_scorer),
    ):
        one, other = _map(make(17), scorer, scene), _map(make(most), scorer, scene)
        assert (one.classes == other.classes).all()
        assert (one.probabilities == other.probabilities).all()  # type: ignore[union-attr]


def test_a_model_that_gives_no_numbers_is_told_and_paints_nothing() -> None:
    found = np.full((2, 3, 4), 0.5, np.float32)
    found[:, 1, 2] = np.nan
    there = np.ones((3, 4), bool)
    with pytest.raises(ValueError, match=r"gives no numbers for 1 of 12 pixels of a block \(nan\)"):
        PaintedBlock.of(found, there, False)
    there[1, 2] = False
    assert PaintedBlock.of(found, there, False).classes[1, 2] == NO_CLASS
