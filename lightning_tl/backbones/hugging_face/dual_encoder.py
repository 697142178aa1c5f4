"""`DualEncoder`: an image and a text backbone in one space, written as folders that others open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.exporting.exported import backbone_of, family_of, saved_backbone
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.images.hugging_face_vision import HuggingFaceVision
from lightning_tl.backbones.hugging_face.one_model import joined, pooling_read
from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText
from lightning_tl.backbones.opening.loading_report import read_state
from lightning_tl.backbones.opening.preprocessor import write_preprocessor
from lightning_tl.contracts.batches import ImageSpec, moved
from lightning_tl.contracts.text_tokenizer import load_tokenizer

DESCRIPTION, PROJECTIONS = "pair.json", "projections.safetensors"
_CLOSE = 1e-4  # between unit vectors
_SAID = ("water", "a photo of a field beside the water", "a large house, and in front of it two small red cars")


class DualEncoder:
    """Two backbones with linear projections into one space.

    `folder/image` and `folder/text` are ordinary folders of the backbones, `projections.safetensors` has what lies
    behind them, and `pair.json` says of what classes they are: `lightning_tl.backbones.ImageTextPair` opens that,
    whatever the backbones.

    Where transformers has a model that gives the same vectors, `folder` itself is one as well, with tokenizer and
    preprocessor, which `HuggingFaceCLIP` opens: a `CLIPModel` of the two towers of CLIP, else a
    `VisionTextDualEncoderModel`. That model reads what its towers' poolers give: the first token of a text (pooling
    `cls`), never the mean of its tokens. Its poolers are set to hand this token on: by an activation that does nothing,
    or on features so small that tanh does nothing, with projections as much larger.

    Args:
        image: backbone of images.
        text: backbone of texts.
        image_projection: without bias.
        text_projection: without bias.
        log_scale: logarithm of 1 / temperature.
    """

    def __init__(
        self, image: Backbone, text: HuggingFaceText, image_projection: Any, text_projection: Any, log_scale: Tensor
    ) -> None:
        self.image, self.text, self.log_scale = image, text, log_scale
        self.image_projection, self.text_projection = image_projection, text_projection

    # ---------------------------------------------------------------- opened

    @classmethod
    def is_folder(cls, name: str) -> bool:
        """Whether this is a folder that `save` wrote."""
        return (Path(name).expanduser() / DESCRIPTION).is_file()

    @classmethod
    def open(cls, folder: Path) -> DualEncoder:
        """What `save` wrote, on the CPU.

        Raises:
            FileNotFoundError: a part of it is missing.
            ValueError: a part of it is damaged, or does not fit the others.
        """
        image, text = cls.open_tower(folder, "image"), cls.open_tower(folder, "text")
        assert isinstance(text, HuggingFaceText), "checked by open_tower"
        return cls(image, text, *cls.open_projections(folder, image.feature_dim, text.feature_dim))

    @classmethod
    def open_tower(cls, folder: Path, name: str) -> Backbone:
        """One of the two backbones.

        Args:
            folder: that `save` wrote.
            name: "image" or "text".

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is damaged, or reads something else.
        """
        file = folder / DESCRIPTION
        try:
            described = json.loads(file.read_text(encoding="utf-8"))[name]
            found = backbone_of(described, file, folder / name)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}): copy the whole folder again") from None
        if isinstance(found, HuggingFaceText) != (name == "text"):
            raise ValueError(f"{file} names {described['class']} as the {name} tower, which reads something else")
        return found

    @classmethod
    def open_projections(cls, folder: Path, image_dim: int, text_dim: int) -> tuple[nn.Linear, nn.Linear, Tensor]:
        """The projections of images and of texts, and the logarithm of 1 / temperature.

        Args:
            folder: that `save` wrote.
            image_dim: length of the image tower's features.
            text_dim: length of the text tower's features.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: it is damaged, or belongs to other towers.
        """
        file = folder / PROJECTIONS
        if not file.is_file():
            raise FileNotFoundError(f"{folder} has no {PROJECTIONS}: copy the whole folder again")
        state = read_state(file)
        try:
            weights = state["image_projection.weight"], state["text_projection.weight"]
            scale = state["logit_scale"].reshape(())
        except KeyError as error:
            raise ValueError(f"{file} has no {error.args[0]}: it is no file of projections") from None
        widths = tuple(weight.shape[1] for weight in weights)
        if widths != (image_dim, text_dim) or len(weights[0]) != len(weights[1]):
            raise ValueError(
                f"{file} projects features of {widths[0]} and {widths[1]} numbers, and the towers give {image_dim} and "
                f"{text_dim}: they belong to different models"
            )
        return linear(weights[0]), linear(weights[1]), scale

    # ---------------------------------------------------------------- written

    def why_not(self) -> str:
        """Why transformers has no model that gives the same vectors; empty where it has one."""
        try:
            self.as_one_model()
        except ValueError as error:
            return str(error)
        return ""

    def why_no_pair(self) -> str:
        """Why `ImageTextPair` could not open the folder; empty where it could."""
        try:
            family_of(self.image), family_of(self.text)
        except ValueError as error:
            return str(error)
        return ""

    @torch.no_grad()
    def as_one_model(self) -> Any:
        """A `CLIPModel` or `VisionTextDualEncoderModel`, on the CPU, that gives the same unit vectors.

        Raises:
            ValueError: saying why there is none.
        """
        if not isinstance(self.image, HuggingFaceVision):
            raise ValueError(f"{type(self.image).__name__} is no model of transformers")
        read, pooling = pooling_read(self.text.model), self.text.settings.pooling
        if pooling != read:
            token = {"cls": "first", "lasttoken": "last"}[read]
            raise ValueError(f"its texts are pooled by their {token} token, not by '{pooling}'; set pooling to {read}")
        if self.text.settings.prompt or self.text.settings.lower_case:
            raise ValueError("the text backbone puts a prompt before texts, or lower-cases them")
        projections = self.image_projection.weight, self.text_projection.weight
        with torch.random.fork_rng(devices=[]):
            whole = joined(self.image.model, self.text.model, projections, float(self.log_scale.detach()))
        self._check_equal(whole)
        return whole

    def _check_equal(self, whole: Any) -> None:
        spec = self.image.input_spec
        assert isinstance(spec, ImageSpec)
        images, texts = self.image.example_inputs(2), self.text.tokenize(_SAID)
        modes = [(m, m.training) for part in (self.image, self.text) for m in part.modules()]
        self.image.eval()
        self.text.eval()
        device = next(self.image.parameters()).device
        try:
            own = [
                self.image_projection(self.image(images.to(device)).to(self.image_projection.weight.dtype)),
                self.text_projection(self.text(moved(texts, device)).to(self.text_projection.weight.dtype)),
            ]
        finally:
            for module, mode in modes:
                module.training = mode
        try:
            found = [whole.get_image_features(images), whole.get_text_features(**texts)]
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f"one of its towers has no pooler ({error})") from None
        for mine, other, what in zip(own, found, ("images", "texts"), strict=True):
            pooled = getattr(other, "pooler_output", other)  # a tensor before transformers 5
            units = F.normalize(pooled.flatten(1).float(), dim=1), F.normalize(mine.float().cpu(), dim=1)
            # An accelerator's kernels of reduced precision differ by some 1e-3; another pooling differs by far more.
            if not torch.allclose(*units, atol=_CLOSE if device.type == "cpu" else 2e-2):
                raise ValueError(f"it gives other vectors of {what}")

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Write both backbones, their projections, and around them the model of transformers where there is one.

        Args:
            folder: to write into; it is made where it is not there.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        self.image.save(folder / "image")
        self.text.save(folder / "text")
        parts = {
            "image_projection.weight": self.image_projection.weight,
            "text_projection.weight": self.text_projection.weight,
            "logit_scale": self.log_scale,
        }
        save_file({name: part.detach().cpu().contiguous() for name, part in parts.items()}, folder / PROJECTIONS)
        if not self.why_no_pair():
            towers = {"image": saved_backbone(self.image), "text": saved_backbone(self.text)}
            (folder / DESCRIPTION).write_text(json.dumps(towers, indent=2) + "\n", encoding="utf-8")
        try:
            whole = self.as_one_model()
        except ValueError:
            return
        with loading.quiet():
            whole.save_pretrained(folder)
        spec = self.image.input_spec
        assert isinstance(spec, ImageSpec)
        write_preprocessor(folder, spec)
        tokenizer = load_tokenizer(self.text.input_spec)
        tokenizer.model_max_length = self.text.input_spec.max_length
        tokenizer.save_pretrained(folder)


def linear(weight: Tensor) -> nn.Linear:
    """A projection without bias, with a copy of these weights, [dim, features]."""
    dim, width = weight.shape
    with torch.device("cpu"):
        layer = nn.Linear(width, dim, bias=False)
    layer.weight.data.copy_(weight.detach())
    return layer
