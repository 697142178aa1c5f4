"""The file that tells Hugging Face how an image becomes a model's input, written and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_tl.contracts.batches import ImageSpec

WHOLE_PROCESSOR = "processor_config.json"  # where a processor of images and texts was saved
_BICUBIC = 3  # Pillow's number


@dataclass(frozen=True)
class Preparation:
    """What a folder says of its images.

    Args:
        image_size: height and width in pixels of what the model sees; None where the folder does not say.
        middle: share of the resized image's side that is kept when its centre is cut out, in (0, 1].
        mean: of values scaled to 0…1, per channel; None where the folder does not say.
        std: likewise.
        normalize: whether mean and std are applied.
        bands: what the channels are, in order; empty where the folder does not say.
    """

    image_size: int | None = None
    middle: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    normalize: bool = True
    bands: tuple[str, ...] = ()


def read_preparation(folder: Path) -> Preparation:
    """What preprocessor_config.json says, or the image processor's part of processor_config.json.

    Raises:
        ValueError: the file is damaged, or wants images that are not square.
    """
    settings = _settings(folder)
    size, crop = _side(settings.get("size"), folder), _side(settings.get("crop_size"), folder)
    # What ConvNextImageProcessor does below 384 pixels, and the others by two sizes: resize, then cut the centre out.
    middle = settings.get("crop_pct") or 1.0
    middle = 1.0 if size is None or (crop is None and size >= 384) else float(middle)
    if crop is not None and settings.get("do_center_crop", True):
        middle = middle if size is None or size <= crop else crop / size
        size = crop
    return Preparation(
        size,
        min(middle, 1.0),
        _values(settings.get("image_mean")),
        _values(settings.get("image_std")),
        settings.get("do_normalize", True) is not False,
        _named(settings.get("bands"), folder),
    )


def _named(bands: Any, folder: Path) -> tuple[str, ...]:
    if bands is None:
        return ()
    if not isinstance(bands, list) or not all(isinstance(band, str) for band in bands):
        raise ValueError(f"the bands in {folder / 'preprocessor_config.json'} must be a list of names, got {bands}")
    return tuple(bands)


def _settings(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", WHOLE_PROCESSOR):
        if not (folder / name).is_file():
            continue
        try:
            found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{folder / name} is damaged: {error}") from None
        if not isinstance(found, dict) or not isinstance(found.get("crop_pct") or 1.0, (int, float)):
            raise ValueError(f"{folder / name} is damaged: it is no table of settings, or its crop_pct is no number")
        return found if name != WHOLE_PROCESSOR else found.get("image_processor") or {}
    return {}


def _side(size: Any, folder: Path) -> int | None:
    """Pixels of a side: a number, or what a table of sides says."""
    if isinstance(size, dict):
        sides = {int(size[key]) for key in ("height", "width") if size.get(key)}
        if len(sides) > 1:
            raise ValueError(f"only square images are supported, the weights in {folder} expect {size}")
        size = sides.pop() if sides else size.get("shortest_edge")
    elif isinstance(size, (list, tuple)):
        size = size[0] if len(set(size)) == 1 else None
    return int(size) if isinstance(size, (int, float)) and size else None


def _values(value: Any) -> tuple[float, ...] | None:
    if value is None or value == []:
        return None
    return (float(value),) if isinstance(value, (int, float)) else tuple(float(v) for v in value)


def write_preprocessor(folder: Path, spec: ImageSpec) -> None:
    """Write preprocessor_config.json for the same preparation as `datamodules` does.

    The shorter side is brought to the image size (bicubic), the centre is cut out, values are scaled to 0…1 and
    normalised.
    """
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": spec.image_size},
        "resample": _BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": spec.image_size, "width": spec.image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
        **({"bands": list(spec.bands)} if spec.bands else {}),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
