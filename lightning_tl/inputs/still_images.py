"""Files that hold one picture, and files that move."""

from __future__ import annotations

from PIL import Image

from lightning_tl.inputs.tiff_files import UnfitImageError

_ONE_IN_SEVERAL = {"MPO", "PSD", "TIFF"}  # a camera's previews, layers beside their sum, overviews: the first is meant


def check_still(file: Image.Image) -> None:
    """Refuse a file that moves, such as an animated GIF, PNG or WebP: which of its pictures is meant nobody said.

    Args:
        file: as Pillow opened it.

    Raises:
        UnfitImageError: it holds several pictures.
    """
    count = int(getattr(file, "n_frames", 1))
    if count > 1 and file.format not in _ONE_IN_SEVERAL:
        raise UnfitImageError(f"the image moves: it has {count:,} pictures, and the model reads one: send one of them")
