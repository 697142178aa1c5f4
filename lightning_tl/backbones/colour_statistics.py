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

_PIXELS = 32


class ColourStatistics(Backbone):
    """Mean and deviation of each band, its mean at the centre, and their squares and products.

    It knows nothing of shapes, and has no weights. A linear head on it, which sees a quadratic function of colours, is
    what a pretrained network must beat before it has shown that it sees more: `LinearProbe(ColourStatistics())`.

    Args:
        pretrained: a folder that `export` wrote, whose settings are taken; None for those below.
        image_size: height and width in pixels; the centre is a square of a quarter of it.
        channels: bands of the images.

    Raises:
        ValueError: fewer than 1 band or 4 pixels.
    """

    def __init__(self, pretrained: FileOrName | None = None, image_size: int = _PIXELS, channels: int = 3) -> None:
        super().__init__()
        if pretrained is not None:
            file = Path(pretrained) / "config.json"
            if not file.is_file():
                raise FileNotFoundError(f"{pretrained} has no config.json, so it is no exported ColourStatistics")
            kept = json.loads(file.read_text(encoding="utf-8"))
            image_size, channels = kept["image_size"], kept["channels"]
        if channels < 1 or image_size < 4:
            raise ValueError(
                f"ColourStatistics needs at least 1 band and 4 pixels, got channels {channels}, image_size {image_size}"
            )
        named = {} if pretrained is None else {"pretrained": lasting_name(str(pretrained))}
        self.arguments = {**named, "image_size": image_size, "channels": channels}
        self._spec = ImageSpec(image_size, 1, (0.5,), (0.5,))
        self._read(channels)

    @property
    def input_spec(self) -> ImageSpec:
        """See `Backbone`."""
        return self._spec

    def take_input(self, spec: ImageSpec) -> None:
        """See `Backbone`: any bands will do."""
        if spec.bands and spec.channels != self._spec.channels:
            self._read(spec.channels)

    def _read(self, channels: int) -> None:
        half = (0.5,) * channels
        self._spec = ImageSpec(self._spec.image_size, channels, half, half)
        self.arguments["channels"] = channels
        count = 3 * channels
        self.feature_dim = count + count * (count + 1) // 2

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        values = inputs.float() * 0.5 + 0.5
        side = values.shape[-1]
        first, last = (side - side // 4) // 2, (side - side // 4) // 2 + side // 4
        centre = values[..., first:last, first:last]
        plain = torch.cat([values.mean((2, 3)), values.flatten(2).std(2), centre.mean((2, 3))], 1)
        rows, columns = torch.triu_indices(plain.shape[1], plain.shape[1])
        return torch.cat([plain, plain[:, rows] * plain[:, columns]], 1)

    def layer_groups(self) -> list[LayerGroup]:
        """None: there is nothing to train."""
        return []

    def reinitialise(self) -> None:
        """Nothing: there are no weights."""

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write the settings as `folder/backbone`, and the head beside them. See `Backbone`."""
        own = Path(folder) / "backbone"
        own.mkdir(parents=True, exist_ok=True)
        settings = {"model_type": "colour_statistics", **dataclasses.asdict(self._spec)}
        (own / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return write_pair(self, Path(folder), head, class_names)
