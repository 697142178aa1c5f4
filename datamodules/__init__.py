"""Data modules for `lightning_tl`: images, and the small data sets that ship."""

from datamodules.augmentation import Augmentation, OverheadAugmentation, PerImage
from datamodules.eurosat import EuroSATDataModule
from datamodules.image_augmentation import ImageAugmentation
from datamodules.image_data import ImageDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.image_manifest import ManifestDataModule
from datamodules.interaction_data import InteractionDataModule
from datamodules.movielens import MovieLensDataModule
from datamodules.satellite import SatelliteDataModule
from datamodules.streamrec_data import StreamRecDataModule
from datamodules.text_data import TextDataModule
from datamodules.unlabelled_land_cover import UnlabelledLandCoverDataModule
from datamodules.unlabelled_text import UnlabelledTextDataModule

__all__ = [
    "Augmentation",
    "EuroSATDataModule",
    "ImageAugmentation",
    "ImageDataModule",
    "ImageFolderDataModule",
    "InteractionDataModule",
    "ManifestDataModule",
    "MovieLensDataModule",
    "OverheadAugmentation",
    "PerImage",
    "SatelliteDataModule",
    "StreamRecDataModule",
    "TextDataModule",
    "UnlabelledLandCoverDataModule",
    "UnlabelledTextDataModule",
]
