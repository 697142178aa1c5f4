"""Data modules for `lightning_tl`: images, and the small data sets that ship."""

from datamodules.earth.earth_data import EarthDataModule
from datamodules.earth.unlabelled_earth import UnlabelledEarthDataModule
from datamodules.events.interaction_data import InteractionDataModule
from datamodules.images.augmentation import Augmentation, OverheadAugmentation, PerImage
from datamodules.images.image_augmentation import ImageAugmentation
from datamodules.images.image_data import ImageDataModule
from datamodules.images.image_folder import ImageFolderDataModule
from datamodules.images.image_manifest import ManifestDataModule
from datamodules.images.unlabelled_images import UnlabelledImagesDataModule
from datamodules.images.view_augmentation import ViewAugmentation
from datamodules.masks.earth_segmentation_data import EarthSegmentationDataModule
from datamodules.masks.segmentation_data import SegmentationDataModule
from datamodules.pairs.captioned_images import CaptionedImagesDataModule
from datamodules.sets.captioned_land_cover import CaptionedLandCoverDataModule
from datamodules.sets.eurosat import EuroSATDataModule
from datamodules.sets.movielens import MovieLensDataModule
from datamodules.sets.satellite import SatelliteDataModule
from datamodules.sets.streamrec_data import StreamRecDataModule
from datamodules.sets.unlabelled_land_cover import UnlabelledLandCoverDataModule
from datamodules.texts.text_data import TextDataModule
from datamodules.texts.unlabelled_text import UnlabelledTextDataModule

__all__ = [
    "Augmentation",
    "CaptionedImagesDataModule",
    "CaptionedLandCoverDataModule",
    "EarthDataModule",
    "EarthSegmentationDataModule",
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
    "SegmentationDataModule",
    "StreamRecDataModule",
    "TextDataModule",
    "UnlabelledEarthDataModule",
    "UnlabelledImagesDataModule",
    "UnlabelledLandCoverDataModule",
    "UnlabelledTextDataModule",
    "ViewAugmentation",
]
