"""EuroSAT: Sentinel-2 images of Europe in ten classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import EuroSAT

from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_records import ImageRecords
from datamodules.labelled.records import UNDIVIDED
from datamodules.labelled.stratified import MadeSplit, check_fractions


class EuroSATDataModule(ImageDataModule):
    """27,000 RGB images of 64 x 64 pixels in ten classes (Helber et al., 2019), downloaded by torchvision (90 MB).

    The data set comes without splits; it is parted by what its images show.

    Args:
        root: folder that the data set is kept in.
        download: get it when it is not there yet.
        validation_fraction: share of each class for validation.
        test_fraction: share of each class for the test.
        split_seed: of the split; apart from `seed`, so that runs with other seeds are tested on the same images.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str | Path = "data",
        download: bool = True,
        validation_fraction: float = 0.2,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_fractions(validation_fraction, test_fraction)
        self.root, self.download, self.split_seed = Path(root), download, split_seed
        self.validation_fraction, self.test_fraction = validation_fraction, test_fraction

    @property
    def source(self) -> str:
        """Where the samples come from, for messages."""
        return f"EuroSAT in {self.root}"

    def prepare_data(self) -> None:
        """Download the images, where they are not there.

        Raises:
            OSError: they cannot be had.
        """
        if not self.download or (self.run is not None and self.predict_root is not None):
            return
        try:
            EuroSAT(str(self.root), download=True)
        except OSError as error:
            raise OSError(
                f"EuroSAT could not be downloaded to {self.root} ({error}); connect to the internet, or put the data "
                f"set's class folders in {self.root / 'eurosat' / '2750'}"
            ) from error

    def read_records(self) -> ImageRecords:
        """See `ClassificationDataModule`."""
        try:
            dataset = EuroSAT(str(self.root), download=False)
        except RuntimeError as error:
            raise FileNotFoundError(
                f"EuroSAT is not in {self.root / 'eurosat'}; set download to true, or root to where it is"
            ) from error
        paths = [Path(path) for path, _ in dataset.samples]
        labels = np.array([label for _, label in dataset.samples], dtype=np.int64)
        ids = [f"{path.parent.name}/{path.name}" for path in paths]
        names = tuple(dataset.classes)
        self.made_split = MadeSplit(self.validation_fraction, self.test_fraction, self.split_seed)
        splits = np.full(len(ids), UNDIVIDED)
        return ImageRecords(ids=ids, labels=labels, splits=splits, class_names=names, paths=paths)
