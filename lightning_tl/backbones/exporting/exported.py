"""The folder that a model is exported to where the family's own classifier cannot hold the head.

FOLDER/backbone/         an ordinary folder of the backbone's family
FOLDER/head.safetensors  the head's weights
FOLDER/classifier.json   how the two go together, and the class names
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.dense.give_maps import give_maps
from lightning_tl.backbones.dense.linear_decoder import LinearPixelHead
from lightning_tl.backbones.dense.pyramid_decoder import PyramidHead
from lightning_tl.backbones.heads import SimilarityHead, TemplateMean, UnitLength
from lightning_tl.backbones.opening.loading_report import load_checked, read_state

DESCRIPTION = "classifier.json"
# Layers that a description of a head may name, each with the arguments that build it again.
HEAD_LAYERS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.Dropout: ("p",),
    nn.GELU: ("approximate",),
    nn.ReLU: (),
    nn.Tanh: (),
    nn.LayerNorm: ("normalized_shape", "eps"),
    SimilarityHead: ("in_features", "out_features", "temperature"),
    UnitLength: (),
    TemplateMean: ("classes", "templates", "temperature"),
    LinearPixelHead: ("dims", "classes", "dropout"),
    PyramidHead: ("dims", "steps", "classes", "width", "dropout"),
}


class ExportedClassifier(nn.Module):
    """A backbone and a head read back from a folder.

    Args:
        backbone: inputs to features [batch, feature_dim].
        head: features to logits [batch, classes].
        class_names: in the order of the logits.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, class_names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.head, self.class_names = backbone, head, tuple(class_names)

    def forward(self, inputs: Any) -> Tensor:
        """Images [batch, channels, height, width], normalised, or `TextInputs`, to logits [batch, classes].

        Of a model that labels pixels, [batch, classes, height, width].
        """
        logits: Tensor = self.head(self.backbone.read(inputs))
        return logits


def linear_of(head: nn.Module) -> nn.Linear | None:
    """The linear layer that `head` is at prediction time, or None if it is more than that."""
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    kept = [layer for layer in layers if not isinstance(layer, (nn.Dropout, nn.Identity))]
    return kept[0] if len(kept) == 1 and type(kept[0]) is nn.Linear else None


@torch.no_grad()
def logits_agree(backbone: Backbone, head: nn.Module, other: Callable[[Tensor], Tensor]) -> bool:
    """Whether `other`, on the CPU, gives the logits of backbone and head on two random images."""
    images = backbone.example_inputs(2)
    parameter = next(backbone.parameters())
    modes = [(module, module.training) for part in (backbone, head) for module in part.modules()]
    backbone.eval()
    head.eval()
    try:
        own = head(backbone.read(images.to(parameter.device, parameter.dtype))).float().cpu()
    finally:
        for module, training in modes:
            module.training = training
    # An accelerator's reduced-precision kernels differ by some 1e-3; a head that does not fit differs by far more.
    tolerance = 1e-5 if parameter.device.type == "cpu" and parameter.dtype == torch.float32 else 2e-2
    return torch.allclose(own, other(images).float(), rtol=tolerance, atol=tolerance * max(1.0, float(own.abs().max())))


def write_pair(backbone: Backbone, folder: Path, head: nn.Module, class_names: Sequence[str]) -> str:
    """Write the head beside an already written `folder/backbone`.

    Returns:
        one line of Python that loads both.
    """
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
    save_file(state, folder / "head.safetensors")
    settings = {**description(backbone, head, class_names), "backbone": saved_backbone(backbone)}
    (folder / DESCRIPTION).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    own = "" if settings["head"] is not None else f", head={type(head).__name__}(...)"
    return f'lightning_tl.backbones.load_exported("{folder}"{own})'


def load_exported(folder: str | Path, head: nn.Module | None = None) -> ExportedClassifier:
    """Read back what `Backbone.export` wrote where the family's own classifier could not hold the head.

    Args:
        folder: that was exported.
        head: a module of the exported head's class; needed only for a head of your own that is more than linear layers,
            activations, dropout and layer norms in a row.

    Returns:
        the classifier, in evaluation mode.
    """
    folder = Path(folder)
    settings = read_description(folder, "lightning_tl.backbones.load_exported")
    classifier = classifier_of(settings, folder, head, folder / "backbone")
    weights = folder / "head.safetensors"
    load_checked(str(weights), classifier.head, read_state(weights))
    return classifier.eval()


def saved_backbone(backbone: Backbone) -> dict[str, Any]:
    """What `backbone_of` needs to open a backbone again whose folder has the weights.

    Raises:
        ValueError: the class is none of this package, or has a forward of its own.
    """
    kept = {name: value for name, value in backbone.arguments.items() if name not in ("pretrained", "weights")}
    return {"class": family_of(backbone), "arguments": kept}


