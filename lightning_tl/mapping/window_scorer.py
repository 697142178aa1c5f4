"""`WindowScorer`: a trained module that is asked about windows of a scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.inputs.resizing import resized_pixels
from lightning_tl.mapping.scene_source import Pixels
from lightning_tl.training.calibration import divided
from lightning_tl.training.transfer_module import TransferModule


class WindowScorer:
    """Brings windows to the model's size, normalises them and asks for probabilities, as prediction does.

    On the CPU it computes with one thread: with more the last bits would depend on how many there are, and so the map
    on the machine and the number of processes.

    Args:
        module: trained, with its weights.
        spec: what its backbone reads.
        device: where it computes.
        batch_size: windows at once.
    """

    def __init__(self, module: TransferModule, spec: ImageSpec, device: torch.device, batch_size: int) -> None:
        self.module, self.spec, self.device, self.batch_size = module.to(device).eval(), spec, device, batch_size
        self.mean = torch.tensor(spec.mean).view(-1, 1, 1)
        self.std = torch.tensor(spec.std).view(-1, 1, 1)

    def __call__(self, windows: list[Pixels]) -> Iterator[NDArray[np.float32]]:
        """Probabilities of each window: [classes], or [classes, height, width] of a dense model.

        Args:
            windows: [side, side, channels] each.
        """
        with _one_thread(self.device):
            for start in range(0, len(windows), self.batch_size):
                yield from self._scored(windows[start : start + self.batch_size])

    def _scored(self, windows: list[Pixels]) -> NDArray[np.float32]:
        size = self.spec.image_size
        images = torch.stack([_tensor(resized_pixels(each, size)) for each in windows])
        inputs = ((images - self.mean) / self.std).to(self.device)
        with torch.inference_mode():
            logits = divided(self.module(inputs), self.module.calibration_temperature)
            found = self.module.probabilities(logits).float()
            side = windows[0].shape[0]
            if found.ndim == 4 and found.shape[-1] != side:  # of windows that were brought to another size
                found = functional.interpolate(found, size=(side, side), mode="bilinear", align_corners=False)
            answers: NDArray[np.float32] = found.cpu().numpy()
        return answers


def _tensor(pixels: Pixels) -> torch.Tensor:
    """[channels, height, width] in 0…1."""
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return image.float() / 255 if image.dtype == torch.uint8 else image


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
