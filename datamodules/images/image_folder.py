"""Images in one folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.images.class_folders import ClassFolders, read_class_folders
from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.images.loose_images import check_folder, left_out_note, read_loose_images
from datamodules.labelled.labels import warn_of_alike
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.labelled.stratified import MadeSplit, check_fractions


class ImageFolderDataModule(ImageDataModule):
    """A folder with one subfolder of images for each class, or with such trees in `train`, `val` and `test`.

    Split folders may be called as people call them (`Training`, `dev`, `TEST`); a folder of that name that holds images
    itself is a class, and images right in a test folder, without class folders, are those to predict. A tree without
    splits is parted by what its images show and `split_seed` only, so that equal ones lie on one side and new ones move
    no others. Where there is no `val` it is taken from `train`, and where there is nothing else, the test is as well.

    Args:
        root: the folder.
        validation_fraction: share of the images for validation, where the tree does not say.
        test_fraction: share of the images for the test, where the tree has no splits; may be 0.
        split_seed: of that split; apart from `seed`, so that runs with other seeds are tested on the same images.
        class_names: the class folders to use, in the order of their numbers; default all, sorted.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str | Path,
        validation_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        class_names: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_fractions(validation_fraction, test_fraction)
        self.root, self.split_seed = Path(root), split_seed
        self.validation_fraction, self.test_fraction = validation_fraction, test_fraction
        self.wanted_classes = None if class_names is None else tuple(class_names)

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return str(self.root)

    def described_columns(self) -> dict[str, Any]:
        """See `ClassificationDataModule`."""
        return {"root": str(self.root.resolve()), "label": "folder"}

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        check_folder(self.root, "root")
        found = read_class_folders(self.root, self.run is None, self.find_samples)
        self.notes += [*found.notes, *left_out_note(found.left_out, found.repeated)]
        names = self._class_names(found.class_names())
        if passed := [name for name in found.class_names() if name not in names]:
            count = sum(len(tree.get(name, ())) for tree in found.trees.values() for name in passed)
            self.dropped["images of classes that class_names leaves out"] = count
            self.notes.append(f"{count:,} images of {listed(passed)} are left out, as class_names does not list them")
        entries = [
            (path, names.index(name), split)
            for split, tree in found.trees.items()
            for name, files in tree.items()
            if name in names
            for path in files
        ]
        entries += [(path, -1, "predict") for path in found.unlabelled]
        paths = [path for path, _, _ in entries]
        warn_of_alike(names, [names[label] for _, label, _ in entries if label >= 0], str(self.root))
        return ImageRecords(
            ids=[path.relative_to(self.root).as_posix() for path in paths],
            labels=np.array([label for _, label, _ in entries], dtype=np.int64),
            splits=self._splits([split for _, _, split in entries], found),
            class_names=names,
            paths=paths,
        )

    def _splits(self, given: list[str], found: ClassFolders) -> np.ndarray:
        """As the folders say, and `UNDIVIDED` for what is to be parted."""
        splits = np.array(given, dtype="<U10")
        have = set(found.trees)
        shares = self.validation_fraction, self.test_fraction
        if have == {UNDIVIDED}:
            self.made_split = MadeSplit(*shares, self.split_seed)
        elif "train" in have and "validation" not in have and not self.whole:
            alone = "test" not in have and not found.unlabelled
            self.made_split = MadeSplit(shares[0], shares[1] if alone else 0.0, self.split_seed)
            splits[splits == "train"] = UNDIVIDED
            part = "validation and test are" if alone and shares[1] else "validation is"
            self.notes.append(f"{self.root} has no folder for validation: {part} taken from training")
        return splits

    def read_unlabelled(self) -> ImageRecords:
        """Every image below `root`, class folders or not."""
        if self.run is None and self.normalisation == "data" and (self._mean is None or self._std is None):
            return self.read_records()  # mean and standard deviation are those of the training images
        return read_loose_images(self.root, "root", self.predict_root is not None, self.notes, self.find_samples)

    def _class_names(self, found: list[str]) -> tuple[str, ...]:
        if self.wanted_classes is None:
            return tuple(found)
        missing = [name for name in self.wanted_classes if name not in found]
        if missing and self.run is None:
            raise ValueError(f"class_names lists {listed(missing)}, but {self.root} has {listed(found, 20)}")
        return self.wanted_classes
