"""Images come to a model's size without torch as they do with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.images.resized import resized
from lightning_tl.inputs.resizing import resized_pixels


def with_torch(pixels: np.ndarray, size: int) -> np.ndarray:
    return resized(torch.from_numpy(pixels).permute(2, 0, 1), size).permute(1, 2, 0).numpy()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 4), st.integers(0, 99))
def test_bytes_are_the_same_bits(height: int, width: int, size: int, channels: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)
    found = resized_pixels(pixels, size)
    assert found.shape == (size, size, channels) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, with_torch(pixels, size))


@pytest.mark.parametrize("shape", [(300, 200), (17, 33), (64, 64)])
def test_floats_are_the_same_to_rounding(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random((*shape, 2), dtype=np.float32)
    found = resized_pixels(pixels, 64)
    np.testing.assert_allclose(found, with_torch(pixels, 64), atol=3e-5)
    assert found.min() >= 0 and found.max() <= 1
