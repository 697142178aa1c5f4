"""The file that tells Hugging Face how an image becomes a model's input."""

from __future__ import annotations

import json
from pathlib import Path

from lightning_tl.batches import ImageSpec

_BICUBIC = 3  # Pillow's number


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
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")
