"""The contract that every backbone keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.added_parameters import Base
from lightning_tl.backbones.opening.band_matching import bands_of
from lightning_tl.backbones.other_sizes import check_sizes
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.feature_maps import FeatureMaps
from lightning_tl.contracts.layer_groups import LayerGroup


class Backbone(nn.Module):
    """A pretrained model without its head: inputs to one feature vector per sample.

    Attributes:
        feature_dim: length of a feature vector.
        base: what an adaptation found when it was applied; None before.
        was_trained: whether a module has trained some of it since its weights were loaded.
        arguments: by which its class builds the same backbone again, as JSON values; `pretrained` says where the
            weights were found.
        map_dims: dimensions of its feature maps, fine to coarse, where heads read these (see
            `lightning_tl.backbones.dense.give_maps`); empty where they read the pooled vector.
        map_strides: pixels of an image for each place of a map, likewise.
    """

    feature_dim: int
    arguments: dict[str, Any]
    base: Base | None = None
    was_trained = False
    map_dims: tuple[int, ...] = ()
    map_strides: tuple[float, ...] = ()

    @property
    @abstractmethod
    def input_spec(self) -> ImageSpec | TextSpec:
        """What the weights were trained with: image size, channels, mean and standard deviation, or the tokenizer."""

    def take_input(self, spec: ImageSpec) -> None:
        """From now on read images as a data module prepares them: its bands by name, its mean and deviation.

        Called before anything is adapted. A backbone that cannot be fitted to other bands refuses them.

        Raises:
            ValueError: the images have other bands than this model reads.
        """
        own = self.input_spec
        if spec.bands and isinstance(own, ImageSpec) and spec.bands != bands_of(own):
            reads = ", ".join(bands_of(own)) or f"{own.channels} channels without names"
            raise ValueError(
                f"{type(self).__name__} reads {reads} and cannot be fitted to {', '.join(spec.bands)}: take another "
                "backbone, or choose these bands"
            )

    def take_sizes(self, sides: Sequence[int]) -> None:
        """From now on `forward` also reads square images of these sides in pixels, besides its own.

        Called before anything is adapted or trained. A convolutional network can do so as it is; a transformer
        interpolates its position embeddings for each such image. A subclass that must prepare its model overrides it.

        Raises:
            ValueError: patches do not tile such an image, or the model gives no features of it.
        """
        check_sizes(self, sides)

    def example_inputs(self, count: int) -> Any:
        """Inputs of the right form with random contents, on the CPU, always the same: for checks."""
        spec = self.input_spec
        if not isinstance(spec, ImageSpec):
            raise TypeError(f"{type(self).__name__} must override example_inputs: its inputs are no images")
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, spec.channels, spec.image_size, spec.image_size, generator=generator)

    @abstractmethod
    def forward(self, inputs: Any) -> Tensor:
        """Inputs to features [batch, feature_dim].

        Images are [batch, channels, height, width], texts a `TextInputs`.
        """

    def feature_maps(self, inputs: Any) -> tuple[Tensor, ...]:
        """Images [batch, channels, height, width], normalised, to maps [batch, dim_k, height_k, width_k], finest first.

        Raises:
            ValueError: the model has none.
        """
        raise ValueError(f"{type(self).__name__} has no feature maps: it does not override feature_maps")

    def read(self, inputs: Any) -> Any:
        """What a head reads: features [batch, feature_dim]; after `give_maps`, `FeatureMaps`."""
        if not self.map_dims:
            return self(inputs)
        return FeatureMaps(self.feature_maps(inputs), tuple(inputs.shape[-2:]))

    @abstractmethod
    def layer_groups(self) -> list[LayerGroup]:
        """All parameters, each in one group, ordered from input to output."""

    @abstractmethod
    def reinitialise(self) -> None:
        """Replace the weights by a fresh draw of the architecture's own initialisation (global torch seed)."""

    def save(self, folder: Path) -> None:
        """Write the model without a head: what `pretrained=FOLDER` opens again, with what it reads.

        Args:
            folder: to write into; it is made where it is not there.

        Raises:
            ValueError: the family has no such folder.
        """
        raise ValueError(f"{type(self).__name__} has no folder of its own: it does not override save")

    @abstractmethod
    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write model and head so that the family's own loader reads them back with identical logits.

        Args:
            folder: to write into; it is made where it is not there.
            head: maps [batch, feature_dim] to [batch, num_classes].
            class_names: in the order of the logits.

        Returns:
            one line of Python that loads the folder.
        """


def take_input(backbone: Backbone, data: Any) -> None:
    """Have a backbone read the images of a data module that has been set up, where it says how it prepares them."""
    spec = getattr(data, "input_spec", None)
    if isinstance(spec, ImageSpec):
        backbone.take_input(spec)
