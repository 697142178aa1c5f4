"""Folders, tables and EuroSAT: what is read, how it is split, and what bad input says."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from datamodules import (
    EuroSATDataModule,
    ImageAugmentation,
    ImageDataModule,
    ImageFolderDataModule,
    ManifestDataModule,
    OverheadAugmentation,
)
from datamodules.images.class_folders import read_class_folders
from datamodules.images.image_checks import check_images
from datamodules.images.image_records import ImageRecords
from datamodules.images.loose_images import find_images
from datamodules.labelled.stratified import FewLabels, stratified_split
from lightning_tl.cli.errors import is_users_mistake, message_of
from lightning_tl.inputs.image_files import read_image

READY: dict[str, Any] = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "num_workers": 0, "batch_size": 4}


def picture(path: Path, value: int = 90, size: tuple[int, int] = (20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def tree(root: Path, counts: dict[str, int], extension: str = "png") -> Path:
    for place, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(root / name / f"{number:02d}.{extension}", 100 * place + number, (18 + number % 3, 24))
    return root


def ready(data: ImageDataModule) -> ImageDataModule:
    data.setup("fit")
    return data


def table(folder: Path, rows: list[dict[str, Any]], name: str = "list.csv") -> Path:
    path = folder / name
    frame = pd.DataFrame(rows)
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def listed_images(folder: Path, labels: list[Any]) -> list[dict[str, Any]]:
    return [
        {"path": picture(folder / f"im{number:02d}.jpg", number).name, "label": label}
        for number, label in enumerate(labels)
    ]


# -------------------------------------------------------------------- what is read


@pytest.mark.parametrize("split_names", [("train", "val", "test"), ("training", "validation", "testing")])
def test_folders_with_splits(tmp_path: Path, split_names: tuple[str, str, str]) -> None:
    for name, count in zip(split_names, (6, 3, 2), strict=True):
        tree(tmp_path / name, {"field": count, "forest": count + 1})
    (tmp_path / split_names[0] / "field" / "notes.txt").write_text("no image")
    (tmp_path / split_names[0] / "field" / ".hidden.png").write_text("no image")
    data = ready(ImageFolderDataModule(tmp_path, **READY))
    assert data.class_names == ("field", "forest") and data.num_classes == 2
    assert [len(data.indices[s]) for s in ("train", "validation", "test")] == [13, 7, 5]
    batch = next(iter(data.train_dataloader()))
    assert batch["inputs"].shape == (4, 3, 16, 16) and -1 <= batch["inputs"].min() < batch["inputs"].max() <= 1
    for index, target in zip(batch["index"].tolist(), batch["target"].tolist(), strict=True):
        name = data.sample_ids([index])[0]
        assert name.startswith(f"{split_names[0]}/{data.class_names[target]}/")
        assert np.array_equal(data.image(index), np.asarray(Image.open(tmp_path / name)))
    assert data.blocks([0, 1]) is None
    assert sum(len(b["index"]) for b in data.test_dataloader()) == 5


def test_one_tree_is_split_by_path_and_split_seed_only(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 20, "b": 10, "c": 3})
    first, other_seed = (ready(ImageFolderDataModule(tmp_path, seed=seed, **READY)) for seed in (0, 1))
    other_split = ready(ImageFolderDataModule(tmp_path, split_seed=1, **READY))
    assert np.array_equal(first.indices["test"], other_seed.indices["test"])
    assert not np.array_equal(first.indices["test"], other_split.indices["test"])
    for split in ("train", "validation", "test"):
        assert min(first.records.counts(first.indices[split]).values()) > 0
    before = dict(zip(first.records.ids, first.records.splits, strict=True))
    picture(tmp_path / "a" / "00a.png")  # one more image moves hardly any other
    after = ready(ImageFolderDataModule(tmp_path, **READY)).records
    moved = [name for name, split in zip(after.ids, after.splits, strict=True) if before.get(name, split) != split]
    assert len(moved) <= 2


def test_validation_is_taken_from_training_where_there_is_none(tmp_path: Path) -> None:
    tree(tmp_path / "train", {"a": 10, "b": 10})
    tree(tmp_path / "test", {"a": 2, "b": 2})
    data = ready(ImageFolderDataModule(tmp_path, validation_fraction=0.2, **READY))
    assert [len(data.indices[s]) for s in ("train", "validation", "test")] == [16, 4, 4]
    assert all(name.startswith("test/") for name in data.sample_ids(data.indices["test"].tolist()))


def test_without_a_test_split_only_testing_is_refused(tmp_path: Path) -> None:
    data = ready(ImageFolderDataModule(tree(tmp_path, {"a": 5, "b": 5}), test_fraction=0, **READY))
    assert len(data.train_dataloader()) == 2
    with pytest.raises(ValueError, match="there are no samples in the test split"):
        data.test_dataloader()


def test_prediction_on_a_folder_without_labels(tmp_path: Path) -> None:
    tree(tmp_path / "known", {"a": 5, "b": 5})
    tree(tmp_path / "new", {".": 3, "deep/er": 2})
    data = ready(ImageFolderDataModule(tmp_path / "known", predict_root=tmp_path / "new", **READY))
    batches = list(data.predict_dataloader())
    index = [int(i) for batch in batches for i in batch["index"]]
    assert data.sample_ids(index) == ["00.png", "01.png", "02.png", "deep/er/00.png", "deep/er/01.png"]
    assert {int(t) for batch in batches for t in batch["target"]} == {-1}
    assert not set(index) & {i for s in ("train", "validation", "test") for i in data.indices[s].tolist()}


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_tables(tmp_path: Path, name: str) -> None:
    rows = listed_images(tmp_path / "images", ["sea", "land", "sea", "land", "sea", "land"])
    for row, split in zip(rows, ["train", "train", "dev", "valid", "test", "test"], strict=True):
        row["where"], row["place"] = split, "x" if split == "train" else "y"
    data = ready(
        ManifestDataModule(
            table(tmp_path, rows, name), tmp_path / "images", split_column="where", block_column="place", **READY
        )
    )
    assert data.class_names == ("land", "sea")
    assert [data.indices[s].tolist() for s in ("train", "validation", "test")] == [[0, 1], [2, 3], [4, 5]]
    assert data.sample_ids([3]) == ["im03.jpg"] and data.records.labels.tolist() == [1, 0, 1, 0, 1, 0]
    blocks = data.blocks([0, 1, 2, 5])
    assert blocks is not None and blocks.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "class_names", "expected", "numbers"),
    [
        ([0, 1, 2] * 3, None, ("0", "1", "2"), [0, 1, 2] * 3),
        ([4, 7] * 4, None, ("4", "7"), [0, 1] * 4),
        ([1, 0, 2] * 3, ["x", "y", "z"], ("x", "y", "z"), [1, 0, 2] * 3),
        (["10", "9"] * 4, ["9", "10"], ("9", "10"), [1, 0] * 4),
        (["b", "a"] * 4, ["b", "a"], ("b", "a"), [0, 1] * 4),
    ],
)
def test_labels_of_tables(
    tmp_path: Path, labels: list[Any], class_names: list[str] | None, expected: tuple[str, ...], numbers: list[int]
) -> None:
    path = table(tmp_path, listed_images(tmp_path, labels))
    data = ready(ManifestDataModule(path, class_names=class_names, **READY))
    assert data.class_names == expected and data.records.labels.tolist() == numbers


def test_eurosat(tmp_path: Path) -> None:
    tree(tmp_path / "eurosat" / "2750", {"AnnualCrop": 5, "Forest": 5}, "jpg")
    data = EuroSATDataModule(tmp_path, download=False, **READY)
    data.prepare_data()
    assert [len(ready(data).indices[s]) for s in ("train", "validation", "test")] == [6, 2, 2]
    assert data.class_names == ("AnnualCrop", "Forest")
    with pytest.raises(FileNotFoundError, match=r"EuroSAT is not in .*set download to true"):
        EuroSATDataModule(tmp_path / "nowhere", download=False, **READY).setup("fit")


class Bands(ImageDataModule):
    """A user's own data: five bands, made up."""

    def read_records(self) -> ImageRecords:
        splits = np.array(["train", "train", "validation", "validation", "test", "test"])
        ids = [f"s{i}" for i in range(6)]
        return ImageRecords(ids=ids, labels=np.arange(6) % 2, splits=splits, class_names=("odd", "even"))

    def read_image(self, index: int) -> np.ndarray:
        return np.random.default_rng(index).integers(0, 255, (12, 12, 5), dtype=np.uint8)


