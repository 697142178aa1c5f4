"""Checkpoints that hold what was trained, and of a frozen backbone only which one it was."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from lightning_tl.backbones.base import Backbone
from lightning_tl.storage.tensor_digest import tensor_digest
from lightning_tl.training.scheduled_module import ScheduledModule


class TrainedWeightsModule(ScheduledModule):
    """Leaves out of a checkpoint what no adaptation trains, and takes it from the backbones again on loading.

    In place of the frozen weights stand the name and a hash of them; buffers, such as the statistics of BatchNorm, are
    kept, and so are fresh weights, which lie nowhere else. The Trainer, `load_from_checkpoint` and anything else that
    calls Lightning's hooks sees whole weights.
    """

    _adapted: frozenset[str] = frozenset()  # parameters that the adaptations let train
    _frozen_digest: str | None = None
    _untouched: frozenset[str] = frozenset()  # backbones that no other module has trained
    is_built = False  # whether all parameters are there

    @abstractmethod
    def backbones(self) -> dict[str, Backbone]:
        """The pretrained backbones by the paths of their attributes."""

    @property
    def adapted_parameters(self) -> frozenset[str]:
        """Names of the parameters that the adaptation lets train at all."""
        return self._adapted

    @property
    def frozen_digest(self) -> str | None:
        """Hash of the pretrained weights that no adaptation trains; None where there are none."""
        return self._frozen_digest

    def note_frozen(self) -> None:
        """Remember which weights stay as they are; called once they are there, before a precision may round them."""
        self.is_built = True
        self._untouched = frozenset(path for path, backbone in self.backbones().items() if not backbone.was_trained)
        frozen = self._frozen()
        self._frozen_digest = tensor_digest(frozen) if frozen else None

    def on_train_start(self) -> None:
        super().on_train_start()
        for path, backbone in self.backbones().items():
            if any(name.startswith(f"{path}.") for name in self._adapted):
                backbone.was_trained = True  # what a later module finds is no longer what the name stands for

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        frozen = self._frozen()
        if not frozen:
            return
        checkpoint["state_dict"] = {name: v for name, v in checkpoint["state_dict"].items() if name not in frozen}
        checkpoint["frozen"] = {"backbone": self._names(), "sha256": self._frozen_digest}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises:
        ValueError: the checkpoint was made beside other frozen weights than the backbone has now.
        """
        super().on_load_checkpoint(checkpoint)
        noted = checkpoint.get("frozen")
        if noted is None:
            return
        stored = checkpoint["state_dict"]
        absent = {name: value for name, value in self.state_dict().items() if name not in stored}
        same = self._frozen_digest is not None and absent.keys() == self._frozen().keys()
        found = self._frozen_digest if same else tensor_digest(absent)  # another adaptation may leave out others
        assert found is not None
        check_frozen(noted, found, self._names())
        checkpoint["state_dict"] = {**stored, **absent}

    def _names(self) -> str:
        return " and ".join(dict.fromkeys(backbone_name(backbone) for backbone in self.backbones().values()))

    def _frozen(self) -> dict[str, Tensor]:
        """The backbones' parameters that no adaptation trains, under all their names."""
        trained = {id(parameter) for name, parameter in self.named_parameters() if name in self._adapted}
        found: dict[str, Tensor] = {}
        for path, backbone in self.backbones().items() if self.is_built else ():
            arguments = getattr(backbone, "arguments", {})
            can_be_had_again = "pretrained" in arguments and arguments.get("weights", True) not in (False, None)
            if can_be_had_again and path in self._untouched:  # other weights lie nowhere else
                everything = backbone.named_parameters(prefix=path, remove_duplicate=False)
                found |= {name: parameter.detach() for name, parameter in everything if id(parameter) not in trained}
        return found


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
