"""torchvision's ResNets behind the backbone contract."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_tl.backbones.exporting.exported import linear_of, write_pair
from lightning_tl.backbones.image_backbone import ImageBackbone
from lightning_tl.backbones.opening.band_matching import NewBands
from lightning_tl.backbones.opening.input_adaptation import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    adapt_state,
    input_spec,
)
from lightning_tl.backbones.opening.loading_report import load_checked, read_state
from lightning_tl.backbones.opening.weights_resolver import clear_hub_errors, lasting_name
from lightning_tl.backbones.ordered_groups import numbers_by_block, ordered_groups, tensor_names
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.contracts.file_or_name import FileOrName
from lightning_tl.contracts.layer_groups import LayerGroup


class TorchvisionResNet(ImageBackbone):
    """A ResNet, ResNeXt or wide ResNet from torchvision without its classifier.

    Args:
        pretrained: the architecture, `resnet18` … `resnet152`, `resnext50_32x4d`, `wide_resnet50_2`, …; or a
            folder that `export` wrote.
        weights: name of torchvision's weights (`DEFAULT`, `IMAGENET1K_V1`), a file with a state dict, or None for
            fresh weights. Not used where `pretrained` is a folder.
        image_size: height and width in pixels; default the weights'.
        channels: bands of the images. The first convolution is adapted: repeated over the bands and scaled.
        mean: per channel, of values scaled to 0…1; default ImageNet's. Added channels get the average.
        std: likewise.
        bands: what the channels are, in order, by common names ("red", "nir", "swir16"): the first layer is matched by
            band (see `BandMatching`); default what the data module says of its images.
        weight_bands: what the weights were trained with, in order; default the folder's `bands`, and red, green and
            blue of three.
        new_bands: how bands begin that the weights do not know: "mean", "zero", "fresh", or "repeat" for all.
    """

    def __init__(
        self,
        pretrained: FileOrName = "resnet50",
        weights: str | None = "DEFAULT",
        image_size: int | None = None,
        channels: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        bands: tuple[str, ...] | None = None,
        weight_bands: tuple[str, ...] | None = None,
        new_bands: NewBands | None = None,
    ) -> None:
        super().__init__()
        saved = Path(pretrained) / "config.json"
        settings = json.loads(saved.read_text(encoding="utf-8")) if saved.is_file() else {}
        self.architecture = str(settings.get("architecture", pretrained))
        _check_architecture(self.architecture)
        state = read_state(Path(pretrained) / "model.safetensors") if settings else _state(self.architecture, weights)
        known = ImageSpec(224, 3, IMAGENET_MEAN, IMAGENET_STD)
        if settings:
            size, count = settings["image_size"], settings["channels"]
            known = ImageSpec(size, count, tuple(settings["mean"]), tuple(settings["std"]))
        elif state is not None:
            known = input_spec(224, state["conv1.weight"].shape[1], None, None, known)
        self.begin_bands(bands, weight_bands, new_bands, channels)
        known = self.known_bands(known, tuple(settings.get("bands", ())))
        self._spec = self.first_input(image_size, channels, mean, std, known, state is not None)
        named = {} if settings else {"weights": weights}
        self.arguments = {"pretrained": lasting_name(str(pretrained)), **named, **self.input_arguments()}
        self.model = self._fresh()
        if state is not None:
            state = {key: value for key, value in state.items() if not key.startswith("fc.")}
            load_checked(pretrained, self.model, adapt_state(state, self._adaptable(), known, self._spec))
        self.end_bands(mean, std)

    def _adaptable(self) -> dict[str, Tensor]:
        """The only tensor that may be adapted; all others are checked when they are loaded."""
        return {"conv1.weight": self.model.conv1.weight}

    def fresh_model(self, channels: int) -> Any:
        """See `ImageBackbone`."""
        return self._fresh(channels)

    def try_model(self) -> int:
        """See `ImageBackbone`: every weight of a ResNet gets a gradient."""
        return self.feature_dim

    def _fresh(self, channels: int | None = None) -> Any:
        import torchvision

        model = torchvision.models.get_model(self.architecture, weights=None)
        self.feature_dim = model.fc.in_features
        model.fc = nn.Identity()
        channels = channels or self._spec.channels
        if channels != 3:
            old = model.conv1
            model.conv1 = nn.Conv2d(channels, old.out_channels, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision
        return model

    def forward(self, inputs: Tensor) -> Tensor:
        """Images [batch, channels, height, width], normalised, to features [batch, feature_dim]."""
        features: Tensor = self.model(inputs)
        return features

    def feature_maps(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What its four stages give, of 4, 8, 16 and 32 pixels a place. See `Backbone`."""
        model = self.model
        hidden = model.maxpool(model.relu(model.bn1(model.conv1(inputs))))
        stages = []
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            hidden = stage(hidden)
            stages.append(hidden)
        return tuple(stages)

    def layer_groups(self) -> list[LayerGroup]:
        """The stem as `embeddings`, then one group per residual block."""
        numbers = numbers_by_block(tensor_names(self.model), re.compile(r"(layer\d+\.\d+)\."))
        return ordered_groups(self.model, numbers, prefix="model.")

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(self._fresh().state_dict())

    def export(self, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
        """Write a state dict that torchvision's own model takes, with a config.json beside it.

        With a head or number of channels that torchvision's models lack, a headless folder with the head beside it.
        See `Backbone`.
        """
        folder = Path(folder)
        linear = linear_of(head)
        if linear is None or linear.bias is None or self._spec.channels != 3:
            self.save(folder / "backbone")
            return write_pair(self, folder, head, class_names)
        model = copy.deepcopy(self.model)
        model.fc = linear
        self._write(model, folder, class_names)
        return (
            f'model = torchvision.models.get_model("{self.architecture}", num_classes={linear.out_features}); '
            f'model.load_state_dict(safetensors.torch.load_file("{folder / "model.safetensors"}")); model.eval()'
        )

    def save(self, folder: Path) -> None:
        """See `Backbone`: a state dict and a config.json."""
        self._write(self.model, Path(folder), ())

    def _write(self, model: nn.Module, folder: Path, class_names: Sequence[str]) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        spec = self._spec
        settings = {
            "architecture": self.architecture,
            "image_size": spec.image_size,
            "channels": spec.channels,
            "mean": spec.mean,
            "std": spec.std,
            **({"bands": list(spec.bands)} if spec.bands else {}),
            "class_names": list(class_names),
        }
        (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _check_architecture(name: str) -> None:
    import torchvision

    names = torchvision.models.list_models(torchvision.models)
    known = [n for n in names if n.startswith(("resnet", "resnext", "wide_resnet"))]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"torchvision has no ResNet '{name}'; {hint}there are: {', '.join(known)}; or give a folder")


def _state(architecture: str, weights: str | None) -> dict[str, Tensor] | None:
    """Weights by name or from a file."""
    import torchvision

    if weights is None:
        return None
    if Path(weights).expanduser().is_file():
        return read_state(Path(weights).expanduser())
    names = torchvision.models.get_model_weights(architecture)
    if weights not in names.__members__:
        raise ValueError(
            f"weights '{weights}' are neither a file nor one of torchvision's for {architecture}: "
            f"{', '.join(names.__members__)}; null gives fresh weights"
        )
    with clear_hub_errors(f"{architecture}/{weights}", "TORCH_HOME"):
        state: dict[str, Tensor] = dict(names[weights].get_state_dict(progress=False, check_hash=True))
    return state
