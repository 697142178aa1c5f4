"""The shipped land-cover sample: its manifest, its splits, and what the data module makes of them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import OverheadAugmentation, SatelliteDataModule
from datamodules.loading.orders import Indices
from datamodules.sets.land_cover_map import BLOCK_PIXELS, CLASSES, LandCoverMap
from datamodules.sets.satellite import FOLDS, LARGEST_TILE

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "tools" / "make_land_cover_manifest.py"
SPLITS = ("train", "validation", "test")


def module(**options: object) -> SatelliteDataModule:
    data = SatelliteDataModule(**{"normalisation": "data", "seed": 0, "num_workers": 0, **options})  # type: ignore
    data.setup("fit")
    return data


@pytest.fixture(scope="module")
def shipped() -> SatelliteDataModule:
    return module()


@pytest.fixture(scope="module")
def land_cover() -> Iterator[LandCoverMap]:
    yield LandCoverMap()


# -------------------------------------------------------------------- the manifest


def test_the_committed_manifest_is_what_the_script_makes() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fold", range(FOLDS))
def test_no_pixel_is_in_two_splits_and_tiles_lie_inside_their_block(land_cover: LandCoverMap, fold: int) -> None:
    manifest = land_cover.manifest
    rows, columns = manifest["row"].to_numpy(), manifest["column"].to_numpy()
    records = SatelliteDataModule(tile_size=2, fold=fold).records
    canvas = {split: np.zeros((2700, 5400), bool) for split in SPLITS}
    half = LARGEST_TILE // 2
    for row, column, split in zip(rows, columns, records.splits, strict=True):
        assert half <= row <= 2700 - half and half <= column <= 5400 - half
        canvas[split][row - half : row + half, column - half : column + half] = True
    assert not (canvas["train"] & canvas["validation"]).any()
    assert not (canvas["train"] & canvas["test"]).any()
    assert not (canvas["validation"] & canvas["test"]).any()
    columns_of_blocks = 5400 // BLOCK_PIXELS
    for edge in (-half, half - 1):  # first and last pixel of a tile
        inside = (rows + edge) // BLOCK_PIXELS * columns_of_blocks + (columns + edge) // BLOCK_PIXELS
        assert (inside == manifest["block"]).all()


def test_blocks_are_whole_and_folds_are_even(land_cover: LandCoverMap) -> None:
    manifest = land_cover.manifest
    assert (manifest.groupby("block")["fold"].nunique() == 1).all()
    assert manifest["id"].is_unique
    split = {0: "test", 1: "validation", 2: "train", 3: "train", 4: "train"}
    assert (manifest["fold"].map(split) == manifest["split"]).all()
    counts = manifest.pivot_table(index="label", columns="fold", values="id", aggfunc="count")
    assert (counts.max(axis=1) - counts.min(axis=1) <= 3).all()
    assert Counter(manifest["label"]) == {**dict.fromkeys(CLASSES, 900), "urban": 538}


def test_labels_are_the_class_that_covers_half_of_the_centre(land_cover: LandCoverMap) -> None:
    manifest = land_cover.manifest.sample(400, random_state=0)
    for row in manifest.itertuples():
        shares = land_cover.cover(row.row, row.column, 0.25 / 2 * 15)
        assert shares[CLASSES.index(row.label)] == pytest.approx(shares.max(), abs=1e-6)  # two may have half each
        assert shares.max() == pytest.approx(row.coverage, abs=1e-5) and row.coverage >= 0.5 - 1e-6
        assert (row.latitude, row.longitude) == pytest.approx((90 - row.row / 15, row.column / 15 - 180), abs=1e-4)


def test_water_is_near_land(land_cover: LandCoverMap) -> None:
    water = land_cover.manifest.query("label == 'water'")
    land = land_cover.igbp != 0
    for row, column in zip(water["row"] * 4 // 3, water["column"] * 4 // 3, strict=True):
        window = np.take(land[max(0, row - 31) : row + 32], range(column - 31, column + 32), axis=1, mode="wrap")
        assert window.any()


# -------------------------------------------------------------------- cover


def cover_slowly(land_cover: LandCoverMap, row: int, column: int, half: int) -> Tensor:
    """Every cell cut into 20 x 20 points; a pixel is 4/3 of a cell."""
    fine = 20
    steps = int(2 * half * 4 / 3 * fine)
    at = (np.arange(steps) + 0.5) / fine
    rows = np.floor((row - half) * 4 / 3 + at).astype(int)
    columns = np.floor((column - half) * 4 / 3 + at).astype(int)
    codes = land_cover.igbp[np.ix_(rows, columns)]
    groups = ((1, 2, 3, 4, 5), (12, 14), (13,), (0,), (16,), (11,))
    return torch.tensor([np.isin(codes, group).mean() for group in groups]).float()


@pytest.mark.parametrize("tile_size", [6, 16])
def test_cover_is_the_share_of_the_tile(land_cover: LandCoverMap, tile_size: int) -> None:
    data = SatelliteDataModule(tile_size=tile_size)
    manifest = land_cover.manifest
    for index in range(0, len(manifest), 251):
        row, column = int(manifest["row"][index]), int(manifest["column"][index])
        assert torch.allclose(data.cover(index), cover_slowly(land_cover, row, column, tile_size // 2), atol=0.02)
        assert 0 <= data.cover(index).sum() <= 1 + 1e-6


class WhatCovers(SatelliteDataModule):
    """Several labels a tile: a user's own subclass."""

    def target(self, index: int) -> Tensor:
        return (self.cover(index) >= 0.1).float()


