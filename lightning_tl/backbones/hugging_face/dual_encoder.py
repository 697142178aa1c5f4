"""`DualEncoder`: an image and a text backbone in one space, written as folders that others open."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.hugging_face import hugging_face_loading as loading
from lightning_tl.backbones.hugging_face.images.hugging_face_vision import HuggingFaceVision
from lightning_tl.backbones.hugging_face.texts.hugging_face_text import HuggingFaceText
from lightning_tl.backbones.opening.preprocessor import write_preprocessor
from lightning_tl.contracts.batches import ImageSpec, moved
from lightning_tl.contracts.text_tokenizer import load_tokenizer

# A pooler's tanh is the identity but for 1 part in 10^6 where features are this much smaller; a power of 2 is exact.
_SMALL = 2.0**-12
_CLOSE = 1e-4  # between unit vectors


class DualEncoder:
    """Two backbones with linear projections into one space.

    `folder/image` and `folder/text` are ordinary folders of the backbones. Where transformers has a model that gives
    the same vectors, `folder` itself is one: a `VisionTextDualEncoderModel` with tokenizer and preprocessor, which
    `HuggingFaceCLIP` opens too. That model reads what its towers' poolers give: the first token of a text (pooling
    `cls`), never the mean of its tokens. Its poolers are set to hand this token on: by an activation that does nothing,
    or on features so small that tanh does nothing, with projections as much larger. Elsewhere `folder` has the
    projections alone, in `model.safetensors`.

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

    def why_not(self) -> str:
        """Why transformers has no model that gives the same vectors; empty where it has one."""
        try:
            with torch.random.fork_rng(devices=[]):
                self.as_one_model()
        except ValueError as error:
            return str(error)
        return ""

    @torch.no_grad()
    def as_one_model(self) -> Any:
        """A `VisionTextDualEncoderModel`, on the CPU, that gives the same unit vectors.

        Raises:
            ValueError: saying why there is none.
        """
        import transformers

        if not isinstance(self.image, HuggingFaceVision):
            raise ValueError(f"{type(self.image).__name__} is no model of transformers")
        if self.text.settings.pooling != "cls":
            pooling = self.text.settings.pooling
            raise ValueError(f"its texts are pooled by their first token, not by '{pooling}'; set pooling to cls")
        if self.text.settings.prompt or self.text.settings.lower_case:
            raise ValueError("the text backbone puts a prompt before texts, or lower-cases them")
        vision, image_scale = _pooled(self.image.model)
        words, text_scale = _pooled(self.text.model)
        with loading.quiet():
            kind: Any = transformers.VisionTextDualEncoderConfig
            width = int(self.image_projection.out_features)
            config = kind.from_vision_text_configs(vision.config, words.config, projection_dim=width)
            try:
                whole: Any = transformers.VisionTextDualEncoderModel(config, vision, words)
                whole.eval()
            except AttributeError as error:
                raise ValueError(f"it cannot hold a {type(vision).__name__}: {error}") from None
        if whole.visual_projection.in_features != self.image.feature_dim:
            raise ValueError(f"it reads other features of a {type(vision).__name__}")
        whole.visual_projection.weight.copy_(self.image_projection.weight.cpu() / image_scale)
        whole.text_projection.weight.copy_(self.text_projection.weight.cpu() / text_scale)
        whole.logit_scale.fill_(float(self.log_scale.detach()))
        whole.config.logit_scale_init_value = float(self.log_scale.detach())
        self._check_equal(whole)
        return whole

    def _check_equal(self, whole: Any) -> None:
        spec = self.image.input_spec
        assert isinstance(spec, ImageSpec)
        images, texts = self.image.example_inputs(2), self.text.texts_of_many_lengths()
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
        """Write both backbones, and around them the model of transformers, or the projections alone.

        Args:
            folder: to write into; it is made where it is not there.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        self.image.save(folder / "image")
        self.text.save(folder / "text")
        try:
            whole = self.as_one_model()
        except ValueError:
            parts = {
                "image_projection.weight": self.image_projection.weight,
                "text_projection.weight": self.text_projection.weight,
                "logit_scale": self.log_scale,
            }
            plain = {name: part.detach().cpu().contiguous() for name, part in parts.items()}
            save_file(plain, folder / "model.safetensors")
            return
        with loading.quiet():
            whole.save_pretrained(folder)
        spec = self.image.input_spec
        assert isinstance(spec, ImageSpec)
        write_preprocessor(folder, spec)
        tokenizer = load_tokenizer(self.text.input_spec)
        tokenizer.model_max_length = self.text.input_spec.max_length
        tokenizer.save_pretrained(folder)


def _pooled(encoder: Any) -> tuple[Any, float]:
    """A copy of an encoder, on the CPU, whose pooler hands the first token on, and how much smaller it makes it.

    Raises:
        ValueError: it has no pooler.
    """
    import transformers

    config = copy.deepcopy(encoder.config)
    if hasattr(config, "pooler_act"):
        config.pooler_act = "linear"
    auto: Any = transformers.AutoModel
    with torch.random.fork_rng(devices=[]), loading.quiet():
        copied = auto.from_config(config)
    if type(copied) is not type(encoder):
        raise ValueError(f"it would open a {type(encoder).__name__} as a {type(copied).__name__}")
    state = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    missing = [name for name in copied.load_state_dict(state, strict=False).missing_keys if "pooler" not in name]
    if missing:
        raise ValueError(f"it would open a {type(encoder).__name__} with other parts, such as {missing[0]}")
    dense = getattr(getattr(copied, "pooler", None), "dense", None)
    if not isinstance(dense, nn.Linear):
        return copied.eval(), 1.0  # what it gives is compared
    scale = 1.0 if hasattr(config, "pooler_act") else _SMALL
    nn.init.eye_(dense.weight).mul_(scale)
    nn.init.zeros_(dense.bias)
    return copied.eval(), scale