def test_own_images_by_subclassing() -> None:
    data = ready(Bands(image_size=8, mean=[0.5] * 5, std=[0.2] * 5, num_workers=0, batch_size=2))
    assert next(iter(data.train_dataloader()))["inputs"].shape == (2, 5, 8, 8)
    assert data.image(0).shape == (12, 12, 3)


def test_many_bands_by_position_are_told(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            tifffile.imwrite(tmp_path / split / name / "x.tif", np.zeros((8, 8, 6), np.uint8), planarconfig="contig")
    data = ready(ImageFolderDataModule(tmp_path, image_size=8, mean=[0.5] * 6, std=[0.2] * 6, num_workers=0))
    assert any("the 6 bands are taken by position; EarthDataModule takes them by name" in note for note in data.notes)


# -------------------------------------------------------------------- pixels

RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def saved(folder: Path, array: np.ndarray, name: str, mode: str | None = None) -> Path:
    Image.fromarray(array, mode).save(folder / name) if mode is None else Image.fromarray(array).convert(mode).save(
        folder / name
    )
    return folder / name


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_mode_becomes_eight_bit_channels(tmp_path: Path, channels: int) -> None:
    eight = np.round(RAMP * 255).astype(np.uint8)
    sixteen = np.round(RAMP * 65535).astype(np.uint16)
    files = {
        "grey": saved(tmp_path, eight, "grey.png"),
        "grey 16": saved(tmp_path, sixteen, "grey16.png"),
        "palette": saved(tmp_path, eight, "palette.png", "P"),
        "rgb": saved(tmp_path, np.repeat(eight[..., None], 3, 2), "rgb.png"),
    }
    for name, values in (("tif", sixteen), ("big", sixteen.astype(">u2")), ("float", RAMP.astype(np.float32))):
        files[name] = tmp_path / f"{name}.tif"
        tifffile.imwrite(files[name], values)
    for name, path in files.items():
        pixels = read_image(path, channels)
        assert pixels.shape == (8, 8, channels) and pixels.dtype == np.uint8, name
        assert np.abs(pixels[:, :, 0].astype(int) - eight).max() <= 1, name
        if channels == 4:
            assert (pixels[:, :, 3] == 255).all()


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    image = np.full((4, 4, 4), 200, np.uint8)
    image[:, :2, 3], image[:, 2:, 3] = 0, 255
    path = saved(tmp_path, image, "alpha.png")
    assert (read_image(path)[:, :2] == 0).all() and (read_image(path)[:, 2:] == 200).all()
    assert (read_image(path, 4) == image).all()
    with pytest.raises(ValueError, match="read with 1 to 4 channels, but the backbone wants 13"):
        read_image(path, 13)


def test_values_out_of_range_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "far.tif", (RAMP * 3000).astype(np.float32))
    with pytest.raises(ValueError, match=r"far.tif has values from 0 to 3000; expected 0…1: scale the image first"):
        read_image(tmp_path / "far.tif")