def test_several_labels_by_subclassing() -> None:
    data = WhatCovers(normalisation="data", num_workers=0)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch["target"].shape == (128, 6) and batch["target"].dtype == torch.float32
    assert set(batch["target"].unique().tolist()) == {0.0, 1.0}
    assert 1 < batch["target"].sum(1).mean() < 4
    for index, target in zip(batch["index"][:5].tolist(), batch["target"], strict=False):
        assert torch.equal(target, (data.cover(index) >= 0.1).float())


# -------------------------------------------------------------------- the data module


def test_splits_do_not_depend_on_seed_or_tile_size(shipped: SatelliteDataModule) -> None:
    other = module(seed=9, tile_size=8)
    for split in SPLITS:
        assert np.array_equal(shipped.indices[split], other.indices[split])
    assert {split: len(shipped.indices[split]) for split in SPLITS} == {"train": 3023, "validation": 1008, "test": 1007}


def test_five_folds_test_every_tile_once() -> None:
    tested = []
    for fold in range(FOLDS):
        data = SatelliteDataModule(tile_size=2, fold=fold)
        splits, folds = data.records.splits, LandCoverMap().manifest["fold"].to_numpy()
        assert set(folds[splits == "test"]) == {fold} and set(folds[splits == "validation"]) == {(fold + 1) % FOLDS}
        tested += np.flatnonzero(splits == "test").tolist()
    assert sorted(tested) == list(range(5038))


def test_batches_are_the_tiles_of_the_image(shipped: SatelliteDataModule, land_cover: LandCoverMap) -> None:
    batch = next(iter(shipped.test_dataloader()))
    assert batch["inputs"].shape == (128, 3, 16, 16) and batch["inputs"].dtype == torch.float32
    spec = shipped.input_spec
    assert spec is not None
    for place in (0, 50, 127):
        index = int(batch["index"][place])
        line = land_cover.manifest.iloc[index]
        tile = land_cover.image[line.row - 8 : line.row + 8, line.column - 8 : line.column + 8]
        assert np.array_equal(shipped.image(index), tile)
        shown = batch["inputs"][place].permute(1, 2, 0) * torch.tensor(spec.std) + torch.tensor(spec.mean)
        assert torch.allclose(shown, torch.from_numpy(tile / 255).float(), atol=1e-5)
        assert CLASSES[int(batch["target"][place])] == line.label and line.split == "test"
        assert shipped.sample_ids([index]) == [line.id]
        assert shipped.blocks([index]) == [line.block]
        assert shipped.coordinates([index]) == pytest.approx(np.array([[line.latitude, line.longitude]]))
    assert shipped.class_names == CLASSES and shipped.num_classes == 6


def test_statistics_come_from_training_alone(shipped: SatelliteDataModule) -> None:
    pixels = np.stack([shipped.image(i) for i in shipped.indices["train"]]).reshape(-1, 3) / 255
    spec = shipped.input_spec
    assert spec is not None
    assert spec.mean == pytest.approx(pixels.mean(0), abs=5e-3) and spec.std == pytest.approx(pixels.std(0), abs=5e-3)


