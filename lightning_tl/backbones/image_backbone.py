"""`ImageBackbone`: a backbone whose first layer can be fitted to other bands."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.opening.band_matching import BandMatching, NewBands, bands_of, check_new_bands
from lightning_tl.backbones.opening.input_adaptation import input_spec, tell_of_repeating, wanted_input
from lightning_tl.contracts.batches import ImageSpec

_CONVOLUTION = 4  # dimensions of its weights


class ImageBackbone(Backbone):
    """Base of the backbones that read images: a model in `model`, and in `_spec` what it reads.

    Attributes:
        new_bands: how bands begin that the weights do not know, see `BandMatching`.
    """

    _spec: ImageSpec
    model: Any
    new_bands: NewBands | None = None

    # ---------------------------------------------------------------- steps of a constructor, in their order

    def begin_bands(
        self,
        bands: Sequence[str] | None,
        weight_bands: Sequence[str] | None,
        new_bands: NewBands | None,
        channels: int | None,
    ) -> None:
        """Keep what was asked for.

        Raises:
            ValueError: `channels` is not the number of `bands`, or `new_bands` is nothing known.
        """
        check_new_bands(new_bands)
        self._asked_bands = tuple(bands or ())
        self._given_bands = tuple(weight_bands or ())
        self.new_bands = new_bands
        if self._asked_bands and channels not in (None, len(self._asked_bands)):
            raise ValueError(f"channels is {channels}, but bands names {len(self._asked_bands)}: leave channels out")

    def known_bands(self, known: ImageSpec, said: tuple[str, ...]) -> ImageSpec:
        """What the weights read, with the bands as given, or as their folder says.

        Raises:
            ValueError: another number of bands than the weights have.
        """
        names = self._given_bands or said
        if names and len(names) != known.channels:
            where = "weight_bands names" if self._given_bands else "the folder of the weights names"
            raise ValueError(f"{where} {len(names)} bands, but the weights read {known.channels} channels")
        return replace(known, bands=names)

    def first_input(
        self,
        image_size: int | None,
        channels: int | None,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        known: ImageSpec,
        weights: bool,
    ) -> ImageSpec:
        """What the model reads before its first layer is matched by band."""
        if self._asked_bands:
            return input_spec(*wanted_input(image_size, None, known), None, None, known)
        tell_of_repeating(known, channels or known.channels, weights)
        return input_spec(*wanted_input(image_size, channels, known), mean, std, known)

    def input_arguments(self) -> dict[str, Any]:
        """Those arguments that say what is read, for `arguments`."""
        return {**asdict(self._spec), "weight_bands": self._given_bands or None, "new_bands": self.new_bands}

    def end_bands(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Match the first layer to the bands that were asked for."""
        if self._asked_bands:
            self._take_bands(self._asked_bands)
            own = self._spec
            self._read(input_spec(own.image_size, own.channels, mean, std, own))

    # ---------------------------------------------------------------- what it reads

    @property
    def input_spec(self) -> ImageSpec:
        """See `Backbone`."""
        return self._spec

    @abstractmethod
    def fresh_model(self, channels: int) -> Any:
        """The architecture with fresh weights for images of so many bands."""

    @abstractmethod
    def try_model(self) -> int:
        """Run `model` once, make constants of what gets no gradient, and say how long its features are."""

    def take_input(self, spec: ImageSpec) -> None:
        """See `Backbone`: the first layer is matched by band where the images name theirs."""
        if spec.bands and spec.bands != self._spec.bands:
            self._take_bands(spec.bands)
        if spec.channels == self._spec.channels:
            self._read(replace(self._spec, mean=spec.mean, std=spec.std))

    def _take_bands(self, bands: tuple[str, ...]) -> None:
        if self.base is not None or self.was_trained:
            raise ValueError(
                f"the backbone was adapted to the bands {', '.join(bands_of(self._spec)) or 'of its weights'} and "
                f"cannot change to {', '.join(bands)}: build it anew"
            )
        match = BandMatching(bands_of(self._spec), bands, self.new_bands)
        if match.known == match.wanted:
            self._read(replace(self._spec, bands=bands))
            return
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            target = self.fresh_model(len(bands))
            fresh, state = target.state_dict(), self.model.state_dict()
            wider = self.fresh_model(len(bands) + 1).state_dict()
            for key in (key for key, value in fresh.items() if value.shape != wider[key].shape):
                if fresh[key].ndim != _CONVOLUTION or state[key].shape[1] != len(match.known):
                    raise ValueError(
                        f"{key} of shape {list(state[key].shape)} depends on the bands and is no first convolution: "
                        f"{type(self.model).__name__} cannot be matched by band"
                    )
                state[key] = match.weight(state[key], fresh[key])
            target.load_state_dict(state)
            self.model = target.train(self.model.training)
            values = match.values(self._spec.mean), match.values(self._spec.std)
            self._read(ImageSpec(self._spec.image_size, len(bands), *values, bands))
            self.feature_dim = self.try_model()
        rank_zero_info(match.told())

    def _read(self, spec: ImageSpec) -> None:
        self._spec = spec
        self.arguments = {**self.arguments, **asdict(spec)}
