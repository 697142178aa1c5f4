"""Samples of a run's validation split as people send them: bytes of image files, texts, or pairs of texts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules import ImageDataModule, TextDataModule
from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.training.transfer_module import TransferModule

_LETTERS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class RawSamples:
    """Labelled samples.

    Args:
        raw: what is sent of each.
        target: [samples] class numbers of the run, or [samples, outputs] of 0 and 1 or values.
    """

    raw: list[Any]
    target: NDArray[Any]


def validation_samples(module: TransferModule, data: Any, run: RunDescription, most: int) -> RawSamples:
    """Labelled samples of the validation split, evenly taken.

    Args:
        module: whose inputs they are.
        data: the run's data module, not set up yet.
        run: what the run noted.
        most: of them.

    Raises:
        ValueError: the data are no files or texts that could be sent, or have other classes now.
        OSError: they are gone.
    """
    if not isinstance(data, ImageDataModule | TextDataModule):
        raise ValueError(f"{type(data).__name__} does not keep images or texts that could be sent")
    data.read_for(run, False)
    data.serve(Conditions.of_model(module))
    chosen = data.setup_reading("validation")
    chosen = chosen[data.records.labelled[chosen]]
    if len(chosen) == 0:
        raise ValueError("the data have no labelled samples for validation")
    if len(chosen) > most:
        chosen = chosen[np.linspace(0, len(chosen) - 1, most).astype(int)]
    numbers, records = [int(number) for number in chosen], data.records
    if isinstance(data, TextDataModule):
        texts, seconds = data.text_pairs
        raw: list[Any] = [texts[k] if seconds is None else (texts[k], seconds[k]) for k in numbers]
    else:
        raw = [_file_of(data, number) for number in numbers]
    return RawSamples(raw, _as_run(records.labels[numbers], tuple(records.class_names), run))


def _as_run(labels: NDArray[Any], names: tuple[str, ...], run: RunDescription) -> NDArray[Any]:
    """Labels by the numbers that the run's model has for them."""
    if names == run.class_names or not names:
        return labels
    if labels.ndim == 1 and set(names) <= set(run.class_names):
        return np.array([run.class_names.index(names[k]) for k in labels])
    raise ValueError("the data have other classes now than the run was trained on")


def _file_of(data: ImageDataModule, number: int) -> bytes:
    if data.records.paths is not None:
        return data.records.paths[number].read_bytes()
    return encoded(np.asarray(data.read_image(number)))


def encoded(pixels: NDArray[Any]) -> bytes:
    """An image [height, width, channels] as a file that loses nothing: PNG, or TIFF where that cannot hold it."""
    file, mode = io.BytesIO(), _LETTERS.get(pixels.shape[2])
    if mode is not None and pixels.dtype == np.uint8:
        Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels).save(file, "PNG")
    else:
        import tifffile

        tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig")
    return file.getvalue()
