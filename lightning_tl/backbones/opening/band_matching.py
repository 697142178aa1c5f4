"""Fit a first layer to other bands by what the bands are, never by where they stand."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_tl.contracts.batches import ImageSpec

NewBands = Literal["mean", "zero", "fresh", "repeat"]
RGB = ("red", "green", "blue")


def bands_of(spec: ImageSpec) -> tuple[str, ...]:
    """What the channels are: as the spec names them, red, green and blue of three that it does not, else nothing."""
    return spec.bands or (RGB if spec.channels == len(RGB) else ())


def check_new_bands(given: str | None) -> None:
    """Refuse what is no `NewBands`.

    Raises:
        ValueError: naming those that are.
    """
    if given is not None and given not in get_args(NewBands):
        near = difflib.get_close_matches(given, get_args(NewBands), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"new_bands must be one of {', '.join(get_args(NewBands))}, got '{given}'{hint}")


@dataclass(frozen=True)
class BandMatching:
    """Which input of a first layer becomes which.

    Weights for red, green and blue are fitted to any bands. Weights that name bands of their own were trained for
    these, so that others are refused unless `new_bands` says how they begin.

    Args:
        known: the bands that the weights were trained with, in order.
        wanted: the bands of the images, in order.
        new_bands: how bands begin that the weights do not know: with the mean of the known ones' weights, with zeros,
            with fresh weights; or `repeat`: all bands get the known weights in turn, whatever they are. Default mean.

    Raises:
        ValueError: the weights do not say what their bands are, or the bands are not those of the weights.
    """

    known: tuple[str, ...]
    wanted: tuple[str, ...]
    new_bands: NewBands | None = None

    def __post_init__(self) -> None:
        check_new_bands(self.new_bands)
        if not self.known:
            raise ValueError(
                "the weights do not say which bands they were trained with: name them in order with weight_bands, "
                "or as a list 'bands' in the folder's preprocessor_config.json"
            )
        lacking, new = self.lacking, self.new
        if self.known != RGB and self.new_bands is None and (lacking or new):
            raise ValueError(
                f"the weights were trained with the bands {', '.join(self.known)}, but the images have "
                f"{', '.join(self.wanted)}"
                + (f": without {', '.join(lacking)}" if lacking else "")
                + (f"{' and' if lacking else ':'} with {', '.join(new)}" if new else "")
                + ". Choose these bands of the data, or set new_bands (mean, zero or fresh) to fit the first layer to "
                "the images"
            )

    @property
    def lacking(self) -> tuple[str, ...]:
        """Known bands that the images do not have."""
        return tuple(band for band in self.known if band not in self.wanted)

    @property
    def new(self) -> tuple[str, ...]:
        """Bands of the images that the weights do not know."""
        return tuple(band for band in self.wanted if band not in self.known)

    def weight(self, weight: Tensor, fresh: Tensor) -> Tensor:
        """The first convolution for the wanted bands.

        With `mean` and `repeat` all are scaled by known / wanted, so that activations keep their size, as timm does.

        Args:
            weight: [out, known, height, width].
            fresh: [out, wanted, height, width], freshly drawn.

        Returns:
            [out, wanted, height, width].
        """
        known, wanted = len(self.known), len(self.wanted)
        if self.new_bands == "repeat":
            return weight.repeat(1, -(-wanted // known), 1, 1)[:, :wanted] * (known / wanted)
        start = {"zero": torch.zeros_like(fresh), "fresh": fresh}.get(
            self.new_bands or "mean", weight.mean(1, keepdim=True).expand_as(fresh)
        )
        rows = [
            weight[:, self.known.index(band)] if band in self.known else start[:, place]
            for place, band in enumerate(self.wanted)
        ]
        scale = known / wanted if self.new and self.new_bands in (None, "mean") else 1.0
        return torch.stack(rows, 1).to(weight.dtype) * scale

    def values(self, known: Sequence[float]) -> tuple[float, ...]:
        """Means or deviations for the wanted bands: those of the known ones, and their average for the others."""
        average = sum(known) / len(known)
        return tuple(known[self.known.index(band)] if band in self.known else average for band in self.wanted)

    def told(self) -> str:
        """What was done, in a sentence."""
        if self.new_bands == "repeat":
            return f"The weights of {', '.join(self.known)} are repeated over {', '.join(self.wanted)} by position"
        kept = [band for band in self.wanted if band in self.known]
        if not kept:
            return (
                f"None of the bands {', '.join(self.known)} that the weights know is among {', '.join(self.wanted)}: "
                "the first layer begins without what it learned of them. Where bands are called after a sensor, name "
                "it (data.sensor), so that red is known as red"
            )
        starts = {"zero": "start at zero", "fresh": "start afresh"}.get(self.new_bands or "mean", "start from the mean")
        parts = [f"{', '.join(kept)} keep their weights" if kept else ""]
        parts += [f"new bands ({', '.join(self.new)}) {starts}" if self.new else ""]
        parts += [f"those of {', '.join(self.lacking)} are dropped" if self.lacking else ""]
        return f"The first layer is matched by band: {'; '.join(part for part in parts if part)}"
