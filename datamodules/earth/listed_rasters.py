"""Which samples there are: class folders and tables, read as for other images, of rasters and products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datamodules.earth.raster_samples import find_rasters, is_product
from datamodules.images.image_folder import ImageFolderDataModule
from datamodules.images.image_manifest import ManifestDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.labelled.records import listed
from datamodules.tables.tables import read_table

BLOCK = "block"


class RasterFolder(ImageFolderDataModule):
    """Class folders of rasters, or of folders that are one sample each."""

    find_samples = staticmethod(find_rasters)

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        entries = sorted(self.root.iterdir()) if self.root.is_dir() else []
        direct = [entry.name for entry in entries if entry.is_dir() and is_product(entry)]
        if direct:
            raise ValueError(
                f"{self.root} holds samples right in it ({listed(direct, 3)}), which are folders of bands; expected "
                f"{self.root}/<class>/<folder of bands>"
            )
        return super().read_records()


class RasterManifest(ManifestDataModule):
    """A table of rasters, or of folders that are one sample each; a column called `block` has their blocks."""

    find_samples = staticmethod(find_rasters)

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        if self.block_column is None and BLOCK in read_table(self.manifest):
            self.block_column = BLOCK  # as chips that were cut from a scene have it
        return super().read_records()

    def is_sample(self, path: Path) -> bool:
        """See `ManifestDataModule`."""
        return path.exists()


@dataclass(frozen=True)
class Listing:
    """Where samples are listed: class folders, or a table.

    Args:
        root: folder of class folders; with a table the folder that its paths are relative to.
        manifest: the table.
        shares: for validation and for the test, and seed of a split that the samples do not have.
        class_names: the classes to use.
        columns: of a table: paths, labels, splits, blocks; then the task, and what parts several labels.
        options: others, as `ImageDataModule` takes them.

    Raises:
        ValueError: neither is given, or an option is wrong.
    """

    root: str | Path | None
    manifest: str | Path | None
    shares: tuple[float, float, int] = (0.15, 0.15, 0)
    class_names: Sequence[str] | None = None
    columns: tuple[Any, ...] = ("path", "label", "split", None, None, None)
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is None and self.manifest is None:
            raise ValueError("give root, a folder with a subfolder for each class, or manifest, a table of paths")
        self.reader()

    def reader(self) -> RasterFolder | RasterManifest:
        """What reads them; a new one each time."""
        validation, test, seed = self.shares
        shares: dict[str, Any] = {"validation_fraction": validation, "test_fraction": test, "split_seed": seed}
        options = {**shares, "class_names": self.class_names, **self.options}
        if self.manifest is not None:
            names = ("path_column", "label_column", "split_column", "block_column", "task", "label_delimiter")
            return RasterManifest(self.manifest, self.root, **dict(zip(names, self.columns, strict=True)), **options)
        assert self.root is not None
        return RasterFolder(self.root, **options)
