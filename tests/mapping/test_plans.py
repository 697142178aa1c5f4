"""Where windows lie: every pixel has its windows, whatever the size of the scene and of the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_tl.mapping.plans import DensePlan, TilePlan, blocks, region

SIZES = st.tuples(st.integers(8, 60), st.integers(8, 60), st.integers(1, 8), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
def test_blocks_are_the_scene_and_their_windows_lie_inside(
    sizes: tuple[int, int, int, int], data: st.DataObject
) -> None:
    height, width, window, most = sizes
    stride = data.draw(st.integers(1, window))
    for plan in (
        TilePlan(height, width, window, stride, most),
        DensePlan(height, width, window, window - stride, most),
    ):
        seen = np.zeros((height, width), int)
        for block in blocks(plan):
            row, column, h, w = block
            seen[row : row + h, column : column + w] += 1
            windows = plan.windows(block)
            top, left, tall, wide = region(windows)
            assert top >= 0 and left >= 0 and top + tall <= height and left + wide <= width
            assert not isinstance(plan, DensePlan) or windows == sorted(set(windows))
        assert (seen == 1).all()


@settings(max_examples=40, deadline=None)
@given(SIZES, st.data())
def test_the_window_of_a_cell_lies_around_it_or_at_the_border(
    sizes: tuple[int, int, int, int], data: st.DataObject
) -> None:
    height, width, window, most = sizes
    stride = data.draw(st.integers(1, window))
    plan = TilePlan(height, width, window, stride, most)
    for block in blocks(plan):
        rows, columns = plan.cells(block)
        windows = plan.windows(block)
        assert len(windows) == rows * columns
        for k, (top, left, _, _) in enumerate(windows):
            for start, place, whole in (
                (top, block[0] + k // columns * stride, height),
                (left, block[1] + k % columns * stride, width),
            ):
                middle = place + stride // 2 - window // 2
                assert start == min(max(middle, 0), whole - window)
                assert start <= place and min(place + stride, whole) <= start + window + stride // 2


@settings(max_examples=40, deadline=None)
@given(SIZES, st.data())
def test_every_pixel_of_a_dense_map_lies_in_a_window_of_its_block(
    sizes: tuple[int, int, int, int], data: st.DataObject
) -> None:
    height, width, window, most = sizes
    plan = DensePlan(height, width, window, data.draw(st.integers(0, window - 1)), most)
    whole = {
        (row, column) for row in [*range(0, height - window, plan.step), height - window]
        for column in [*range(0, width - window, plan.step), width - window]
    }  # fmt: skip
    for block in blocks(plan):
        seen = np.zeros((height, width), bool)
        for row, column, h, w in plan.windows(block):
            assert (row, column) in whole
            seen[row : row + h, column : column + w] = True
        assert seen[block[0] : block[0] + block[2], block[1] : block[1] + block[3]].all()
    assert (plan.weights() > 0).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TilePlan(40, 60, 64, 32), r"40 × 60 pixels, and the model reads windows of 64 × 64"),
        (lambda: TilePlan(80, 80, 64, 65), "stride must be from 1 to the window of 64 pixels, got 65"),
        (lambda: DensePlan(80, 80, 64, 64), "overlap must be from 0 to below the window of 64 pixels, got 64"),
        (lambda: TilePlan(80, 80, 0, 1), "at least 1 pixel, got 0"),
    ],
)
def test_plans_that_cannot_be_are_refused(make: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()  # type: ignore[operator]


def test_a_plan_says_how_fine_its_map_is() -> None:
    assert "cells of 32 × 32 pixels (320 m)" in TilePlan(100, 100, 64, 32).told(10.0)
    assert "overlap by 16" in DensePlan(100, 100, 64, 16).told(None)
