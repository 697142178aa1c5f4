"""`ImageTextPair`: the images of a model that `lightning_tl.pretraining.Clip` wrote, with texts in the same space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import write_pair
from lightning_tl.backbones.hugging_face.dual_encoder import DESCRIPTION, DualEncoder
from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText
from lightning_tl.backbones.opening.weights_resolver import lasting_name
from lightning_tl.contracts.batches import ImageSpec, TextSpec
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.layer_groups import LayerGroup


class ImageTextPair(Backbone):
    """The image tower of a folder that `lightning_tl.pretraining.Clip` wrote, projection included, of any family.

    `HuggingFaceCLIP` opens such a folder where transformers has one model for both towers. This opens all: images by
    timm or torchvision, texts by the mean of their tokens.

    The text tower is no part of the module: `embed_texts` opens it, embeds and lets it go, so that only what images
    pass through is counted, trained and exported.

    Args:
        pretrained: the folder, such as `RUN_FOLDER/model`.
        weights: False builds the image tower and its projection with fresh weights.

    Attributes:
        temperature: that of the training; None with fresh weights.
    """

    temperature: float | None

    def __init__(self, pretrained: FileOrName, weights: bool = True) -> None:
        super().__init__()
        folder = Path(pretrained).expanduser()
        if not DualEncoder.is_folder(str(pretrained)):
            raise FileNotFoundError(
                f"{folder} has no {DESCRIPTION}: ImageTextPair opens what lightning_tl.pretraining.Clip wrote, "
                "such as RUN_FOLDER/model; a model of transformers is opened by HuggingFaceCLIP"
            )
        self._folder: Path | None = folder  # where the text tower is
        with torch.inference_mode(False):  # also where a test makes one: its graph is followed
            whole = DualEncoder.open(folder)
        self.image, self.projection = whole.image, whole.image_projection
        self.feature_dim = int(self.projection.out_features)
        self.temperature = math.exp(-float(whole.log_scale))
        self.arguments = {"pretrained": lasting_name(str(pretrained)), "weights": weights}
        if not weights:
            self.reinitialise()

    @property
    def input_spec(self) -> ImageSpec | TextSpec:
        """See `Backbone`."""
        return self.image.input_spec

    def take_input(self, spec: ImageSpec) -> None:
        """See `Backbone`; of other bands its texts would say nothing."""
        super().take_input(spec)
        self.image.take_input(spec)

    def take_sizes(self, sides: Sequence[int]) -> None:
        """See `Backbone`."""
        self.image.take_sizes(sides)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]: not of length 1."""
        projected: Tensor = self.projection(self.image(inputs))
        return projected

    def feature_maps(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Those of the image tower. See `Backbone`."""
        return self.image.feature_maps(inputs)

    def layer_groups(self) -> list[LayerGroup]:
        """Those of the image tower; the projection goes with the last."""
        *first, last = (group.prefixed("image") for group in self.image.layer_groups())
        names = last.parameter_names | {"projection.weight"}
        return [*first, LayerGroup(last.name, names, (*last.modules, self.projection))]

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See `EmbedsTexts`; on the CPU, by the text tower as it was trained beside the images."""
        with torch.device("cpu"), torch.no_grad():
            tower, projection = self._texts()
            found: Tensor = projection(tower.eval().embed_texts(texts))
            return found

    def _texts(self) -> tuple[HuggingFaceText, nn.Linear]:
        if self._folder is None:
            raise ValueError(
                f"ImageTextPair cannot embed texts with {self.arguments['pretrained']}: its image tower has fresh "
                "weights; set weights to true"
            )
        tower = DualEncoder.open_tower(self._folder, "text")
        assert isinstance(tower, HuggingFaceText), "checked by open_tower"
        return tower, DualEncoder.open_projections(self._folder, self.projection.in_features, tower.feature_dim)[1]

    def reinitialise(self) -> None:
        """See `Backbone`. Texts then have no place among the features."""
        self.image.reinitialise()
        nn.init.normal_(self.projection.weight, std=self.projection.in_features**-0.5)
        self._folder = self.temperature = None

    def save(self, folder: Path) -> None:
        """See `Backbone`: with the texts as they were trained.

        Raises:
            ValueError: there are none, as the weights are fresh.
        """
        tower, projection = self._texts()
        scale = torch.tensor(-math.log(self.temperature or 1.0))
        DualEncoder(self.image, tower, self.projection, projection, scale).save(Path(folder))

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write towers and projections with the head beside them. See `Backbone`."""
        self.save(Path(folder) / "backbone")
        return write_pair(self, Path(folder), head, class_names)