def description(backbone: Backbone, head: nn.Module, class_names: Sequence[str]) -> dict[str, Any]:
    """What `classifier_of` needs to build backbone and head again, the head with fresh weights."""
    return {
        "backbone": {"class": family_of(backbone), "arguments": dict(backbone.arguments)},
        "head": _describe(head),
        "class_names": list(class_names),
        **({"maps": True} if backbone.map_dims else {}),
    }


def read_description(folder: Path, loader: str) -> dict[str, Any]:
    """The description in a folder.

    Args:
        folder: that was exported.
        loader: the function that is to open the folder.

    Raises:
        FileNotFoundError: there is none, or another function opens such folders.
        ValueError: it is damaged.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {DESCRIPTION}, so it is no exported backbone and head")
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    kind = "lightning_tl.backbones.load_exported"
    if "adaptation" in settings:
        kind = "lightning_tl.adaptation.load_adapted"
    elif "base_sha256" in settings:
        kind = "lightning_tl.backbones.load_peft_base"
    if kind != loader:
        raise FileNotFoundError(f'{folder} is opened by {kind}("{folder}"), not by {loader.rpartition(".")[2]}')
    return settings


def classifier_of(
    settings: Mapping[str, Any], folder: Path, head: nn.Module | None, pretrained: str | Path | None = None
) -> ExportedClassifier:
    """Backbone and head as described, the head with fresh weights unless it is given.

    Args:
        settings: the folder's description, as `read_description` gives it.
        folder: that was exported.
        head: a module of the exported head's class; None to build it as described.
        pretrained: where the backbone's weights are; None where the description says.

    Raises:
        FileNotFoundError: they are not there.
        ValueError: an unknown family, or a head that no description could hold.
    """
    if head is None and settings["head"] is None:
        raise ValueError(f"the head in {folder} is of a class of its own: pass one of this class as head=…")
    try:
        backbone = backbone_of(settings["backbone"], folder / DESCRIPTION, pretrained)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}. Weights that were moved are named by pretrained=…") from None
    if settings.get("maps"):
        give_maps(backbone)
    if head is None:
        head = _build(settings["head"])
    return ExportedClassifier(backbone, head, settings["class_names"])


def backbone_of(described: Mapping[str, Any], file: Path, pretrained: str | Path | None = None) -> Backbone:
    """A backbone as described.

    Args:
        described: its class and arguments.
        file: that says so, for messages.
        pretrained: where its weights are; None where the description says.

    Raises:
        FileNotFoundError: they are not there.
        ValueError: an unknown family.
    """
    from lightning_tl import backbones

    if described["class"] not in backbones.FAMILIES:
        known = ", ".join(backbones.FAMILIES)
        raise ValueError(f"{file} names the backbone '{described['class']}'; known: {known}")
    arguments = dict(described["arguments"]) | ({} if pretrained is None else {"pretrained": str(pretrained)})
    return getattr(backbones, described["class"])(**arguments)  # type: ignore[no-any-return]


def family_of(backbone: Backbone) -> str:
    """The class of this package that a folder names for a backbone.

    Raises:
        ValueError: there is none, as a subclass has a forward of its own.
    """
    from lightning_tl.backbones import FAMILIES

    family = next((base for base in type(backbone).__mro__ if base.__name__ in FAMILIES), None)
    if family is None or type(backbone).forward is not family.forward:  # type: ignore[attr-defined]
        raise ValueError(
            f"{type(backbone).__name__} is no backbone that a folder can name: it has a forward of its own; override "
            "export in it"
        )
    return family.__name__


def _describe(head: nn.Module) -> list[dict[str, Any]] | None:
    """The layers of a head as JSON values, or None if it holds others than `HEAD_LAYERS`."""
    layers = list(head) if type(head) is nn.Sequential else [head]
    if any(type(layer) not in HEAD_LAYERS for layer in layers):
        return None
    described = []
    for layer in layers:
        arguments = {name: getattr(layer, name) for name in HEAD_LAYERS[type(layer)]}
        if isinstance(layer, nn.Linear):
            arguments["bias"] = layer.bias is not None
        described.append({"layer": type(layer).__name__, "arguments": arguments})
    return described if type(head) is nn.Sequential else [{**described[0], "alone": True}]


def _build(described: Sequence[Mapping[str, Any]]) -> nn.Module:
    known = {layer.__name__: layer for layer in HEAD_LAYERS}
    layers = [known[entry["layer"]](**entry["arguments"]) for entry in described]
    return layers[0] if described[0].get("alone") else nn.Sequential(*layers)
