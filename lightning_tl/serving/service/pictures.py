"""What the head of an image file tells, before anybody decodes it."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from lightning_tl.inputs.still_images import check_still
from lightning_tl.inputs.tiff_files import UnfitImageError
from lightning_tl.serving.answering import BadInputError


def check_picture(data: bytes, max_pixels: int) -> None:
    """Refuse an image that is empty, too large once it is decoded, or animated.

    Args:
        data: bytes of a file; of a format that Pillow does not know nothing is said here.
        max_pixels: height times width.

    Raises:
        BadInputError: see above.
    """
    if not data:
        raise BadInputError("the image is empty: there are no bytes")
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = image.size
            check_still(image)
    except Image.DecompressionBombError:
        raise BadInputError(f"the image has more than {max_pixels:,} pixels, the most that is read") from None
    except UnidentifiedImageError:
        return
    except UnfitImageError as error:
        raise BadInputError(str(error)) from None
    except Exception as error:  # Pillow's formats raise what they like on broken files
        raise BadInputError(f"the image cannot be read: {error}") from None
    if width * height > max_pixels:
        raise BadInputError(
            f"the image has {width:,} × {height:,} pixels, {max_pixels:,} at most are read: send it smaller"
        )
