"""Hugging Face vision encoders behind the backbone contract."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_tl.backbones.dense.hidden_states import maps_of
from lightning_tl.backbones.hugging_face.hugging_face_backbone import HuggingFaceBackbone
from lightning_tl.backbones.hugging_face.images.hugging_face_export import export_hugging_face, save_hugging_face
from lightning_tl.backbones.hugging_face.images.model_inputs import model_inputs
from lightning_tl.backbones.hugging_face.images.vision_config import config_for, known_input, vision_config
from lightning_tl.backbones.hugging_face.images.vision_family import VisionFamily
from lightning_tl.backbones.image_backbone import ImageBackbone
from lightning_tl.backbones.one_run import make_constant, trial
from lightning_tl.backbones.opening.band_matching import NewBands
from lightning_tl.backbones.opening.input_adaptation import adapt_state
from lightning_tl.backbones.opening.preprocessor import read_preparation
from lightning_tl.backbones.opening.weights_resolver import DEFAULT_MODEL, lasting_name, resolve_weights
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.file_or_name import FileOrName

_CLASS_TOKENS = ("cls_token", "class_embedding")


class HuggingFaceVision(ImageBackbone, HuggingFaceBackbone):
    """A vision encoder of transformers: ViT, DINOv2, Swin, ConvNeXt, EfficientNet and whatever else reads pixels.

    A masked-autoencoder folder (ViTMAE) opens as the plain ViT inside it, CLIP and SigLIP as their image tower, a
    family whose classifier has more than an encoder and a linear layer (PoolFormer, CvT) as that classifier without
    the layer. The pooler that ViT carries for pretraining is left out, and what else training cannot reach, such as
    DINOv2's mask token, is a constant: DDP stops on such weights.

    Args:
        pretrained: a local folder, a name from the Hugging Face hub, or a model that ships with this project.
        pooling: what becomes the feature vector: `cls` the class token; `mean` the mean of the patch tokens; `auto`
            what the family's own classifier reads (ViT and DINOv2 the class token, Swin and ConvNeXt their mean);
            of CLIP and SigLIP what their texts are compared with, before its projection.
        image_size: height and width in pixels; default the model's (preprocessor_config.json's where no weight
            depends on it). Position embeddings are interpolated once, here.
        channels: bands of the images; default the model's. The first convolution is adapted: its weights are
            repeated over the bands and scaled to keep the activations' size (for one band: summed).
        mean: per channel, of values scaled to 0…1; default that of the weights' preprocessor_config.json, without
            which ImageNet's. Added channels get the average of the known ones.
        std: likewise.
        weights: False builds the architecture with fresh weights, for which config.json is enough.
        revision: branch, tag or commit on the hub.
        bands: what the channels are, in order, by common names ("red", "nir", "swir16"): the first layer is matched by
            band (see `BandMatching`); default what the data module says of its images.
        weight_bands: what the weights were trained with, in order; default the folder's `bands`, and red, green and
            blue of three.
        new_bands: how bands begin that the weights do not know: "mean", "zero", "fresh", or "repeat" for all.
    """

    # Where blocks lie in the models of transformers; a subclass for a model built otherwise changes it.
    _any_size = False
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
        bands: tuple[str, ...] | None = None,
        weight_bands: tuple[str, ...] | None = None,
        new_bands: NewBands | None = None,
    ) -> None:
        super().__init__()
        if pooling not in ("auto", "cls", "mean"):
            raise ValueError(f"pooling must be auto, cls or mean, got '{pooling}'")
        folder = resolve_weights(str(pretrained), revision, weights)
        if folder.is_file():
            raise ValueError(f"{pretrained} is a file of weights; HuggingFaceVision opens a folder with a config.json")
        config = vision_config(folder, pretrained)
        self.begin_bands(bands, weight_bands, new_bands, channels)
        known = self.known_bands(known_input(config, folder), read_preparation(folder).bands)
        self._spec = self.first_input(image_size, channels, mean, std, known, weights)
        self.pooling = pooling
        self._family = VisionFamily(config, tokens=pooling != "auto")
        adapted = self._family.built_for(config_for(config, known, self._spec.image_size, self._spec.channels))
        with torch.inference_mode(False):  # also where a test makes one: its graph is followed
            self.model = self._open(folder, str(pretrained), adapted, known) if weights else adapted.fresh()
        self.arguments = {
            "pretrained": lasting_name(str(pretrained)),
            "weights": weights,
            "pooling": pooling,
            **self.input_arguments(),
        }
        self._has_class_token = any(name.endswith(_CLASS_TOKENS) for name, _ in self.model.named_parameters())
        if pooling == "cls" and not self._has_class_token:
            raise ValueError(f"pooling 'cls' needs a class token, which {config.model_type} has not; use auto or mean")
        with torch.inference_mode(False):
            self.feature_dim = self.try_model()
        self.end_bands(mean, std)
        _tell_of_cropping(str(pretrained), folder)

    def _open(self, folder: Path, name: str, adapted: VisionFamily, known: ImageSpec) -> Any:
        """The model with the weights of `folder`, for the input that is wanted."""
        model = self._family.open(folder, name)
        if (known.image_size, known.channels) == (self._spec.image_size, self._spec.channels):
            return model
        target = adapted.fresh()
        target.load_state_dict(adapt_state(model.state_dict(), target.state_dict(), known, self._spec))
        return target

    def fresh_model(self, channels: int) -> Any:
        """See `ImageBackbone`."""
        config = config_for(self.model.config, self._spec, self._spec.image_size, channels)
        return self._family.built_for(config).fresh()

    def try_model(self) -> int:
        """Run the model once; what would get no gradient becomes a constant.

        Such weights (what a model has for pretraining alone) train nothing and stop DDP.

        Returns:
            the length of the features.

        Raises:
            ValueError: the model does not take such images.
        """
        spec, name = self._spec, self.arguments["pretrained"]
        shape = (1, spec.channels, spec.image_size, spec.image_size)
        try:
            with torch.random.fork_rng(devices=[]):
                found = trial(self.model, self._features, shape)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ValueError(
                f"{name}, a '{self.model.config.model_type}' model, gives no features of images of "
                f"{spec.image_size} x {spec.image_size} pixels: {reason}"
            ) from None
        make_constant(self.model, found.unused)
        self.called = found.called
        return found.feature_dim

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        return self._features(self.model, inputs)

    def _features(self, model: Any, inputs: Tensor) -> Tensor:
        outputs = model(**model_inputs(model, inputs, self._resizes(inputs)))
        if self._family.whole:
            read: Tensor | None = getattr(outputs, "logits", None)
            return (outputs.last_hidden_state if read is None else read).flatten(1)  # PP-LCNet calls its logits so
        hidden: Tensor = outputs.last_hidden_state  # [batch, tokens, dim], or [batch, dim, height, width]
        pooled = getattr(outputs, "pooler_output", None)
        if self.pooling == "auto" and pooled is not None and (pooled.ndim == 2 or pooled.shape[2:].numel() == 1):
            return pooled.flatten(1)  # type: ignore[no-any-return]
        if hidden.ndim == 4:
            return hidden.mean((2, 3))
        if self.pooling == "cls" or (self.pooling == "auto" and self._has_class_token):
            return hidden[:, 0]
        return hidden[:, self._prefix_tokens(hidden.shape[1], inputs.shape[-1]) :].mean(1)

    def take_sizes(self, sides: Sequence[int]) -> None:
        """See `Backbone`."""
        self._any_size = True
        super().take_sizes(sides)

    def _resizes(self, images: Tensor) -> bool:
        return self._any_size and images.shape[-1] != self._spec.image_size

    def feature_maps(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The patches of the last layer as a map, behind its norm; of a model with stages, each stage's last layer.

        See `Backbone`.
        """
        outputs = self.model(**model_inputs(self.model, inputs), output_hidden_states=True)
        patch = getattr(self.model.config, "patch_size", 1)
        return maps_of(outputs, patch, inputs.shape[2], inputs.shape[3])

    def _prefix_tokens(self, tokens: int, side: int) -> int:
        """How many tokens before the patches of an image are none: class, distillation and register tokens."""
        if not self._has_class_token:
            return 0
        patch = self.model.config.patch_size
        patch = patch if isinstance(patch, int) else patch[0]
        return tokens - (side // patch) ** 2

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(VisionFamily(self.model.config, self.pooling != "auto").fresh().state_dict())

    def save(self, folder: Path) -> None:
        """See `Backbone`: a folder of transformers."""
        save_hugging_face(self, Path(folder))

    def export(self, folder: Path, head: Any, class_names: Sequence[str]) -> str:
        """Write a `…ForImageClassification` folder where the head fits, else an encoder folder with the head beside it.

        See `Backbone`.
        """
        return export_hugging_face(self, Path(folder), head, class_names)


def _tell_of_cropping(name: str, folder: Path) -> None:
    middle = read_preparation(folder).middle
    if middle < 1:
        rank_zero_info(
            f"The weights of {name} were tested on the middle {middle:.0%} of the side of an image; here an image's "
            "shorter side is seen whole"
        )
