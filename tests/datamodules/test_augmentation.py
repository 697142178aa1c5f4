"""Augmentations: every sample's own, whatever batch it comes in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from datamodules import Augmentation, ImageAugmentation, OverheadAugmentation, PerImage
from datamodules.images.resized import resized
from datamodules.loading.seeding import sample_keys, seed_generators

STILL = {"shift": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0}


def pictures(n: int, size: int = 16) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def keys(indices: object, epoch: int = 0) -> NDArray[np.uint64]:
    return sample_keys(indices, 5, "image", epoch)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [16, 23, 64])
@pytest.mark.parametrize("enlarged", [1, 3])
@pytest.mark.parametrize("smallest_crop", [1, 0.5])
def test_a_sample_looks_the_same_in_any_batch(size: int, enlarged: int, smallest_crop: float) -> None:
    images, augmentation = pictures(37, size), OverheadAugmentation(smallest_crop=smallest_crop)
    whole = resized(augmentation.many(images, keys(range(37))), size * enlarged)
    chosen = [30, 2, 17, 36, 5]
    some = resized(augmentation.many(images[chosen], keys(chosen)), size * enlarged)
    assert torch.equal(whole[chosen], some)
    for i in (0, 36):
        assert torch.equal(resized(augmentation.many(images[i : i + 1], keys([i])), size * enlarged)[0], whole[i])


def test_epochs_and_samples_differ() -> None:
    same = pictures(1).expand(50, -1, -1, -1)
    augmentation = OverheadAugmentation()
    first, second = augmentation.many(same, keys(range(50))), augmentation.many(same, keys(range(50), 1))
    assert len({tuple(image.flatten().tolist()) for image in [*first, *second]}) == 100


def eight(image: Tensor) -> list[Tensor]:
    """All flips and quarter turns of [channels, size, size]."""
    return [torch.rot90(flipped, k, (1, 2)) for flipped in (image, image.flip(2)) for k in range(4)]


@pytest.mark.parametrize(
    ("flips", "turns", "expected"), [(True, True, range(8)), (False, True, range(4)), (False, False, [0])]
)
def test_flips_and_turns_are_the_symmetries_of_the_square_equally_often(
    flips: bool, turns: bool, expected: range
) -> None:
    image = pictures(1)
    moved = OverheadAugmentation(flips, turns, **STILL).many(image.expand(4000, -1, -1, -1), keys(range(4000)))
    candidates = torch.stack(eight(image[0].float() / 255))
    which = (moved[:, None] - candidates[None]).abs().amax((2, 3, 4)).argmin(1)
    assert torch.allclose(candidates[which], moved, atol=1e-6)
    counts = torch.bincount(which, minlength=8)
    assert set(counts.nonzero().flatten().tolist()) == set(expected)
    assert (counts[list(expected)] - 4000 / len(expected)).abs().max() < 5 * (4000 / len(expected)) ** 0.5


def shifted_slowly(image: NDArray[np.uint8], down: int, right: int, reach: int) -> NDArray[np.uint8]:
    """[channels, size, size], read `down` and `right` of its place; the reference for shifts."""
    size = image.shape[1]
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    return padded[:, reach + down : reach + down + size, reach + right : reach + right + size]


def test_shifts_reflect_the_edge_and_reach_as_far_as_said() -> None:
    image, reach = pictures(1), 3
    moved = OverheadAugmentation(False, False, **{**STILL, "shift": 0.2}).many(
        image.expand(600, -1, -1, -1), keys(range(600))
    )
    found = {
        (down, right): torch.from_numpy(shifted_slowly(image[0].numpy(), down, right, reach)).float() / 255
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
    }
    seen = set()
    for picture in moved:
        match = [move for move, expected in found.items() if torch.allclose(expected, picture, atol=1e-6)]
        assert len(match) == 1
        seen.add(match[0])
    assert seen == set(found)


def test_colours_change_as_much_as_said_and_stay_in_range() -> None:
    grey = torch.full((500, 3, 8, 8), 100, dtype=torch.uint8)
    changed = OverheadAugmentation(brightness=0.2, contrast=0, colour=0).many(grey, keys(range(500)))
    factor = changed / (100 / 255)
    assert 0.8 <= factor.min() < 0.82 and 1.18 < factor.max() <= 1.2001
    assert torch.equal(changed.amax((1, 2, 3)), changed.amin((1, 2, 3)))
    assert torch.allclose(
        OverheadAugmentation(brightness=0, contrast=0.3, colour=0).many(grey, keys(range(500))),
        grey.float() / 255, atol=1e-6,
    )  # fmt: skip
    coloured = OverheadAugmentation(brightness=0, contrast=0, colour=0.1).many(grey, keys(range(500)))
    assert (coloured[:, 0] - coloured[:, 1]).abs().max() > 0.01
    strong = OverheadAugmentation(brightness=0.9, contrast=0.9, colour=0.9).many(pictures(50), keys(range(50)))
    assert strong.min() >= 0 and strong.max() <= 1


def test_crops_are_as_large_as_said_at_every_angle() -> None:
    """On an image whose two channels are the coordinates themselves, a crop shows which square it was."""
    size, count, least = 32, 400, 0.6
    along = torch.linspace(-1, 1, size)
    image = torch.stack([along[None].expand(size, -1), along[:, None].expand(-1, size)])
    image = ((image + 1) * 127.5).round().to(torch.uint8)
    augmentation = OverheadAugmentation(False, False, **STILL, smallest_crop=least)
    crops = augmentation.many(image.expand(count, -1, -1, -1), keys(range(count))) * 2 - 1
    inner = slice(size // 4, 3 * size // 4)  # where no crop reaches out of the image
    step = (crops[:, :, inner, 1:] - crops[:, :, inner, :-1])[:, :, :, size // 4 : 3 * size // 4].mean((2, 3))
    side, angle = step.norm(dim=1) * (size - 1) / 2, torch.atan2(step[:, 1], step[:, 0])
    assert least - 0.02 < side.min() < least + 0.02 and 0.97 < side.max() < 1.02
    assert (torch.histc(angle, 8, -torch.pi, torch.pi) - count / 8).abs().max() < 5 * (count / 8) ** 0.5
    middle = crops[:, :, inner, inner].mean((2, 3)).abs().amax(1)
    assert (middle < 0.3 * (1 - side) + 0.02).all() and middle.max() > 0.05


@pytest.mark.parametrize("shape", [(3, 40, 60), (3, 60, 40), (1, 32, 32), (4, 22, 28), (3, 33, 200)])
def test_resize_keeps_the_aspect_and_the_centre(shape: tuple[int, int, int]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    image[:, shape[1] // 2 - 3 : shape[1] // 2 + 3, shape[2] // 2 - 3 : shape[2] // 2 + 3] = 255
    small = resized(image, 32)
    assert small.shape == (shape[0], 32, 32) and small.dtype == torch.uint8
    rows, columns = torch.nonzero(small[0] > 128, as_tuple=True)
    assert abs(rows.float().mean() - 15.5) <= 1.5 and abs(columns.float().mean() - 15.5) <= 1.5
    assert abs((rows.max() - rows.min()) - (columns.max() - columns.min())) <= 1


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), ImageAugmentation(), ImageAugmentation(vertical_flip=0.5), PerImage(v2.RandomHorizontalFlip())],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_single_images_of_any_size(augmentation: Augmentation, channels: int) -> None:
    image = pictures(1, 50)[0, :1].expand(channels, -1, -1)[:, :, :37].contiguous()

    def seeded(seed: int) -> Tensor:
        seed_generators(seed)
        return augmentation.one(image, 24)

    assert seeded(1).shape == (channels, 24, 24) and seeded(1).dtype == torch.uint8
    assert torch.equal(seeded(1), seeded(1))
    many = {tuple(seeded(seed).flatten().tolist()) for seed in range(8)}
    assert (len(many) == 1) == (type(augmentation) is Augmentation)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OverheadAugmentation(shift=0.5), r"shift must be in \[0, 0.5\) of the image's side, got 0.5"),
        (
            lambda: OverheadAugmentation(smallest_crop=0),
            r"smallest_crop must be in \(0, 1\] of the image's side, got 0",
        ),
        (
            lambda: OverheadAugmentation(quarter_turns=False, smallest_crop=0.5).many(
                pictures(2)[:, :, :8], keys(range(2))
            ),
            "smallest_crop below 1 needs square images, got 8 x 16",
        ),
        (lambda: OverheadAugmentation(brightness=1), r"brightness must be in \[0, 1\), got 1"),
        (lambda: OverheadAugmentation().many(pictures(2)[:, :, :8], keys(range(2))), "needs square images, got 8 x 16"),
        (lambda: ImageAugmentation(smallest_crop=0), r"smallest_crop must be in \(0, 1\], got 0"),
        (lambda: ImageAugmentation(aspect_ratio=0.5), "aspect_ratio must be at least 1, got 0.5"),
        (lambda: ImageAugmentation(vertical_flip=2), "vertical_flip is a probability"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
