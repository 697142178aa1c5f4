"""Images without labels: which are read, what their views are, and what bad input says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from datamodules import (
    Augmentation,
    OverheadAugmentation,
    UnlabelledImagesDataModule,
    ViewAugmentation,
)
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.notice import Notice

READY: dict[str, Any] = {"image_size": 12, "mean": [0.5] * 3, "std": [0.25] * 3, "num_workers": 0, "batch_size": 4}


def picture(path: Path, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def folder(root: Path, count: int = 6) -> Path:
    for number in range(count):
        picture(root / ("deep/er" if number % 2 else ".") / f"{number}.png", number, (18 + number, 24))
    return root


def unlabelled(root: Path | None, **options: Any) -> UnlabelledImagesDataModule:
    data = UnlabelledImagesDataModule(root, **(READY | {"seed": 3} | options))
    data.setup("fit")
    return data


# -------------------------------------------------------------------- which images are read


def test_every_image_below_a_folder_but_those_held_out(tmp_path: Path) -> None:
    folder(tmp_path)
    for place in ("TEST/a.png", "deep/val/b.png", "train/kept.png", "deep/testing/c/d.png", "tests/kept.png"):
        picture(tmp_path / place, 100 + sum(map(ord, place)))
    data = unlabelled(tmp_path)
    kept = set(data.sample_ids(data.indices))
    assert {"train/kept.png", "tests/kept.png", "deep/er/1.png"} <= kept and len(kept) == 8
    assert data.dropped == {"images in folders of validation or test": 3}
    assert any("3 images of" in note and "folders called TEST, testing, val" in note for note in data.notes)
    seen = [index for batch in data.train_dataloader() for index in batch["index"].tolist()]
    assert len(seen) == 8 and set(seen) == set(data.indices.tolist())


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_rows_of_validation_and_test_are_never_read(name: str, tmp_path: Path) -> None:
    splits = ["train", "test", "Training", "val", "train", "train"]
    rows = [{"file": picture(tmp_path / f"{k}.png", k).name, "part": split} for k, split in enumerate(splits)]
    rows += [rows[0], {"file": "4.png", "part": "test"}]  # listed again; and one that the test has, too
    (tmp_path / "1.png").write_bytes(b"never read")
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / name, index=False) if name.endswith("csv") else table.to_parquet(tmp_path / name)
    data = unlabelled(None, manifest=tmp_path / name, path_column="file", split_column="part")
    assert data.sample_ids(data.indices) == ["0.png", "2.png", "5.png"]
    assert data.dropped == {"rows of validation or test": 3}
    assert any("1 rows of" in note and "list an image again" in note for note in data.notes)


def test_copies_are_left_out_and_said(tmp_path: Path) -> None:
    folder(tmp_path)
    picture(tmp_path / "z.png", 2, (20, 24))
    data = unlabelled(tmp_path)
    assert data.dropped == {"copies of other images": 1} and "z.png" not in data.sample_ids(data.indices)
    assert any("1 images equal others and are left out: z.png" in note for note in data.notes)
    assert len(unlabelled(tmp_path, check_images=False).indices) == 7


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1 of 7 images cannot be read: .*broken\.png.*set on_bad_image: skip"):
        unlabelled(tmp_path)
    with pytest.warns(Notice, match=r"skipped 1 of 7 images that cannot be read: .*broken\.png"):
        data = unlabelled(tmp_path, on_bad_image="skip")
    assert len(data.indices) == 6 and data.dropped == {"images that cannot be read": 1}


def test_small_images_are_said(tmp_path: Path) -> None:
    data = unlabelled(folder(tmp_path), image_size=20)
    assert "2 images are smaller than the 20 pixels of a view: crops are enlarged" in data.notes


def test_statistics_of_the_images(tmp_path: Path) -> None:
    data = unlabelled(folder(tmp_path), mean=None, std=None, normalisation="data")
    stacked = np.concatenate([data.pixels(k).reshape(-1, 3) / 255 for k in data.indices.tolist()])
    assert data.input_spec is not None
    assert data.input_spec.mean == pytest.approx(stacked.mean(0)) and data.input_spec.std == pytest.approx(
        stacked.std(0)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": None}, "give root, a folder of images, or manifest"),
        ({"views": 3}, "views must be 1 or 2, got 3"),
        ({"local_views": -1}, "local_views must be at least 0, got -1"),
        ({"local_views": 2, "local_size": 13}, "local_size must be at most the 12 pixels of a view, got 13"),
        ({"local_views": 2, "local_size": 0}, "local_size must be at least 1 pixel, got 0"),
        ({"local_size": 8}, "local_size=8 has no effect without local_views"),
        ({"area": [0.5, 0.2]}, r"area must be a least and a largest share of the area in \(0, 1\], got \[0.5, 0.2\]"),
        ({"local_area": [0, 1]}, r"local_area must be .* got \[0, 1\]"),
        ({"on_bad_image": "ignore"}, "on_bad_image must be 'error' or 'skip', got 'ignore'"),
        ({"on_bad_image": "skip", "check_images": False}, "on_bad_image: skip .* set check_images: true"),
        ({"normalisation": "none"}, "normalisation must be 'backbone' or 'data', got 'none'"),
        ({"image_size": None}, "image_size is not known without a backbone"),
        ({"image_size": 0}, "image_size must be at least 1 pixel, got 0"),
        ({"mean": None}, "mean and std are not known without a backbone"),
        ({"std": [0.5, 0, 0.5]}, "std must be above 0 in every band"),
        ({"manifest": "none.csv"}, "there is no table none.csv"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder(tmp_path, 2)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        unlabelled(**({"root": tmp_path} | options))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no images in root"),
        (["a.png"], "has 1 different image to train on; pretraining tells images apart and needs at least 2"),
        (["test/a.png", "val/b.png"], "all 2 images of root .* lie in folders called test, val"),
    ],
)
def test_nothing_to_train_on(files: list[str], message: str, tmp_path: Path) -> None:
    for number, name in enumerate(files):
        picture(tmp_path / name, number)
    with pytest.raises(ValueError, match=message):
        unlabelled(tmp_path)


def test_tables_that_do_not_do(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 1)
    pd.DataFrame({"path": ["a.png", "b.png"], "split": ["test", "val"]}).to_csv(tmp_path / "held.csv", index=False)
    pd.DataFrame({"path": ["a.png", "gone.png"]}).to_csv(tmp_path / "gone.csv", index=False)
    with pytest.raises(ValueError, match="no rows to train on: column 'split' marks no image as train"):
        unlabelled(None, manifest=tmp_path / "held.csv")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 files in .*gone\.csv are not there: .*gone\.png"):
        unlabelled(None, manifest=tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="has no column 'part'"):
        unlabelled(None, manifest=tmp_path / "gone.csv", split_column="part")


def test_rows_whose_files_are_gone_are_skipped_and_counted(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.png", number)
    names = ["0.png", "gone.png", "1.png", str(tmp_path / "2.png"), "away/too.png"]
    pd.DataFrame({"path": names}).to_csv(tmp_path / "list.csv", index=False)
    data = unlabelled(None, manifest=tmp_path / "list.csv", on_bad_image="skip")
    assert data.sample_ids(data.indices) == ["0.png", "1.png", str(tmp_path / "2.png")]
    assert data.dropped == {"files that are not there": 2}
    assert any("2 of 5 files in" in note and "gone.png" in note and "too.png" in note for note in data.notes)
    pd.DataFrame({"path": ["gone.png", "away/too.png"]}).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(FileNotFoundError, match=r"2 of 2 files in .* are not there: .*\(set root to change that\)$"):
        unlabelled(None, manifest=tmp_path / "none.csv", on_bad_image="skip")


# -------------------------------------------------------------------- views


def shown(inputs: Tensor) -> Tensor:
    return inputs * 0.25 + 0.5


def test_a_view_of_the_whole_is_the_middle_of_the_image(tmp_path: Path) -> None:
    data = unlabelled(folder(tmp_path), area=[1, 1], augmentation=Augmentation())
    batch = data.samples.fetch(np.array([0, 3]), 5)
    assert batch["inputs"].shape == (2, 3, 12, 12) and "local" not in batch
    for index, given in zip((0, 3), batch["inputs"], strict=True):
        image = torch.from_numpy(data.pixels(index).copy()).permute(2, 0, 1)[None]
        height, width = image.shape[-2:]
        factor = 12 / min(height, width)
        whole = torch.nn.functional.interpolate(
            image, size=(round(height * factor), round(width * factor)), mode="bicubic", antialias=True
        )[0]
        top, left = (whole.shape[1] - 12) // 2, (whole.shape[2] - 12) // 2
        middle = whole[:, top : top + 12, left : left + 12].float() / 255
        torch.testing.assert_close(shown(given), middle, atol=1e-6, rtol=0)


class Crops(Augmentation):
    """Keeps what it is handed, so that a crop can be told."""


@pytest.mark.parametrize("floats", [False, True])
def test_a_crop_covers_the_share_that_it_should(floats: bool, tmp_path: Path) -> None:
    """The image is a ramp: the range of its values in a crop tells how much of the image is in it."""
    for number in range(2):
        ramp = np.add.outer(np.arange(64) * 2, np.arange(64) * 2 + number)[..., None].repeat(3, 2)
        Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / f"{number}.png")
    options = {"value_range": [0, 255]} if floats else {}
    data = unlabelled(tmp_path, local_views=40, area=[0.8, 1], local_area=[0.1, 0.2], local_size=6, **options)
    data.samples.views = (data.samples.views[0],) * 40
    for view in (*data.samples.views, *data.samples.local):
        object.__setattr__(view, "augmentation", Crops())
    batch = data.samples.fetch(np.arange(2), 0)
    assert batch["inputs"].shape == (2, 40, 3, 12, 12) and batch["local"].shape == (2, 40, 3, 6, 6)
    for crops, size, (low, high) in ((batch["inputs"], 12, (0.8, 1)), (batch["local"], 6, (0.1, 0.2))):
        values = shown(crops)[:, :, 0] * 255 / 2  # in steps of a pixel along each axis
        assert values.min() >= -0.01 and values.max() <= 127.6
        inside = slice(1, size - 1)
        down = (values[:, :, -2, inside] - values[:, :, 1, inside]).mean(-1) / (size - 3) * size
        across = (values[:, :, inside, -2] - values[:, :, inside, 1]).mean(-1) / (size - 3) * size
        area = down * across / 64**2
        assert low * 0.85 <= area.min() and area.max() <= high * 1.15 and area.std() > 0.01


def test_views_are_a_function_of_seed_epoch_index_and_number(tmp_path: Path) -> None:
    options: dict[str, Any] = {"views": 2, "local_views": 2}
    data = unlabelled(folder(tmp_path), **options)
    batch = data.samples.fetch(np.arange(6), 1)
    torch.rand(7)
    again = data.samples.fetch(np.arange(5, -1, -1), 1)
    for name in ("inputs", "local"):
        assert torch.equal(batch[name], again[name].flip(0))  # type: ignore[literal-required]
    assert torch.equal(data.samples.fetch(np.array([4]), 1)["inputs"][0], batch["inputs"][4])
    assert not torch.equal(batch["inputs"][:, 0], batch["inputs"][:, 1])
    assert not torch.equal(batch["local"][:, 0], batch["local"][:, 1])
    assert not torch.equal(batch["inputs"], data.samples.fetch(np.arange(6), 2)["inputs"])
    assert not torch.equal(
        batch["inputs"], unlabelled(tmp_path, seed=4, **options).samples.fetch(np.arange(6), 1)["inputs"]
    )
    assert batch["local"].shape == (6, 2, 3, 6, 6)


def test_reading_processes_change_nothing(tmp_path: Path) -> None:
    folder(tmp_path, 8)
    alone, two = ([b["inputs"] for b in unlabelled(tmp_path, num_workers=n).train_dataloader()] for n in (0, 2))
    assert len(alone) == 2 and all(torch.equal(one, other) for one, other in zip(alone, two, strict=True))


def test_each_view_has_its_own_augmentation(tmp_path: Path) -> None:
    folder(tmp_path)

    def constant(value: int) -> torch.nn.Module:
        return v2.Lambda(lambda image: torch.full_like(image, value))

    data = unlabelled(
        tmp_path,
        views=2,
        local_views=1,
        augmentation=constant(0),
        second_augmentation=constant(255),
        local_augmentation=constant(51),
    )
    batch = data.samples.fetch(np.arange(3), 0)
    assert shown(batch["inputs"][:, 0]).abs().max() < 1e-6 and (shown(batch["inputs"][:, 1]) - 1).abs().max() < 1e-6
    assert (shown(batch["local"]) - 0.2).abs().max() < 1e-6


def test_overhead_augmentation_draws_for_each_view(tmp_path: Path) -> None:
    data = unlabelled(folder(tmp_path), views=2, area=[1, 1], augmentation=OverheadAugmentation(shift=0))
    inputs = data.samples.fetch(np.arange(6), 0)["inputs"]
    assert (inputs[:, 0] != inputs[:, 1]).flatten(1).any(1).sum() >= 4


# -------------------------------------------------------------------- augmentation


def slow_solarised(image: Tensor, threshold: float, top: float) -> Tensor:
    flat = [top - value if value >= threshold else value for value in image.flatten().tolist()]
    return torch.tensor(flat).view(image.shape)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("floats", [False, True])
def test_photographs_keep_shape_and_kind(channels: int, floats: bool) -> None:
    image = torch.randint(0, 256, (channels, 40, 30), dtype=torch.uint8)
    image = image.float() / 255 if floats else image
    for seed in range(8):
        torch.manual_seed(seed)
        found = ViewAugmentation(jitter=1, grey=0.5, blur=0.5, solarise=0.5).one(image, 16)
        assert found.shape == (channels, 16, 16) and found.dtype == image.dtype
        assert not floats or (found.min() >= 0 and found.max() <= 1)


def test_solarise_and_grey_do_what_they_say() -> None:
    image = torch.randint(0, 256, (3, 9, 9), dtype=torch.uint8)
    off: dict[str, float] = {"horizontal_flip": 0, "jitter": 0, "grey": 0, "blur": 0}
    assert torch.equal(ViewAugmentation(**off).one(image, 9), image)
    assert torch.equal(ViewAugmentation(**off, solarise=1).one(image, 9).float(), slow_solarised(image, 128, 255))
    grey = ViewAugmentation(**(off | {"grey": 1})).one(image, 9)
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[1], grey[2])
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)
    assert (grey[0].float() - (image * weights).sum(0)).abs().max() <= 1
    blurred = ViewAugmentation(**(off | {"blur": 1})).one(image, 9).float()
    assert blurred.std() < image.float().std()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grey": 1.5}, r"grey is a probability in \[0, 1\], got 1.5"),
        ({"solarise": -1}, r"solarise is a probability in \[0, 1\], got -1"),
        ({"strength": 3}, r"strength must be in \[0, 2\], got 3"),
    ],
)
def test_augmentation_arguments(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewAugmentation(**options)


# -------------------------------------------------------------------- two processes


def test_ranks_share_the_images(tmp_path: Path) -> None:
    folder(tmp_path)
    seen = []
    for rank in range(2):
        data = UnlabelledImagesDataModule(tmp_path, **(READY | {"batch_size": 2, "seed": 1}))
        data.serve(Conditions(rank=rank, world_size=2))
        data.setup("fit")
        seen.append([index for batch in data.train_dataloader() for index in batch["index"].tolist()])
    assert len(seen[0]) == len(seen[1]) == 2 and not set(seen[0]) & set(seen[1])
