"""Checkpoints that hold what was trained, and of a frozen backbone only which one it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_tl.backbones.base import Backbone
from lightning_tl.storage.tensor_digest import tensor_digest

Backbones = Mapping[str, Backbone]  # by the paths of their attributes in the module


class FrozenWeights:
    """Leaves out of a checkpoint what no adaptation trains, and takes it from the backbones again on loading.

    In place of the frozen weights stand the name and a hash of them; buffers, such as the statistics of BatchNorm, are
    kept, and so are fresh weights, which lie nowhere else. The Trainer, `load_from_checkpoint` and anything else that
    calls Lightning's hooks sees whole weights.

    Args:
        module: with all its parameters, before a precision may round them.
        backbones: its pretrained backbones.
        adapted: names of the parameters that the adaptations let train.

    Attributes:
        digest: hash of the pretrained weights that no adaptation trains; None where there are none.
    """

    def __init__(self, module: nn.Module, backbones: Backbones, adapted: frozenset[str]) -> None:
        self.adapted = adapted
        self._untouched = frozenset(path for path, backbone in backbones.items() if not backbone.was_trained)
        frozen = self.of(module, backbones)
        self.digest = tensor_digest(frozen) if frozen else None

    def of(self, module: nn.Module, backbones: Backbones) -> dict[str, Tensor]:
        """The backbones' parameters that no adaptation trains, under all their names."""
        trained = {id(parameter) for name, parameter in module.named_parameters() if name in self.adapted}
        found: dict[str, Tensor] = {}
        for path, backbone in backbones.items():
            arguments = getattr(backbone, "arguments", {})
            can_be_had_again = "pretrained" in arguments and arguments.get("weights", True) not in (False, None)
            if can_be_had_again and path in self._untouched:  # other weights lie nowhere else
                everything = backbone.named_parameters(prefix=path, remove_duplicate=False)
                found |= {name: parameter.detach() for name, parameter in everything if id(parameter) not in trained}
        return found

    def note_training(self, backbones: Backbones) -> None:
        """Training starts: what a later module finds in these backbones is no longer what their names stand for."""
        for path, backbone in backbones.items():
            if any(name.startswith(f"{path}.") for name in self.adapted):
                backbone.was_trained = True

    def leave_out(self, checkpoint: dict[str, Any], module: nn.Module, backbones: Backbones) -> None:
        """Name and hash in place of the weights."""
        if frozen := self.of(module, backbones):
            checkpoint["state_dict"] = {name: v for name, v in checkpoint["state_dict"].items() if name not in frozen}
            checkpoint["frozen"] = {"backbone": _names(backbones), "sha256": self.digest}

    def digest_of(self, absent: Mapping[str, Tensor], module: nn.Module, backbones: Backbones) -> str:
        """Hash of weights that a checkpoint left out; another adaptation than this one may leave out others."""
        same = self.digest is not None and absent.keys() == self.of(module, backbones).keys()
        return self.digest if same and self.digest is not None else tensor_digest(dict(absent))


def put_back(checkpoint: dict[str, Any], module: nn.Module, backbones: Backbones, frozen: FrozenWeights | None) -> None:
    """The module's own weights in place of those that a checkpoint has not.

    Args:
        checkpoint: changed in place.
        module: that the checkpoint is loaded into.
        backbones: of the module, by attribute.
        frozen: what the module leaves out; None where its parameters are not all there yet.

    Raises:
        ValueError: the checkpoint was made beside other frozen weights than the backbones have now.
    """
    noted = checkpoint.get("frozen")
    if noted is None:
        return
    stored = checkpoint["state_dict"]
    absent = {name: value for name, value in module.state_dict().items() if name not in stored}
    found = tensor_digest(absent) if frozen is None else frozen.digest_of(absent, module, backbones)
    check_frozen(noted, found, _names(backbones))
    checkpoint["state_dict"] = {**stored, **absent}


def _names(backbones: Backbones) -> str:
    return " and ".join(dict.fromkeys(backbone_name(backbone) for backbone in backbones.values()))


def backbone_name(backbone: Backbone) -> str:
    """What people know the weights of a backbone by."""
    return str(getattr(backbone, "arguments", {}).get("pretrained", type(backbone).__name__))


def check_frozen(noted: dict[str, Any], found: str, name: str) -> None:
    """Refuse a checkpoint that was made beside other frozen weights.

    Args:
        noted: name and hash of those beside which it was made, as the checkpoint has them.
        found: hash of those that are here.
        name: of these.

    Raises:
        ValueError: with both hashes.
    """
    if found != noted["sha256"]:
        raise ValueError(
            f"the checkpoint was trained beside the frozen weights of {noted['backbone']} (hash "
            f"{noted['sha256'][:12]}), but this run's are those of {name} (hash {found[:12]}): take the same "
            "pretrained weights and the same adaptation"
        )
