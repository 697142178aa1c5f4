"""`ColourStatistics`: what the colours of an image say, without any weights; a baseline for images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import write_pair
from lightning_tl.backbones.opening.weights_resolver import lasting_name
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.layer_groups import LayerGroup

_PIXELS = 64


class ColourStatistics(Backbone):
    """Statistics of each band: mean, deviation, histogram, and how much neighbouring pixels differ.

    It knows nothing of shapes, and has no weights. A linear head on it is what a pretrained network must beat before
    it has shown that it sees more than colours: `LinearProbe(ColourStatistics())`. The bands are also counted
    together, in a histogram of `joint` levels a band, where they are at most 3.

    Args:
        pretrained: a folder that `export` wrote, whose settings are taken; None for those below.
        image_size: height and width in pixels.
        channels: bands of the images.
        bins: of each band's histogram, over values from 0 to 1.
        joint: levels of a band in the histogram of all bands together.

    Raises:
        ValueError: fewer than 2 bins or levels, or fewer than 1 band or 2 pixels.
    """

    def __init__(
        self,
        pretrained: FileOrName | None = None,
        image_size: int = _PIXELS,
        channels: int = 3,
        bins: int = 16,
        joint: int = 4,
    ) -> None:
        super().__init__()
        if pretrained is not None:
            file = Path(pretrained) / "config.json"
            if not file.is_file():
                raise FileNotFoundError(f"{pretrained} has no config.json, so it is no exported ColourStatistics")
            kept = json.loads(file.read_text(encoding="utf-8"))
            image_size, channels, bins, joint = (kept[name] for name in ("image_size", "channels", "bins", "joint"))
        if min(bins, joint) < 2 or channels < 1 or image_size < 2:
            raise ValueError(
                "ColourStatistics needs at least 2 bins, 2 joint levels, 1 band and 2 pixels, "
                f"got bins {bins}, joint {joint}, channels {channels}, image_size {image_size}"
            )
        half = (0.5,) * channels
        self._spec = ImageSpec(image_size, channels, half, half)
        self._settings = {"image_size": image_size, "channels": channels, "bins": bins, "joint": joint}
        named = {} if pretrained is None else {"pretrained": lasting_name(str(pretrained))}
        self.arguments = {**named, **self._settings}
        self.feature_dim = channels * (3 + bins) + (joint**channels if channels <= 3 else 0)

    @property
    def input_spec(self) -> ImageSpec:
        """See `Backbone`."""
        return self._spec

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        values = (inputs.float() * 0.5 + 0.5).clamp(0, 1)
        flat = values.flatten(2)  # [batch, channels, pixels]
        down, right = values.diff(dim=2).abs().mean((2, 3)), values.diff(dim=3).abs().mean((2, 3))
        parts = [flat.mean(2), flat.std(2), (down + right) / 2, self._histogram(flat, "bins").flatten(1)]
        if self._spec.channels <= 3:
            levels = self._numbers(flat, "joint")
            together = levels[:, 0]
            for band in range(1, self._spec.channels):
                together = together * self._settings["joint"] + levels[:, band]
            parts.append(_shares(together, self._settings["joint"] ** self._spec.channels))
        return torch.cat(parts, 1)

    def _numbers(self, flat: Tensor, kind: str) -> Tensor:
        count = self._settings[kind]
        return (flat * count).long().clamp(max=count - 1)

    def _histogram(self, flat: Tensor, kind: str) -> Tensor:
        return _shares(self._numbers(flat, kind), self._settings[kind])

    def layer_groups(self) -> list[LayerGroup]:
        """None: there is nothing to train."""
        return []

    def reinitialise(self) -> None:
        """Nothing: there are no weights."""

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write the settings as `folder/backbone`, and the head beside them. See `Backbone`."""
        own = Path(folder) / "backbone"
        own.mkdir(parents=True, exist_ok=True)
        settings = {"model_type": "colour_statistics", **self._settings, **dataclasses.asdict(self._spec)}
        (own / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return write_pair(self, Path(folder), head, class_names)


def _shares(numbers: Tensor, count: int) -> Tensor:
    """How large a share of the last dimension has each number: [..., pixels] to [..., count]."""
    shares = torch.zeros(*numbers.shape[:-1], count, device=numbers.device)
    ones = torch.ones_like(numbers, dtype=shares.dtype) / numbers.shape[-1]
    return shares.scatter_add_(-1, numbers, ones)
