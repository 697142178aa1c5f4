"""Colour statistics, against the same taken pixel by pixel."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pytest
import torch

from lightning_tl.backbones import ColourStatistics, load_exported


def slow(image: list[list[list[float]]], bins: int, joint: int) -> list[float]:
    """Features of one image [channels][height][width] with values from 0 to 1."""
    flat = [[value for row in band for value in row] for band in image]
    pixels = len(flat[0])

    def level(value: float, count: int) -> int:
        return min(int(value * count), count - 1)

    means = [statistics.fmean(band) for band in flat]
    deviations = [statistics.stdev(band) for band in flat]
    roughness = []
    for band in image:
        right = [abs(row[k + 1] - row[k]) for row in band for k in range(len(row) - 1)]
        down = [abs(below[k] - row[k]) for row, below in itertools.pairwise(band) for k in range(len(row))]
        roughness.append((statistics.fmean(right) + statistics.fmean(down)) / 2)
    shares = [sum(level(v, bins) == k for v in band) / pixels for band in flat for k in range(bins)]
    together = [0.0] * (joint ** len(flat) if len(flat) <= 3 else 0)
    for colour in zip(*flat, strict=True):
        place = 0
        for value in colour:
            place = place * joint + level(value, joint)
        if together:
            together[place] += 1 / pixels
    return [*means, *deviations, *roughness, *shares, *together]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_as_pixel_by_pixel(channels: int) -> None:
    backbone = ColourStatistics(image_size=5, channels=channels, bins=4, joint=3)
    values = torch.rand(2, channels, 5, 5, generator=torch.Generator().manual_seed(0))
    values[0, 0, 0, 0], values[0, 0, 0, 1] = 0.0, 1.0  # the ends of the range
    found = backbone((values - 0.5) / 0.5)
    assert found.shape == (2, backbone.feature_dim)
    expected = torch.tensor([slow(image.tolist(), 4, 3) for image in values])
    # A value on the border of two bins may fall to either side by rounding; these do not.
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_exported_one_is_read_back(tmp_path: Path) -> None:
    backbone, head = ColourStatistics(image_size=8, channels=2, bins=3), torch.nn.Linear(2 * 6 + 16, 4)
    backbone.export(tmp_path, head, list("abcd"))
    again, images = load_exported(tmp_path), torch.rand(3, 2, 8, 8)
    assert torch.equal(again(images), head(backbone(images)))
    with pytest.raises(FileNotFoundError, match="has no config\\.json"):
        ColourStatistics(str(tmp_path))


@pytest.mark.parametrize("wrong", [{"bins": 1}, {"joint": 1}, {"channels": 0}, {"image_size": 1}])
def test_settings_that_make_no_statistics(wrong: dict[str, int]) -> None:
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"at least 2 bins.*{name} {value}"):
        ColourStatistics(**wrong)
