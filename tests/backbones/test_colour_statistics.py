"""Colour statistics, against the same taken pixel by pixel."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path

import pytest
import torch

from lightning_tl.backbones import ColourStatistics, load_exported


def slow(image: list[list[list[float]]]) -> list[float]:
    """Features of one image [channels][height][width] with values from 0 to 1."""
    side = len(image[0])
    first = (side - side // 4) // 2
    inside = range(first, first + side // 4)
    means = [statistics.fmean(value for row in band for value in row) for band in image]
    deviations = [statistics.stdev([value for row in band for value in row]) for band in image]
    centres = [statistics.fmean(band[y][x] for y in inside for x in inside) for band in image]
    plain = [*means, *deviations, *centres]
    return [*plain, *(a * b for a, b in itertools.combinations_with_replacement(plain, 2))]


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("side", [4, 9, 16])
def test_as_pixel_by_pixel(channels: int, side: int) -> None:
    backbone = ColourStatistics(image_size=side, channels=channels)
    values = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    found = backbone((values - 0.5) / 0.5)
    assert found.shape == (2, backbone.feature_dim)
    torch.testing.assert_close(found, torch.tensor([slow(image.tolist()) for image in values]), atol=1e-5, rtol=0)


def test_an_exported_one_is_read_back(tmp_path: Path) -> None:
    backbone = ColourStatistics(image_size=8, channels=2)
    head = torch.nn.Linear(backbone.feature_dim, 4)
    backbone.export(tmp_path, head, list("abcd"))
    again, images = load_exported(tmp_path), torch.rand(3, 2, 8, 8)
    assert torch.equal(again(images), head(backbone(images)))
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        ColourStatistics(str(tmp_path))


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"image_size": 3}])
def test_settings_that_make_no_statistics(wrong: dict[str, int]) -> None:
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"at least 1 band and 4 pixels.*{name} {value}"):
        ColourStatistics(**wrong)