def test_tiles_are_enlarged_for_the_backbone() -> None:
    batch = next(iter(module(image_size=48, augmentation=OverheadAugmentation()).train_dataloader()))
    assert batch["inputs"].shape == (64, 3, 48, 48)


def train_batches(epoch: int, **options: object) -> dict[int, Tensor]:
    loader = module(
        augmentation=OverheadAugmentation(), labels_per_class=20, drop_last=False, **options
    ).train_dataloader()
    loader.set_epoch(epoch)
    return {int(i): x for batch in loader for i, x in zip(batch["index"], batch["inputs"], strict=True)}


def test_augmented_tiles_do_not_depend_on_batches_and_workers() -> None:
    reference = train_batches(2)
    assert len(reference) == 120
    for other in (train_batches(2, batch_size=7), train_batches(2, num_workers=2)):
        assert all(torch.equal(other[i], reference[i]) for i in reference)
    assert not any(torch.equal(train_batches(3)[i], reference[i]) for i in list(reference)[:5])


def test_cached_views(shipped: SatelliteDataModule) -> None:
    data = module(augmentation=OverheadAugmentation(), label_fraction=0.05)

    def read(view: int, rank: int = 0, world_size: int = 1) -> tuple[list[int], Tensor]:
        batches = list(data.cache_loader("train", view, rank, world_size))
        return [int(i) for b in batches for i in b["index"]], torch.cat([b["inputs"] for b in batches])

    index, plain = read(0)
    assert index == data.indices["train"].tolist() and len(index) == data.cache_size("train")
    assert torch.equal(plain, read(0)[1]) and torch.equal(read(1)[1], read(1)[1])
    assert not torch.equal(read(1)[1], read(2)[1]) and not torch.equal(read(1)[1], plain)
    assert read(1, 1, 3)[0] == index[1::3] and torch.equal(read(1, 1, 3)[1], read(1)[1][1::3])


# -------------------------------------------------------------------- few labels


def test_few_labels_are_stratified_nested_and_in_proportion(shipped: SatelliteDataModule) -> None:
    chosen: dict[int, dict[str, Indices]] = {}
    for count in (10, 50, 200):
        data = module(labels_per_class=count)
        chosen[count] = data.indices
        assert set(data.records.counts(data.indices["train"]).values()) == {count}
        for name, kept in data.records.counts(data.indices["validation"]).items():
            all_train = shipped.records.counts(shipped.indices["train"])[name]
            all_validation = shipped.records.counts(shipped.indices["validation"])[name]
            assert abs(kept - count * all_validation / all_train) <= 1
        assert np.array_equal(data.indices["test"], shipped.indices["test"])
    for small, large in ((10, 50), (50, 200)):
        for split in ("train", "validation"):
            assert set(chosen[small][split]) < set(chosen[large][split]) < set(shipped.indices[split])
    assert np.array_equal(module(labels_per_class=10).indices["train"], chosen[10]["train"])
    assert not np.array_equal(module(labels_per_class=10, seed=1).indices["train"], chosen[10]["train"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 15}, "tile_size must be even and from 2 to 16 pixels, got 15"),
        ({"tile_size": 18}, "tile_size must be even and from 2 to 16 pixels, got 18"),
        ({"fold": 5}, "fold must be in 0…4, got 5"),
        ({"labels_per_class": 400}, "labels_per_class is 400, but training has only 322 images of 'urban'"),
        ({"labels_per_class": 0}, "labels_per_class must be at least 1, got 0"),
        ({"label_fraction": 1.5}, r"label_fraction must be in \(0, 1\], got 1.5"),
        ({"label_fraction": 0.1, "labels_per_class": 5}, "give label_fraction or labels_per_class, not both"),
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({"normalisation": "none"}, "normalisation must be 'backbone' or 'data', got 'none'"),
        ({"on_bad_image": "ignore"}, "on_bad_image must be 'error' or 'skip', got 'ignore'"),
        ({"normalisation": "backbone"}, "mean and std are not known without a backbone"),
        ({"mean": [0.5], "std": [0.5]}, "the images have 3 channels, but the backbone takes 1"),
        ({"std": [0.5, 0.0, 0.5]}, r"std must be above 0 in every band, got \[0.5, 0.0, 0.5\]"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(**options)
