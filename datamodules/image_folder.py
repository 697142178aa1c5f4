"""Images in one folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.image_data import ImageDataModule
from datamodules.image_files import EXTENSIONS
from datamodules.image_records import ImageRecords
from datamodules.loose_images import check_folder, image_files, read_loose_images
from datamodules.records import listed
from datamodules.stratified import check_fractions, stratified_split

_SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class ImageFolderDataModule(ImageDataModule):
    """A folder with one subfolder of images for each class, or with such trees in `train`, `val` and `test`.

    A tree without splits is split class by class; which image goes where depends on its path and `split_seed` only.
    Where there is a `train` folder but no `val`, validation is taken from training.

    Args:
        root: the folder.
        validation_fraction: share of each class for validation, where the tree does not say.
        test_fraction: share of each class for the test, where the tree has no splits; may be 0.
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
        return str(self.root)

    def described_columns(self) -> dict[str, Any]:
        return {"root": str(self.root.resolve()), "label": "folder"}

    def read_records(self) -> ImageRecords:
        split_folders = self._split_folders()
        trees = {split: class_tree(folder) for split, folder in split_folders.items()}
        if not any(files for tree in trees.values() for files in tree.values()):
            outside = sum(path.parent == self.root for path in image_files(self.root))
            loose = f"; the {outside} images in it are in no class folder" if outside else ""
            raise ValueError(
                f"no images in the class folders of {self.root}{loose}; expected {self.root}/<class>/<image> or "
                f"{self.root}/train/<class>/<image>, with files named {', '.join(EXTENSIONS)}"
            )
        names = self._class_names(sorted({name for tree in trees.values() for name in tree}))
        entries = [
            (path, names.index(name), split)
            for split, tree in trees.items()
            for name, files in tree.items()
            if name in names
            for path in files
        ]
        paths = [path for path, _, _ in entries]
        labels = np.array([label for _, label, _ in entries], dtype=np.int64)
        splits = np.array([split for _, _, split in entries])
        ids = [path.relative_to(self.root).as_posix() for path in paths]
        given = set(split_folders)
        if not given >= {"train", "validation"}:
            undivided = np.flatnonzero(splits != "test")
            test_fraction = self.test_fraction if given == {"all"} else 0.0
            splits = splits.astype("<U10")
            if given == {"all"} or not self.whole:
                members = [ids[i] for i in undivided], labels[undivided], names
                fractions = self.validation_fraction, test_fraction, self.split_seed
                splits[undivided] = self.divided(lambda: stratified_split(*members, *fractions), len(undivided))
        return ImageRecords(ids=ids, labels=labels, splits=splits, class_names=names, paths=paths)

    def read_unlabelled(self) -> ImageRecords:
        """Every image below `root`, class folders or not."""
        if self.run is None and self.normalisation == "data" and (self._mean is None or self._std is None):
            return self.read_records()  # mean and standard deviation are those of the training images
        return read_loose_images(self.root, "root", empty=self.predict_root is not None)

    def _split_folders(self) -> dict[str, Path]:
        """Split -> folder; {"all": root} for a tree without splits."""
        check_folder(self.root, "root")
        found = {
            split: self.root / name
            for split, names in _SPLIT_FOLDERS.items()
            for name in names
            if (self.root / name).is_dir()
        }
        return found if "train" in found else {"all": self.root}

    def _class_names(self, found: list[str]) -> tuple[str, ...]:
        if self.wanted_classes is None:
            return tuple(found)
        missing = [name for name in self.wanted_classes if name not in found]
        if missing and self.run is None:
            raise ValueError(f"class_names lists {listed(missing)}, but {self.root} has {listed(found, 20)}")
        return self.wanted_classes


def class_tree(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder; a class without images has an empty list."""
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {entry.name: image_files(entry) for entry in classes}
