"""`MaskSource`: images and masks in folders or a table, with what their numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.images.loose_images import check_folder, find_images
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.labelled.stratified import MadeSplit, stratified_split
from datamodules.masks.given_legend import NAMES, GivenLegend, given_legend
from datamodules.masks.legends_beside import joined, legends_beside
from datamodules.masks.mask_listing import IMAGES, MaskColumns, MaskListing, listed_in_folders, listed_in_table
from datamodules.masks.mask_records import MaskRecords
from datamodules.masks.seen_masks import SeenMask, check_numbers, look_at_masks
from lightning_tl.contracts.mask_legend import MaskLegend
from lightning_tl.contracts.run_description import RunDescription, class_places

Find = Callable[[Path], Sequence[Path]]
Frame = Callable[[Path], tuple[int, int]]
Apart = Callable[[Path, Path], str]


@dataclass(frozen=True)
class ReadMasks:
    """What was found.

    Args:
        records: images with masks.
        legend: what numbers mean, in the order of a model's outputs.
        made_split: how images without a split are to be parted; None where all have one.
        notes: what the user should know.
        dropped: images that were left out, by reason.
    """

    records: MaskRecords
    legend: MaskLegend
    made_split: MadeSplit | None
    notes: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskSource:
    """Where images and masks lie, as a user said it.

    Args:
        root: folder with `images` and `masks`; of a table, what its paths are relative to.
        manifest: the table; None for folders.
        columns: of the table.
        class_names: as of `given_legend`.
        ignored: likewise.
        legend: file with names and colours; None for `classes.json` or `classes.csv` beside the data, if there.
        split: how images without a split are parted.

    Raises:
        ValueError: neither a folder nor a table.
    """

    root: Path | None
    manifest: Path | None
    columns: MaskColumns
    class_names: Sequence[str] | Mapping[int, str] | None
    ignored: int | Sequence[int] | None
    legend: Path | None
    split: MadeSplit

    def __post_init__(self) -> None:
        if self.root is None and self.manifest is None:
            raise ValueError("give root, a folder with images and masks, or manifest, a table that lists them")
        if self.legend is not None and self.legend.suffix.lower() not in (".json", ".csv"):
            raise ValueError(f"legend must be a .json or .csv file, got {self.legend}")

    @property
    def folder(self) -> Path:
        """What paths are relative to."""
        if self.root is not None:
            return self.root
        assert self.manifest is not None
        return self.manifest.parent

    @property
    def where(self) -> str:
        """The data, for messages."""
        return str(self.manifest or self.root)

    def find_images(self, folder: Path) -> Sequence[Path]:
        """Image files below a folder."""
        return find_images(folder).paths

    def described(self) -> dict[str, Any]:
        """Which columns or folders were read as what."""
        if self.manifest is None:
            return {"root": str(self.folder.resolve()), "label": "masks"}
        told = {"path": self.columns.path, "label": self.columns.mask}
        return {"manifest": str(self.manifest.resolve()), **told, "split": self.columns.split,
                "block": self.columns.block}  # fmt: skip

    # ---------------------------------------------------------------- reading

    def read(
        self, run: RunDescription | None, whole: bool, find: Find, frame: Frame, apart: Apart | None = None
    ) -> ReadMasks:
        """Every image, with what its mask has.

        Args:
            run: whose model reads them; None where one is to be trained.
            whole: they are not the run's own, so all of them may be read.
            find: image files below a folder.
            frame: height and width of an image file.
            apart: see `look_at_masks`.

        Raises:
            ValueError: numbers that are no class, masks without a known pixel, or classes that the run does not know.
            OSError: files that are missing, damaged, or of another size than their image.
        """
        listing = self._listing(find)
        places = [k for k, mask in enumerate(listing.masks) if mask is not None]
        files = [mask for mask in listing.masks if mask is not None]
        seen = look_at_masks(files, [listing.paths[k] for k in places], frame, apart)
        legend = self._legend(seen, files, run)
        pixels = np.zeros((len(listing.ids), len(legend.names)), np.int64)
        numbers = {number: k for k, number in enumerate(legend.numbers)}
        for place, each in zip(places, seen, strict=True):
            for number, count in each.pixels.items():
                if number in numbers:
                    pixels[place, numbers[number]] = count
        frames = {place: each.frame for place, each in zip(places, seen, strict=True)}
        labels = (pixels > 0).astype(np.int64)
        empty = np.array([k for k in places if not pixels[k].any()], np.int64)
        unmasked = np.array([k for k, mask in enumerate(listing.masks) if mask is None], np.int64)
        labels[unmasked] = -1
        if len(empty) == len(places):
            raise ValueError(
                f"all pixels of all {len(places)} masks of {self.where} are ignored "
                f"({', '.join(map(str, legend.ignored)) or 'no number'}), so there is nothing to learn"
            )
        notes, dropped = [*listing.notes], {}
        if len(empty):
            dropped["images whose pixels are all ignored"] = len(empty)
            some = listed([listing.ids[int(k)] for k in empty], 3)
            notes.append(f"{len(empty):,} images whose pixels are all ignored are left out: {some}")
        if len(unmasked):
            notes.append(f"{len(unmasked):,} images have no mask and are those to predict")
        splits, made = self._splits(listing, labels, legend, whole, np.concatenate([empty, unmasked]), notes)
        splits[unmasked], splits[empty] = "predict", "left out"
        records = MaskRecords(
            ids=listing.ids, labels=labels, splits=splits, class_names=legend.names, paths=listing.paths,
            blocks=listing.blocks, masks=listing.masks, pixels=pixels,
            frames=[frames.get(k) for k in range(len(listing.ids))],
        )  # fmt: skip
        return ReadMasks(records, legend, made, notes, dropped)

    def read_unmasked(self, find: Find) -> MaskRecords:
        """Every image, without a look at masks and splits."""
        if self.manifest is not None:
            listing = listed_in_table(self.manifest, self.folder, self.columns, masked=False)
            ids, paths = listing.ids, listing.paths
        else:
            check_folder(self.folder, "root")
            inside = self.folder / IMAGES
            paths = list(find(inside if inside.is_dir() else self.folder))
            if not paths:
                raise ValueError(f"there are no images in {self.folder}")
            ids = [path.relative_to(self.folder).as_posix() for path in paths]
        none = np.full((len(ids), 0), -1, np.int64)
        return MaskRecords(
            ids=ids, labels=none, splits=np.full(len(ids), "predict"), class_names=(), paths=paths,
            masks=[None] * len(ids), pixels=none, frames=[None] * len(ids),
        )  # fmt: skip

    def _listing(self, find: Find) -> MaskListing:
        if self.manifest is not None:
            return listed_in_table(self.manifest, self.folder, self.columns)
        return listed_in_folders(self.folder, find)

    def _given(self, masks: Sequence[Path]) -> GivenLegend:
        file = self.legend
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"there is no file of classes {file}")
        if file is None:
            file = next((self.folder / name for name in NAMES if (self.folder / name).is_file()), None)
        beside = legends_beside(masks)
        if file is None and self.class_names is None and self.ignored is None and beside:
            return joined(beside)
        return given_legend(self.class_names, self.ignored, file)

    def _legend(self, seen: Sequence[SeenMask], files: Sequence[Path], run: RunDescription | None) -> MaskLegend:
        given, found = self._given(files), sorted({number for each in seen for number in each.pixels})
        of_run = run is not None and bool(run.class_names)
        if run is not None and of_run and given.classes is None and "legend" in run.columns:
            legend = MaskLegend.from_json(run.columns["legend"])
            check_numbers(legend, seen, files, "the run")
            return legend
        legend = given.legend(found)
        check_numbers(legend, seen, files, given.where)
        if len(legend.names) < 2 and not of_run:
            have = f"'{legend.names[0]}'" if legend.names else "none"
            raise ValueError(f"{self.where}: there must be at least two classes of pixels, found {have}")
        if run is not None and of_run:
            there = [name for name, number in zip(legend.names, legend.numbers, strict=True) if number in found]
            class_places(there, run.class_names, self.where)
            return legend.of_run(run.class_names)
        return legend

    def _splits(
        self, listing: MaskListing, labels: NDArray[np.int64], legend: MaskLegend, whole: bool,
        apart: NDArray[np.int64], notes: list[str],
    ) -> tuple[NDArray[np.str_], MadeSplit | None]:  # fmt: skip
        """As the data say; whole blocks where these are known, else by what images show, and so `UNDIVIDED` yet."""
        splits, how = listing.splits.copy(), self.split
        there = np.ones(len(splits), bool)
        there[apart] = False
        if whole:
            return splits, how
        have = set(splits[there])
        if "train" in have and "validation" not in have:
            test = 0.0 if "test" in have else how.test_fraction
            notes.append(f"{self.where} says nothing of validation: it is taken from training")
            splits[splits == "train"] = UNDIVIDED
            how = MadeSplit(how.validation_fraction, test, how.seed)
        free = np.flatnonzero((splits == UNDIVIDED) & there)
        if len(free) and listing.blocks is not None:
            keys = [str(block) for block in listing.blocks[free]]
            ids = [listing.ids[int(k)] for k in free]
            shares = how.validation_fraction, how.test_fraction, how.seed
            splits[free] = stratified_split(ids, labels[free], legend.names, *shares, keys=keys, notes=notes)
            notes.append(f"images of one block lie on one side of the split: {len(set(keys)):,} blocks")
        return splits, how
