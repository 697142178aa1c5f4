"""Images with masks: what is read, how both are moved alike, and what bad input says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_masks import CLASSES, mask_folder, pair
from torch import Tensor, nn
from torchvision.transforms import v2

from datamodules import Augmentation, ImageAugmentation, OverheadAugmentation, PerImage, SegmentationDataModule
from datamodules.images.resized import fitted, nearest
from datamodules.masks.given_legend import given_legend
from datamodules.masks.mask_files import read_mask
from lightning_tl.contracts.batches import IGNORED
from lightning_tl.contracts.mask_legend import MaskLegend
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.tasks import PixelLabels

READY: dict[str, Any] = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "num_workers": 0, "batch_size": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mask_folder(tmp_path_factory.mktemp("masks"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    shutil.copytree(made, tmp_path / "data")
    return tmp_path / "data"


def ready(stage: str = "fit", **options: Any) -> SegmentationDataModule:
    data = SegmentationDataModule(**{**READY, **options})
    data.setup(stage)
    return data


def save(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


# -------------------------------------------------------------------- what is read


def test_a_table_with_splits_and_blocks(made: Path) -> None:
    data = ready(manifest=made / "chips.csv")
    assert data.class_names == CLASSES and isinstance(data.task, PixelLabels)
    assert [len(data.indices[split]) for split in ("train", "validation", "test")] == [12, 6, 6]
    batch = next(iter(data.val_dataloader()))
    assert batch["inputs"].shape == (6, 3, 16, 16) and batch["target"].shape == (6, 16, 16)
    for index, target in zip(batch["index"].tolist(), batch["target"], strict=True):
        number = int(Path(data.records.ids[index]).stem)
        wanted = pair(number)[1].astype(np.int64)
        assert np.array_equal(target.numpy(), np.where(wanted == 255, IGNORED, wanted))
    assert data.blocks([0, 1, 2]) is not None and data.blocks([0, 1, 2]).tolist() == [0, 0, 1]  # type: ignore[union-attr]
    counts, pixels = data.training_counts()
    assert pixels == sum(counts.values()) == 12 * 15 * 16
    told = data.describe()
    assert told["columns"]["legend"]["names"] == list(CLASSES)
    assert told["splits"]["train"]["classes"].keys() == set(CLASSES)


def test_folders_without_splits_are_parted_by_what_images_show(made: Path) -> None:
    data = ready(root=made)
    sizes = {split: len(data.indices[split]) for split in ("train", "validation", "test")}
    assert sum(sizes.values()) == 24 and min(sizes.values()) > 0
    assert data.records.ids[0] == "images/00.png"


def test_blocks_lie_on_one_side(folder: Path) -> None:
    pd.read_csv(folder / "chips.csv").drop(columns="split").to_csv(folder / "free.csv", index=False)
    data = ready(manifest=folder / "free.csv")
    by_block = pd.DataFrame({"block": data.records.blocks, "split": data.records.splits}).groupby("block")["split"]
    assert (by_block.nunique() == 1).all()
    assert any("images of one block lie on one side" in note for note in data.notes)


@pytest.mark.parametrize("inside", [True, False], ids=["train/images", "images/train"])
def test_folders_of_splits(inside: bool, made: Path, tmp_path: Path) -> None:
    for number, split in ((0, "train"), (1, "train"), (2, "val"), (3, "Test")):
        for kind in ("images", "masks"):
            place = tmp_path / split / kind if inside else tmp_path / kind / split
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(made / kind / f"{number:02d}.png", place)
    data = ready(root=tmp_path, class_names=list(CLASSES))
    assert [len(data.indices[split]) for split in ("train", "validation", "test")] == [2, 1, 1]


def test_a_table_without_validation_takes_it_from_training(folder: Path) -> None:
    table = pd.read_csv(folder / "chips.csv")
    table.loc[table["split"] == "validation", "split"] = "train"
    table.to_csv(folder / "two.csv", index=False)
    data = ready(manifest=folder / "two.csv")
    assert len(data.indices["test"]) == 6 and len(data.indices["validation"]) > 0
    assert any("validation: it is taken from training" in note for note in data.notes)


def test_images_without_a_mask_are_those_to_predict(folder: Path) -> None:
    (folder / "masks" / "05.png").unlink()
    data = ready(root=folder)
    assert data.sample_ids(data.indices["predict"].tolist()) == ["images/05.png"]
    assert "1 images have no mask and are those to predict" in data.notes
    assert (data.mask(int(data.indices["predict"][0])) == IGNORED).all()


def test_masks_that_are_all_ignored_are_left_out(folder: Path) -> None:
    save(folder / "masks" / "00.png", np.full((16, 16), 255, np.uint8))
    data = ready(manifest=folder / "chips.csv")
    assert len(data.indices["train"]) == 11 and data.dropped == {"images whose pixels are all ignored": 1}
    assert any("1 images whose pixels are all ignored are left out: images/00.png" in note for note in data.notes)


def test_a_class_that_a_split_has_not_is_told(made: Path) -> None:
    data = ready(manifest=made / "chips.csv", class_names=[*CLASSES, "snow"])
    assert [note for note in data.notes if "no pixel of snow" in note] == [
        f"{split} has no pixel of snow, so nothing of it is known there" for split in ("train", "validation", "test")
    ]


def test_numbers_that_occur_are_classes_where_nothing_names_them(tmp_path: Path) -> None:
    data = ready(manifest=mask_folder(tmp_path, names=None) / "chips.csv")
    assert data.class_names == ("0", "1", "2")


def test_an_image_that_is_no_square_loses_nothing(tmp_path: Path) -> None:
    data = ready(manifest=mask_folder(tmp_path, size=(16, 24)) / "chips.csv", image_size=24)
    target = next(iter(data.val_dataloader()))["target"]
    assert target.shape == (6, 24, 24)
    wanted = pair(4, (16, 24))[1].astype(np.int64)
    assert np.array_equal(target[0, :16].numpy(), np.where(wanted == 255, IGNORED, wanted))
    assert (target[:, 16:] == IGNORED).all()
    assert any("images of 16 x 24 pixels are read, learned and scored at 24 x 24" in note for note in data.notes)


def test_predictions_of_new_images_need_no_masks(made: Path, tmp_path: Path) -> None:
    told = ready(manifest=made / "chips.csv").describe()
    run = RunDescription(task="pixel labels", class_names=CLASSES, columns=told["columns"])
    shutil.copy(made / "images" / "03.png", tmp_path)
    for root, count in ((tmp_path, 1), (made, 24)):  # masks beside images are not taken for images
        data = SegmentationDataModule(root=root, **READY)
        data.read_for(run, whole=True)
        data.setup("predict")
        assert len(data.indices["predict"]) == count and data.legend.names == CLASSES
        assert data.frame(0) == (16, 16)


def test_masks_of_other_data_are_matched_by_name(folder: Path, made: Path) -> None:
    told = ready(manifest=made / "chips.csv").describe()
    run = RunDescription(task="pixel labels", class_names=CLASSES, columns=told["columns"])
    for k in range(24):  # numbers 10, 20 and 30 in another order
        mask = pair(k)[1]
        save(folder / "masks" / f"{k:02d}.png", np.array([30, 10, 20, *[0] * 252, 255], np.uint8)[mask])
    (folder / "classes.json").write_text(json.dumps({"10": "wood", "20": "water", "30": "field"}))
    data = SegmentationDataModule(manifest=folder / "chips.csv", **READY)
    data.read_for(run, whole=True)
    data.setup("test")
    wanted = pair(6)[1].astype(np.int64)
    assert np.array_equal(data.mask(6), np.where(wanted == 255, IGNORED, wanted))
    (folder / "classes.json").write_text(json.dumps({"10": "snow", "20": "water", "30": "field"}))
    data = SegmentationDataModule(manifest=folder / "chips.csv", **READY)
    data.read_for(run, whole=True)
    with pytest.raises(ValueError, match="a class that the run's model does not know: 'snow'"):
        data.setup("test")


# -------------------------------------------------------------------- bad input


def _other_size(folder: Path) -> None:
    save(folder / "masks" / "03.png", np.zeros((16, 15), np.uint8))


def _unknown_number(folder: Path) -> None:
    save(folder / "masks" / "03.png", np.full((16, 16), 7, np.uint8))


def _all_ignored(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        save(path, np.full((16, 16), 255, np.uint8))


def _colours(folder: Path) -> None:
    save(folder / "masks" / "03.png", np.zeros((16, 16, 3), np.uint8))


def _pages(folder: Path) -> None:
    _rename(folder, np.zeros((3, 16, 16), np.uint16))


def _bands(folder: Path) -> None:
    (folder / "masks" / "03.png").unlink()
    tifffile.imwrite(folder / "masks" / "03.tif", np.zeros((16, 16, 3), np.uint16), photometric="rgb")


def _fractions(folder: Path) -> None:
    _rename(folder, np.full((16, 16), 0.5, np.float32))


def _negative(folder: Path) -> None:
    _rename(folder, np.full((16, 16), -1, np.int16))


def _rename(folder: Path, values: NDArray[Any]) -> None:
    (folder / "masks" / "03.png").unlink()
    tifffile.imwrite(folder / "masks" / "03.tif", values, photometric="minisblack")


def _truncated(folder: Path) -> None:
    path = folder / "masks" / "03.png"
    path.write_bytes(path.read_bytes()[:60])


def _no_masks(folder: Path) -> None:
    shutil.rmtree(folder / "masks")


def _no_images(folder: Path) -> None:
    shutil.rmtree(folder / "images")


def _damaged_legend(folder: Path) -> None:
    (folder / "classes.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_size, r"1 of 24 masks cannot be used: .*03.png is 16 x 15 pixels, and its image 03.png 16 x 16"),
        (_unknown_number, r"no class of .*classes.json: 7 \(256 pixels\), as in .*03.png. The classes are 0 field"),
        (_all_ignored, "all pixels of all 24 masks of .* are ignored"),
        (_colours, "a picture of colours .*write the numbers instead"),
        (_pages, "it has 3 pages, and a mask is one"),
        (_bands, r"a picture of colours \(3 bands\)"),
        (_fractions, "values with a fraction"),
        (_negative, "values from -1 to -1, and masks hold class numbers"),
        (_truncated, "1 of 24 masks cannot be used: .*03.png"),
        (_no_masks, "none of the 24 images in .* has a mask"),
        (_no_images, "has no folder images; expected"),
        (_damaged_legend, "classes.json does not say which classes there are"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_masks(spoil: Callable[[Path], None], message: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises((ValueError, OSError), match=message):
        ready(root=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give root, a folder with images and masks, or manifest"),
        ({"root": "x", "legend": "a.txt"}, "legend must be a .json or .csv file"),
        ({"root": "x", "validation_fraction": 2}, "validation_fraction"),
        ({"root": "x", "augmentation": PerImage(lambda image: image)}, None),
    ],
)
def test_bad_options(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        SegmentationDataModule(**options)
        return
    with pytest.raises(ValueError, match=message):
        SegmentationDataModule(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_column": "target"}, "target"),
        ({"legend": "there_is_none.json"}, "there is no file of classes"),
        ({"ignored": 1}, "1 is the class 'wood' and cannot be ignored as well"),
        ({"class_names": ["a", "a", "b"]}, "must have different names"),
        ({"ignored": [255, 0, 1], "class_names": {2: "water"}}, "at least two classes"),
    ],
)
def test_bad_options_of_a_table(options: dict[str, Any], message: str, made: Path) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        ready(manifest=made / "chips.csv", **options)


def test_files_that_are_not_there(folder: Path) -> None:
    (folder / "masks" / "03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 48 files in .*chips.csv are not there: .*03.png"):
        ready(manifest=folder / "chips.csv")


# -------------------------------------------------------------------- mask files and legends


@pytest.mark.parametrize("kind", ["L", "P", "16 bits", "tif", "int32 tif", "float tif", "1"])
def test_masks_are_read_as_they_are_stored(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2 if kind == "1" else 200, (5, 7)).astype(np.uint8)
    path = tmp_path / ("m.tif" if "tif" in kind else "m.png")
    if "tif" in kind:
        tifffile.imwrite(path, values.astype({"int32 tif": np.int32, "float tif": np.float32}.get(kind, np.uint8)))
    elif kind == "16 bits":
        Image.fromarray(values.astype(np.uint16) * 300).save(path)
        values = values.astype(np.int64) * 300  # type: ignore[assignment]
        values = np.minimum(values, 65535)
    elif kind == "1":
        Image.fromarray(values.astype(bool)).save(path)
    else:
        picture = Image.fromarray(values)
        if kind == "P":
            picture = Image.frombytes("P", picture.size, values.tobytes())
            picture.putpalette(np.random.default_rng(1).integers(0, 255, 768).tolist())
        picture.save(path)
    assert np.array_equal(read_mask(path), values)


@pytest.mark.parametrize(
    ("told", "names", "ignored"),
    [
        (["a", "b"], {0: "a", 1: "b"}, (255,)),
        ({"3": "a", "5": "b"}, {3: "a", 5: "b"}, (255,)),
        ({"classes": ["a", "b"], "none": 9}, {0: "a", 1: "b"}, (9,)),
        ([{"number": 4, "name": "a", "colour": "#ff0000"}, {"number": 7, "name": "b"}], {4: "a", 7: "b"}, (255,)),
    ],
)
def test_legend_files(told: Any, names: dict[int, str], ignored: tuple[int, ...], tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps(told))
    found = given_legend(None, None, file).legend([])
    assert dict(zip(found.numbers, found.names, strict=True)) == names and found.ignored == ignored
    assert MaskLegend.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_legend_as_a_table_with_colours(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("number,name,colour\n2,wood,#00ff00\n0,field,\n")
    found = given_legend(None, 7, tmp_path / "classes.csv").legend([])
    assert found.names == ("field", "wood") and found.colours[1] == (0, 255, 0) and found.ignored == (7,)


def test_numbers_go_to_places_and_back() -> None:
    legend = MaskLegend(("a", "b"), (3, 300), ((1, 2, 3), (4, 5, 6)), (255,))
    stored = np.array([[3, 300, 255]])
    classes = legend.classes(stored)
    assert classes.tolist() == [[0, 1, IGNORED]]
    assert np.array_equal(legend.stored(classes), stored) and legend.stored(classes).dtype == np.uint16
    assert legend.picture(classes).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert legend.of_run(("b", "c", "a")).numbers == (300, 0, 3)


# -------------------------------------------------------------------- moved alike


class OneOnly(Augmentation):
    def one(self, image: Tensor, image_size: int) -> Tensor:
        return image.flip(2)


class ManyOnly(Augmentation):
    def many(self, images: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        return images.float().flip(3) / 255


class MoreThanOverhead(OverheadAugmentation):
    def many(self, images: Tensor, keys: NDArray[np.uint64]) -> Tensor:
        return super().many(images, keys).flip(3)


@pytest.mark.parametrize(
    ("kind", "lacking"), [(OneOnly, "one_with_mask"), (ManyOnly, "many_masks"), (MoreThanOverhead, "many_masks")]
)
def test_an_augmentation_that_says_nothing_of_masks_is_refused(kind: type[Augmentation], lacking: str) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} does not say how it moves masks: override {lacking}"):
        SegmentationDataModule(root="x", augmentation=kind())


GEOMETRY: dict[str, Augmentation | nn.Module] = {
    "flips and turns": OverheadAugmentation(shift=0.2, brightness=0, contrast=0, colour=0),
    "crops": OverheadAugmentation(brightness=0, contrast=0, colour=0, smallest_crop=0.5),
    "photographs": ImageAugmentation(0.4, brightness=0, contrast=0, saturation=0, vertical_flip=0.5),
    "torchvision": v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]),
    "rotation": v2.RandomRotation(40),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_image_and_mask_are_moved_alike(name: str, tmp_path: Path) -> None:
    """Each class has one grey of its own, so that a moved image tells what its mask must be."""
    greys = np.array([0, 90, 200], np.uint8)
    for k in range(8):
        mask = np.kron(np.random.default_rng(k).integers(0, 3, (4, 4)), np.ones((8, 8), np.int64)).astype(np.uint8)
        save(tmp_path / "images" / f"{k}.png", np.repeat(greys[mask][:, :, None], 3, 2))
        save(tmp_path / "masks" / f"{k}.png", mask)
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3, "image_size": 32, "class_names": list(CLASSES)}
    data = ready(root=tmp_path, augmentation=GEOMETRY[name], **plain)
    loader = data.train_dataloader()
    batch = loader.samples.fetch(data.indices["train"], 1)
    seen = (batch["inputs"][:, 0] * 255).round()
    wanted = (seen[..., None] - torch.from_numpy(greys).float()).abs()
    sure = wanted.min(-1).values < 3  # away from edges, where greys are mixed
    known = sure & (batch["target"] != IGNORED)
    agree = (wanted.argmin(-1) == batch["target"])[known]
    assert float(agree.float().mean()) > 0.97
    assert float(known.float().mean()) > 0.5
    again = loader.samples.fetch(data.indices["train"][::-1].copy(), 1)
    assert torch.equal(again["target"].flip(0), batch["target"])  # whatever batch a sample comes in
    later = loader.samples.fetch(data.indices["train"], 2)
    assert not torch.equal(later["target"], batch["target"])
    if name == "rotation":  # what is turned in from outside is of no class
        assert (batch["target"] == IGNORED).any()


def test_nearest_against_a_loop() -> None:
    mask = torch.arange(35).view(5, 7)
    found = nearest(mask, (3, 11))
    for r, c in np.ndindex(3, 11):
        assert int(found[r, c]) == int(mask[int((r + 0.5) * 5 / 3), int((c + 0.5) * 7 / 11)])
    assert nearest(mask, (5, 7)) is mask
    image, target = fitted(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.int64), 4)
    assert image.shape == (3, 4, 4) and target.shape == (4, 4)
