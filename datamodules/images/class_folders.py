"""Which folders are splits and which are classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.images.loose_images import Finder, find_images, leads_back
from datamodules.labelled.labels import SPLIT_NAMES
from datamodules.labelled.records import UNDIVIDED, listed

Tree = dict[str, list[Path]]  # the images of each class


@dataclass
class ClassFolders:
    """The images of a folder, by split and class.

    Args:
        trees: by split; one called `UNDIVIDED` where the folder has no splits.
        unlabelled: images in a test folder without class folders.
        left_out: how many files are no images, by their endings.
        repeated: links to folders that were read already.
        notes: what the user should know.
        find: what the samples below a folder are: files, or folders that are one sample each.
    """

    trees: dict[str, Tree] = field(default_factory=dict)
    unlabelled: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    repeated: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    find: Finder = find_images

    def class_names(self) -> list[str]:
        """All classes, sorted."""
        return sorted({name for tree in self.trees.values() for name in tree})

    def add(self, split: str, folder: Path) -> None:
        """Read the class folders of a split."""
        self.trees[split] = tree = {}
        self.repeated += [entry for entry in _subfolders(folder) if leads_back(entry)]
        for entry in _folders(folder):
            found = self.find(entry)
            self.left_out += found.left_out
            self.repeated += found.repeated
            tree[entry.name] = found.paths


def read_class_folders(root: Path, training: bool = True, find: Finder = find_images) -> ClassFolders:
    """Find out what the folders of a data set mean.

    A folder with the name of a split (in any case: train, training, val, valid, validation, dev, test, testing) that
    has class folders is that split. One that holds images itself is a class, unless there are splits: then a test
    folder of this kind holds images to predict.

    Args:
        root: the data set's folder.
        training: whether there must be something to train on.
        find: what the samples below a folder are.

    Raises:
        ValueError: no images, two folders for one split, splits without one to train on, or images right in the
            training or validation folder.
    """
    found = ClassFolders(find=find)
    named = [(SPLIT_NAMES.get(entry.name.lower()), entry) for entry in _folders(root)]
    has_classes = {entry: any(_is_class(inner, find) for inner in _folders(entry)) for split, entry in named if split}
    splits = {entry: split for split, entry in named if split and has_classes[entry]}
    if not splits:
        found.add(UNDIVIDED, root)
        _check_some(found, root)
        called = [entry.name for entry in has_classes if found.trees[UNDIVIDED].get(entry.name)]
        if called and len(called) == len([name for name, files in found.trees[UNDIVIDED].items() if files]):
            raise ValueError(
                f"{root} has images right in {listed(called)}, without class folders in them; expected "
                f"{root}/train/<class>/<image>, or {root}/<class>/<image> with folders that are named after classes"
            )
        if called:
            found.notes.append(f"{listed(called)} in {root}: taken for classes, as they hold images themselves")
        return found
    for split in dict.fromkeys(splits.values()):
        folders = [entry for entry, name in splits.items() if name == split]
        if len(folders) > 1:
            raise ValueError(
                f"{root} has {len(folders)} folders for {split}: {listed([f.name for f in folders])}; keep one, or "
                "join them"
            )
        found.add(split, folders[0])
    others = [entry for _, entry in named if entry not in splits]
    for entry in list(others):
        images, meant = find(entry), SPLIT_NAMES.get(entry.name.lower())
        if meant == "test" and images.paths and "test" not in found.trees:
            found.unlabelled += images.paths
            found.notes.append(f"{entry} has no class folders: its {len(images.paths):,} images are those to predict")
            others.remove(entry)
        elif meant in ("train", "validation") and images.paths:
            raise ValueError(f"{entry} holds images, but no class folders; expected {entry}/<class>/<image>")
    if others:
        counts = [f"{entry.name} ({len(find(entry).paths):,} images)" for entry in others]
        found.notes.append(f"beside the splits of {root} these folders are left out: {listed(counts)}")
    if training and "train" not in found.trees:
        have = listed([entry.name for entry in splits])
        raise ValueError(f"{root} has {have}, but no folder to train on; expected {root}/train/<class>/<image>")
    _check_some(found, root)
    return found


def _is_class(folder: Path, find: Finder) -> bool:
    """Whether a folder has samples, and is none itself."""
    return any(path != folder for path in find(folder).paths)


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _subfolders(folder) if not leads_back(entry)]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _check_some(found: ClassFolders, root: Path) -> None:
    if any(files for tree in found.trees.values() for files in tree.values()):
        return
    outside = len(found.find(root, deep=False).paths)
    others = ", ".join(f"{count:,} {ending}" for ending, count in found.left_out.most_common(4))
    there = f"; other files there: {others}" if others else ""
    loose = f"; the {outside} images in it are in no class folder" if outside else ""
    raise ValueError(
        f"no images in the class folders of {root}{loose}{there}; expected {root}/<class>/<image> or "
        f"{root}/train/<class>/<image>, in files whose names end as Pillow knows them (.jpg, .png, .tif, .jp2, …)"
    )
