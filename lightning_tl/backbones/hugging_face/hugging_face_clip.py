"""The image tower of CLIP and SigLIP behind the backbone contract, with texts in the same space."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.exporting.exported import write_pair
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.dual_encoder import DualEncoder
from lightning_tl.backbones.hugging_face.dual_tower import DualTower
from lightning_tl.backbones.hugging_face.hugging_face_backbone import HuggingFaceBackbone
from lightning_tl.backbones.opening.input_adaptation import STATISTICS, read_statistics
from lightning_tl.backbones.opening.preprocessor import WHOLE_PROCESSOR, write_preprocessor
from lightning_tl.backbones.opening.weights_resolver import (
    DEFAULT_MODEL,
    TOKENIZER_FILES,
    lasting_name,
    resolve_weights,
)
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.file_or_name import FileOrName

_DUAL = "vision-text-dual-encoder"
_KINDS = re.compile(rf"(clip|siglip)(_vision_model)?|{_DUAL}")
_AT_ONCE = 64  # texts embedded at once


class HuggingFaceCLIP(HuggingFaceBackbone):
    """The image tower of CLIP (Radford et al., 2021) or SigLIP (Zhai et al., 2023), projection included.

    Also that of a `VisionTextDualEncoderModel`, as `lightning_tl.pretraining.Clip` writes it.

    The text tower is no part of the module: `embed_texts` opens it, embeds and lets it go, so that only what images
    pass through is counted, trained and exported. All weights of both towers are checked here.

    Args:
        pretrained: a local folder or a name from the Hugging Face hub, such as `openai/clip-vit-base-patch32`; also a
            folder with the image tower alone (`CLIPVisionModelWithProjection`, `SiglipVisionModel`).
        weights: False builds the image tower with fresh weights, for which config.json is enough.
        revision: branch, tag or commit on the hub.

    Attributes:
        temperature: 1 / exp(logit scale) of the weights; None without a text tower.
    """

    _any_size = False
    block = re.compile(r"((?:.*?\.)?layers?\.\d+)\.")
    temperature: float | None

    def __init__(self, pretrained: FileOrName, weights: bool = True, revision: str | None = None) -> None:
        super().__init__()
        name, also = str(pretrained), (*TOKENIZER_FILES, WHOLE_PROCESSOR)
        _check_is_one_model(name)
        folder = resolve_weights(name, revision, weights, also, f"{DEFAULT_MODEL}, with HuggingFaceVision")
        if folder.is_file():
            raise ValueError(f"{name} is a file of weights; HuggingFaceCLIP opens a folder with a config.json")
        config = loading.read_config(folder, name)
        if _KINDS.fullmatch(config.model_type) is None:
            raise ValueError(f"{name} is a '{config.model_type}' model; HuggingFaceCLIP opens CLIP and SigLIP models")
        tower_config = _tower_config(config)
        self._texts: Path | None = None  # where the text tower is
        self.temperature = None
        if not weights:
            self.model = _new_tower(tower_config)
        elif config is tower_config:
            self.model = loading.open_model(_kind(config), folder, name, config)
        else:
            whole = loading.open_encoder(folder, name, config)
            self.model, self._texts = _tower_of(whole, tower_config), folder
            self.temperature = math.exp(-float(whole.logit_scale.detach()))
        self._spec = _input(tower_config, folder)
        self.feature_dim = int(getattr(tower_config, "projection_dim", None) or tower_config.hidden_size)
        self.arguments = {"pretrained": lasting_name(name), "weights": weights}

    @property
    def input_spec(self) -> ImageSpec:
        """See `Backbone`."""
        return self._spec

    def take_input(self, spec: ImageSpec) -> None:
        """See `Backbone`; of other bands than red, green and blue its texts would say nothing."""
        super().take_input(spec)
        if spec.channels == self._spec.channels:
            self._spec = replace(self._spec, mean=spec.mean, std=spec.std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]: not of length 1."""
        other = self._any_size and inputs.shape[-1] != self._spec.image_size
        outputs = self.model(pixel_values=inputs, interpolate_pos_encoding=other)
        projected: Tensor | None = getattr(outputs, "image_embeds", None)  # SigLIP has no projection
        return outputs.pooler_output if projected is None else projected

    def take_sizes(self, sides: Sequence[int]) -> None:
        """See `Backbone`."""
        self._any_size = True
        super().take_sizes(sides)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """See `EmbedsTexts`; on the CPU, by the text tower as it was pretrained."""
        name = self.arguments["pretrained"]
        if self._texts is None:
            raise ValueError(
                f"HuggingFaceCLIP cannot embed texts with {name}: it has the image tower alone, or fresh weights; "
                "take a whole pretrained CLIP or SigLIP model"
            )
        with torch.device("cpu"), torch.no_grad():
            model = loading.open_encoder(self._texts, name, loading.read_config(self._texts, name))
            settings = model.config.text_config
            tokenizer = _open_tokenizer(self._texts, name, settings.vocab_size)
            padding = "max_length" if model.config.model_type == "siglip" else True  # SigLIP was trained so
            found = []
            for start in range(0, len(texts), _AT_ONCE):
                tokens = tokenizer(
                    list(texts[start : start + _AT_ONCE]),
                    padding=padding,
                    truncation=True,
                    max_length=min(tokenizer.model_max_length, settings.max_position_embeddings),
                    return_tensors="pt",
                )
                tokens = {key: tokens[key] for key in tokenizer.model_input_names if key != "token_type_ids"}
                outputs = model.get_text_features(**tokens)
                found.append(getattr(outputs, "pooler_output", outputs))  # a tensor before transformers 5
            return torch.cat(found)

    def reinitialise(self) -> None:
        """See `Backbone`. Texts then have no place among the features."""
        self.model.load_state_dict(_new_tower(self.model.config).state_dict())
        self._texts = self.temperature = None

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write the image tower with the head beside it. See `Backbone`.

        The families' own classifiers read the mean of the patches and no projection, so they cannot hold the head.
        """
        folder = Path(folder)
        with loading.quiet():
            if isinstance(self.model, DualTower):
                self._save_whole(folder / "backbone")
            else:
                self.model.save_pretrained(folder / "backbone")
        write_preprocessor(folder / "backbone", self._spec)
        return write_pair(self, folder, head, class_names)

    def _save_whole(self, folder: Path) -> None:
        """A dual encoder has no class for one of its towers: the texts go along."""
        name = self.arguments["pretrained"]
        if self._texts is None:
            raise ValueError(
                f"the image tower of {name} cannot be written without its texts, and its weights are fresh"
            )
        whole = loading.open_encoder(self._texts, name, loading.read_config(self._texts, name))
        whole.vision_model.load_state_dict(self.model.vision_model.state_dict())
        whole.visual_projection.load_state_dict(self.model.visual_projection.state_dict())
        whole.save_pretrained(folder)
        _open_tokenizer(self._texts, name, whole.config.text_config.vocab_size).save_pretrained(folder)


def _check_is_one_model(name: str) -> None:
    folder = Path(name).expanduser()
    if DualEncoder.is_folder(name) and not (folder / "config.json").is_file():
        raise ValueError(
            f"{name} holds an image and a text tower for which transformers has no one model; "
            "open it with lightning_tl.backbones.ImageTextPair"
        )


def _tower_config(config: Any) -> Any:
    """The image tower's configuration in that of a whole model; the same object for a tower alone."""
    if not hasattr(config, "vision_config"):
        return config
    tower = copy.deepcopy(config.vision_config)
    if config.model_type in ("clip", _DUAL):
        tower.projection_dim = config.projection_dim  # which the whole model goes by
    return tower


