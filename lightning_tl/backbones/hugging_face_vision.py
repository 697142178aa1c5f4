"""Hugging Face vision encoders behind the backbone contract."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_tl.backbones import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face_backbone import HuggingFaceBackbone
from lightning_tl.backbones.hugging_face_export import export_hugging_face
from lightning_tl.backbones.input_adaptation import input_spec, read_statistics
from lightning_tl.backbones.weights_resolver import DEFAULT_MODEL, lasting_name, resolve_weights
from lightning_tl.batches import ImageSpec
from lightning_tl.file_or_name import FileOrName


class HuggingFaceVision(HuggingFaceBackbone):
    """A vision encoder opened by `transformers.AutoModel`: ViT, DINOv2, Swin, ConvNeXt and others built alike.

    A masked-autoencoder folder (ViTMAE) opens as the plain ViT inside it. The pooler that ViT carries for
    pretraining is left out, and DINOv2's mask token is a constant: nothing trains them, and DDP stops on such weights.

    Args:
        pretrained: a local folder, a name from the Hugging Face hub, or a model that ships with this project.
        pooling: what becomes the feature vector: `cls` the class token; `mean` the mean of the patch tokens; `auto`
            what the family's own classifier reads (ViT and DINOv2 the class token, Swin and ConvNeXt their mean).
        image_size: height and width in pixels; default the model's. Position embeddings are interpolated once, here.
        channels: bands of the images; default the model's. The first convolution is adapted: its weights are
            repeated over the bands and scaled to keep the activations' size (for one band: summed).
        mean: per channel, of values scaled to 0…1; default that of the weights' preprocessor_config.json, without
            which ImageNet's. Added channels get the average of the known ones.
        std: likewise.
        weights: False builds the architecture with fresh weights, for which config.json is enough.
        revision: branch, tag or commit on the hub.
    """

    # Where blocks lie in the models of transformers; a subclass for a model built otherwise changes it.
    block = re.compile(r"((?:.*?\.)?(?:layers?|stages)\.\d+(?:\.(?:layers|blocks)\.\d+)?)\.")

    def __init__(
        self,
        pretrained: FileOrName = DEFAULT_MODEL,
        pooling: Literal["auto", "cls", "mean"] = "auto",
        image_size: int | None = None,
        channels: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        weights: bool = True,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("auto", "cls", "mean"):
            raise ValueError(f"pooling must be auto, cls or mean, got '{pooling}'")
        folder = resolve_weights(str(pretrained), revision, weights)
        if folder.is_file():
            raise ValueError(f"{pretrained} is a file of weights; HuggingFaceVision opens a folder with a config.json")
        config = loading.vision_config(folder, pretrained)
        known = _known_input(config, folder)
        self._spec = input_spec(image_size or known.image_size, channels or known.channels, mean, std, known)
        adapted = loading.config_for(config, self._spec.image_size, self._spec.channels)
        if weights:
            self.model = loading.open_encoder(folder, pretrained, config)
            self.model = loading.adapted_encoder(self.model, adapted, known, self._spec)
        else:
            self.model = loading.new_encoder(adapted)
        self.pooling = pooling
        self.arguments = {
            "pretrained": lasting_name(str(pretrained)),
            "weights": weights,
            "pooling": pooling,
            **dataclasses.asdict(self._spec),
        }
        self.feature_dim = _feature_dim(self.model.config)
        self._has_class_token = any(name.endswith("cls_token") for name, _ in self.model.named_parameters())
        if pooling == "cls" and not self._has_class_token:
            raise ValueError(f"pooling 'cls' needs a class token, which {config.model_type} has not; use auto or mean")

    @property
    def input_spec(self) -> ImageSpec:
        """See `Backbone`."""
        return self._spec

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        outputs = self.model(pixel_values=inputs)
        hidden: Tensor = outputs.last_hidden_state  # [batch, tokens, dim], or [batch, dim, height, width]
        pooled = getattr(outputs, "pooler_output", None)
        if self.pooling == "auto" and pooled is not None:
            return pooled.flatten(1)  # type: ignore[no-any-return]
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        if self.pooling == "cls" or (self.pooling == "auto" and self._has_class_token):
            return hidden[:, 0]
        return hidden[:, self._prefix_tokens(hidden.shape[1]) :].mean(1)

    def _prefix_tokens(self, tokens: int) -> int:
        """How many tokens before the patches are none: class, distillation and register tokens."""
        if not self._has_class_token:
            return 0
        patch = self.model.config.patch_size
        patch = patch if isinstance(patch, int) else patch[0]
        return tokens - (self._spec.image_size // patch) ** 2

    def export(self, folder: Path, head: Any, class_names: Sequence[str]) -> str:
        """Write a `…ForImageClassification` folder where the head fits, else an encoder folder with the head beside it.

        See `Backbone`.
        """
        return export_hugging_face(self, Path(folder), head, class_names)


def _known_input(config: Any, folder: Path) -> ImageSpec:
    """The input that the saved weights expect."""
    size = getattr(config, "image_size", None) or 224  # fully convolutional families state none
    if not isinstance(size, int):
        if len(set(size)) > 1:
            raise ValueError(f"only square images are supported, the config's image_size is {list(size)}")
        size = size[0]
    return ImageSpec(size, config.num_channels, *read_statistics(folder, config.num_channels))


def _feature_dim(config: Any) -> int:
    sizes = getattr(config, "hidden_sizes", None)
    return int(sizes[-1]) if sizes else int(config.hidden_size)