def test_the_camera_orientation_is_obeyed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (20, 10, 3)


# -------------------------------------------------------------------- augmentation of files


@pytest.mark.parametrize("augmentation", [OverheadAugmentation(), ImageAugmentation(), v2.RandomVerticalFlip()])
def test_augmented_files_do_not_depend_on_batches_and_workers(tmp_path: Path, augmentation: Any) -> None:
    tree(tmp_path, {"a": 9, "b": 9})

    def images(epoch: int, **options: Any) -> dict[int, Tensor]:
        data = ImageFolderDataModule(tmp_path, augmentation=augmentation, drop_last=False, **{**READY, **options})
        loader = ready(data).train_dataloader()
        loader.set_epoch(epoch)
        return {int(i): x for batch in loader for i, x in zip(batch["index"], batch["inputs"], strict=True)}

    reference = images(1)
    for other in (images(1, batch_size=5), images(1, num_workers=2)):
        assert all(torch.equal(other[i], reference[i]) for i in reference)
    assert any(not torch.equal(images(2)[i], reference[i]) for i in reference)


# -------------------------------------------------------------------- small samples and splits


@given(
    counts=st.lists(st.tuples(st.integers(5, 40), st.integers(1, 20)), min_size=2, max_size=4),
    few=st.integers(1, 5), more=st.integers(1, 5), seed=st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_few_labels_are_nested_stratified_and_in_proportion(
    counts: list[tuple[int, int]], few: int, more: int, seed: int
) -> None:
    labels = np.concatenate([np.full(sum(pair), k) for k, pair in enumerate(counts)])
    is_train = np.concatenate([np.arange(sum(pair)) < pair[0] for pair in counts])
    train, validation = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    names = [str(k) for k in range(len(counts))]

    def choose(**how: Any) -> tuple[np.ndarray, np.ndarray]:
        return FewLabels(**how).choose(train, validation, labels, names, seed)

    few, more = min(few, more), max(few, more)
    small, large = choose(per_class=few), choose(per_class=more)
    assert np.bincount(labels[small[0]]).tolist() == [few] * len(counts)
    for part, bigger, everything in zip(small, large, (train, validation), strict=True):
        assert set(part) <= set(bigger) <= set(everything)
    for k, (in_train, in_validation) in enumerate(counts):
        kept = (labels[small[1]] == k).sum()
        assert kept == max(1, round(few / in_train * in_validation))
        for part, size in zip(choose(fraction=0.5), (in_train, in_validation), strict=True):
            assert (labels[part] == k).sum() == max(1, round(0.5 * size))
    assert all(np.array_equal(a, b) for a, b in zip(choose(per_class=few), small, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(choose(fraction=1.0), (train, validation), strict=True))


@given(sizes=st.lists(st.integers(3, 40), min_size=2, max_size=4), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_every_class_is_in_every_split_and_order_does_not_matter(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    ids = [f"id{i}" for i in range(len(labels))]
    names = [str(k) for k in range(len(sizes))]
    splits = stratified_split(ids, labels, names, 0.2, 0.2, seed)
    for k, size in enumerate(sizes):
        counts = {s: int((splits[labels == k] == s).sum()) for s in ("train", "validation", "test")}
        assert min(counts.values()) >= 1 and sum(counts.values()) == size
    shuffled = np.random.default_rng(seed).permutation(len(ids))
    again = stratified_split([ids[i] for i in shuffled], labels[shuffled], names, 0.2, 0.2, seed)
    assert np.array_equal(again, splits[shuffled])


@given(sizes=st.lists(st.integers(4, 60), min_size=2, max_size=4), more=st.integers(1, 40), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_samples_that_come_later_move_no_others(sizes: list[int], more: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names, ids = [str(k) for k in range(len(sizes))], [f"id{i}" for i in range(len(labels))]
    notes: list[str] = []
    before = stratified_split(ids, labels, names, 0.2, 0.1, seed, notes=notes)
    later = np.random.default_rng(seed).integers(0, len(sizes), more)
    new = [f"new{k}" for k in range(more)]
    again: list[str] = []
    after = stratified_split([*new, *ids], np.r_[later, labels], names, 0.2, 0.1, seed, notes=again)[more:]
    placed = sum(int(note.split()[0]) for note in notes + again)  # in splits that would have had none of their class
    assert int((before != after).sum()) <= placed


def test_shares_are_met_in_the_mean_and_equal_keys_stay_together() -> None:
    keys = [str(k // 2) for k in range(20_000)]
    labels = np.arange(20_000) % 2
    splits = stratified_split([f"i{k}" for k in range(20_000)], labels, ["a", "b"], 0.15, 0.1, 0, keys=keys)
    assert np.array_equal(splits[::2], splits[1::2])
    for split, share in (("train", 0.75), ("validation", 0.15), ("test", 0.1)):
        assert np.mean(splits == split) == pytest.approx(share, abs=0.012)


def test_statistics_of_files_come_from_training_alone(tmp_path: Path) -> None:
    tree(tmp_path / "train", {"a": 4, "b": 4})
    for name in ("a", "b"):
        path = tmp_path / "val" / name / "white.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (20, 20), "white").save(path)
    spec = ready(ImageFolderDataModule(tmp_path, image_size=16, normalisation="data", num_workers=0)).input_spec
    pixels = (
        np.concatenate([np.asarray(Image.open(p)).reshape(-1, 3) for p in (tmp_path / "train").rglob("*.png")]) / 255
    )
    assert spec is not None
    assert spec.mean == pytest.approx(pixels.mean(0)) and spec.std == pytest.approx(pixels.std(0))


# -------------------------------------------------------------------- bad input


def truncated(path: Path) -> Path:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, "jpeg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    return path


def test_broken_images_are_named_or_skipped_and_counted(tmp_path: Path) -> None:
    tree(tmp_path, {"a": 8, "b": 8})
    truncated(tmp_path / "a" / "half.jpg")
    (tmp_path / "b" / "text.png").write_text("not an image")
    (tmp_path / "b" / "empty.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="3 of 19 images cannot be read: ") as raised:
        ready(ImageFolderDataModule(tmp_path, **READY))
    message = str(raised.value)
    assert all(name in message for name in ("half.jpg", "text.png", "empty.jpg", "truncated", "on_bad_image: skip"))
    with pytest.warns(UserWarning, match="skipped 3 of 19 images that cannot be read: .*half.jpg"):
        data = ready(ImageFolderDataModule(tmp_path, on_bad_image="skip", **READY))
    assert sum(len(data.indices[s]) for s in ("train", "validation", "test")) == 16
    assert data.describe()["dropped"] == {"images that cannot be read": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup("test")  # said once
        assert len(ImageFolderDataModule(tmp_path, check_images=False, **READY).records.ids) == 19


def test_progress_is_shown_where_there_are_many(capsys: pytest.CaptureFixture[str]) -> None:
    def read(index: int) -> np.ndarray:
        if index == 7:
            raise OSError("broken")
        return np.zeros((1, 1, 3), np.uint8)

    assert check_images(read, len, range(2500)).broken == {7: "broken"}
    assert "Checking images" in capsys.readouterr().err
    assert check_images(read, len, range(100)).broken == {7: "broken"}
    assert capsys.readouterr().err == ""


def folder(counts: dict[str, int], **options: Any) -> Callable[[Path], ImageDataModule]:
    return lambda root: ImageFolderDataModule(tree(root, counts), **READY, **options)


def listing(labels: list[Any], **options: Any) -> Callable[[Path], ImageDataModule]:
    return lambda root: ManifestDataModule(table(root, listed_images(root, labels)), **READY, **options)


def changed(change: Callable[[list[dict[str, Any]]], object], **options: Any) -> Callable[[Path], ImageDataModule]:
    def make(root: Path) -> ImageDataModule:
        rows = listed_images(root, ["a", "b"] * 4)
        change(rows)
        return ManifestDataModule(table(root, rows), **READY, **options)

    return make


def loose(root: Path) -> ImageDataModule:
    picture(root / "one.png")
    return ImageFolderDataModule(root, **READY)


def missing_from_validation(root: Path) -> ImageDataModule:
    tree(root / "train", {"a": 3, "b": 4, "c": 2})
    tree(root / "val", {"a": 2, "b": 1})
    return ImageFolderDataModule(root, **READY)


def missing_from_training(root: Path) -> ImageDataModule:
    tree(root / "train", {"a": 3, "b": 4, "c": 0})
    tree(root / "val", {"a": 2, "b": 1, "c": 2})
    return ImageFolderDataModule(root, **READY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: ImageFolderDataModule(root / "gone", **READY), "root: there is no folder .*gone"),
        (lambda root: ImageFolderDataModule(picture(root / "x.png"), **READY), "x.png is not a folder"),
        (lambda root: ImageFolderDataModule(root, **READY), "no images in the class folders of .*expected .*<class>"),
        (loose, "the 1 images in it are in no class folder"),
        (folder({"a": 0, "b": 0}), "no images in the class folders"),
        (folder({"only": 9}), r"needs at least two classes, found one: 'only' \(9 images\)"),
        (folder({"a": 9, "b": 1}), "label 'b' occurs once .b/00.png.: a class needs at least 3 different"),
        (folder({"a": 9, "b": 2}), "label 'b' occurs 2 times"),
        (folder({"a": 9, "b": 0}), "missing from training: 'b' has 0 train, 0 validation, 0 test images"),
        (missing_from_validation, "1 of 3 classes are missing from validation: 'c' has 2 train, 0 validation, 0 test"),
        (missing_from_training, "1 of 3 classes are missing from training: 'c' has 0 train, 2 validation, 0 test"),
        (folder({"a": 9, "b": 9}, class_names=["a", "x"]), "class_names lists x, but .* has a, b"),
        (folder({"a": 9, "b": 9}, validation_fraction=0), r"validation_fraction must be in \(0, 1\), got 0"),
        (folder({"a": 9, "b": 9}, test_fraction=0.9), "leave something for training, got 0.15 and 0.9"),
        (folder({"a": 9, "b": 9}, labels_per_class=8), "labels_per_class is 8, but training has only 6 images of 'a'"),
        (folder({"a": 9, "b": 9}, predict_root="/nowhere"), "predict_root: there is no folder /nowhere"),
        (
            lambda root: ImageFolderDataModule(tree(root, {"a": 4, "b": 4})),
            "image_size is not known without a backbone",
        ),
        (lambda root: ManifestDataModule(root / "gone.csv", **READY), "there is no table .*gone.csv"),
        (
            lambda root: ManifestDataModule(picture(root / "x.png"), **READY),
            "must be .csv, .tsv, .jsonl .each of them",
        ),
        (listing(["a", "b", "a", "b", "z"]), "1 labels occur only once in .*: z;"),
        (listing(["a", "b"] * 4, path_column="Paths"), "no column 'Paths'; did you mean path. It has path, label"),
        (listing(["a", "b"] * 4, label_column="labels"), "no column 'labels'; did you mean label.*Set label_column"),
        (listing(["a", "b"] * 4, split_column="fold"), "no column 'fold'.*Set split_column"),
        (listing(["a", "b"] * 4, class_names=["a", "c"]), "labels that are not in class_names: b"),
        (
            listing([0, 1, 2] * 3, class_names=["x", "y"]),
            r"labels must be in 0…1 \(2 class_names\), but 3 rows .*2 for",
        ),
        (listing([-1, 0, 1] * 3, class_names=["x", "y"]), r"must be in 0…1 .*: -1 for im00.jpg"),
        (changed(lambda rows: rows[2].update(path="gone.jpg")), "1 of 8 files in .* are not there: .*gone.jpg"),
        (changed(lambda rows: rows[2].update(path="im00.jpg")), "1 images are listed more than once .*im00.jpg"),
        (changed(lambda rows: rows[2].update(label=None)), "1 rows of .* have no label: row 3"),
        (changed(lambda rows: [row.update(split="trian") for row in rows]), "must hold train, validation or test, got"),
        (
            changed(lambda rows: [row.update(split="val" if k == 0 else "train") for k, row in enumerate(rows)]),
            "1 of 2 classes are missing from validat",
        ),
    ],
)
def test_bad_input_is_one_clear_message_before_training(
    tmp_path: Path, make: Callable[[Path], ImageDataModule], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ready(make(tmp_path))


# -------------------------------------------------------------------- links


@pytest.mark.parametrize("name", ["train", "lake"])
def test_links_that_lead_upwards_give_no_class_the_images_of_another(name: str, tmp_path: Path) -> None:
    for number, folder in enumerate((name, "town")):
        (tmp_path / folder).mkdir()
        for k in range(6):
            Image.fromarray(np.full((8, 8, 3), 100 * number + k, np.uint8)).save(tmp_path / folder / f"{k}.png")
    (tmp_path / name / "up").symlink_to("..")
    (tmp_path / name / "top").symlink_to(tmp_path.anchor)
    (tmp_path / "self").symlink_to(".")
    found = read_class_folders(tmp_path)
    assert {cls: len(paths) for tree in found.trees.values() for cls, paths in tree.items()} == {name: 6, "town": 6}
    assert sorted(path.name for path in found.repeated) == ["self", "top", "up"]
    assert len(find_images(tmp_path).paths) == 12


# -------------------------------------------------------------------- values and files met late


class Floats(Bands):
    def __init__(self, scale: float, kind: str, **options: Any) -> None:
        super().__init__(image_size=8, mean=[0.5] * 5, std=[0.2] * 5, num_workers=0, batch_size=2, **options)
        self.scale, self.kind = scale, kind

    def read_image(self, index: int) -> np.ndarray:
        return (super().read_image(index) * np.float64(self.scale)).astype(self.kind)


def test_floats_of_a_users_own_reading_are_taken_as_they_are() -> None:
    data = ready(Floats(1 / 510, "float32"))
    assert next(iter(data.test_dataloader()))["inputs"].shape == (2, 5, 8, 8)
    assert data.notes == []


@pytest.mark.parametrize(
    ("scale", "kind", "told"),
    [
        (
            1 / 25500,
            "float32",
            r"float images use values from 0 to 0\.00996\d* only, 1\.00% of 0…1, .*value_range=\[0,0\.",
        ),
        (10, "uint16", r"16-bit images use values from 0 to 2540 only, 3\.88% of 0…65535"),
        (0, "uint16", "all values of the 16-bit images are 0: they show nothing"),
    ],
)
def test_little_range_is_told_by_the_kind_of_numbers(scale: float, kind: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ready(Floats(scale, kind))


def test_floats_and_integers_are_judged_apart(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 4, "b": 4})
    tifffile.imwrite(
        root / "a" / "f.tif", np.linspace(0, 1, 300, dtype=np.float32).reshape(10, 10, 3), photometric="rgb"
    )
    tifffile.imwrite(root / "a" / "i.tif", np.full((10, 10, 3), 20_000, np.uint16), photometric="rgb")
    data = ready(ImageFolderDataModule(root, **READY))
    assert [note for note in data.notes if "values" in note] == [
        "all values of the 16-bit images are 20000: they show nothing"
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_met_late_is_named(workers: int, tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 4, "b": 4})
    whole = (root / "a" / "00.png").read_bytes()
    for file in root.rglob("*.png"):
        file.write_bytes(whole[: len(whole) // 2])
    data = ready(ImageFolderDataModule(root, check_images=False, **{**READY, "num_workers": workers}))
    with pytest.raises(OSError, match="cannot be read") as caught:
        next(iter(data.train_dataloader()))
    message = message_of(caught.value)
    assert re.fullmatch(rf"{re.escape(str(root))}/[ab]/\d\d\.png cannot be read: .*", message)
    assert is_users_mistake(caught.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    root = tree(tmp_path, {"a": 4, "b": 4})
    os.mkfifo(root / "a" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png \(no file, but a pipe, a device or a folder\)"):
        ready(ImageFolderDataModule(root, **READY))


def test_class_folders_that_differ_by_case_or_spaces_are_told(tmp_path: Path) -> None:
    for name in ("Sea", "sea ", "land"):
        (tmp_path / name).mkdir()
        for k in range(4):
            pixels = np.random.default_rng(k).integers(0, 255, (8, 8, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{k}.png")
    with pytest.warns(UserWarning, match=r"'Sea' \(4\) and 'sea ' \(4\), which differ by case or spaces alone"):
        _ = ImageFolderDataModule(tmp_path, **READY).records