def _kind(config: Any) -> Any:
    import transformers

    clip = config.model_type == "clip_vision_model"
    return transformers.CLIPVisionModelWithProjection if clip else transformers.SiglipVisionModel


def _new_tower(config: Any) -> Any:
    if not _KINDS.fullmatch(config.model_type):
        return DualTower.fresh(config)
    return _kind(config)(copy.deepcopy(config))


def _tower_of(whole: Any, config: Any) -> Any:
    """The image tower, with its weights, out of a whole model."""
    if not hasattr(whole, "visual_projection"):
        return whole.vision_model
    if whole.config.model_type == _DUAL:
        return DualTower(whole.vision_model, whole.visual_projection, config).eval()
    with torch.device("meta"):
        tower = _new_tower(config)
    tower.vision_model, tower.visual_projection = whole.vision_model, whole.visual_projection
    return tower.eval()


def _open_tokenizer(folder: Path, name: str, vocabulary: int) -> Any:
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.json", "spiece.model")):
        # transformers would make one up that knows no words
        raise ValueError(f"{name} has no tokenizer, so texts cannot be embedded; put tokenizer.json beside config.json")
    return loading.open_tokenizer(folder, name, vocabulary)


def _input(config: Any, folder: Path) -> ImageSpec:
    """The input that the weights were trained with."""
    size, channels = config.image_size, config.num_channels
    if not isinstance(size, int):
        size = size[0]
    usual = STATISTICS.get(config.model_type, STATISTICS["clip_vision_model"])
    return ImageSpec(size, channels, *read_statistics(folder, channels, usual))
