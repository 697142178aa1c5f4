"""What timm keeps to itself; seen in timm 1.0.31."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def settings_of_folder(folder: str | Path) -> dict[str, Any]:
    """What the config.json of a local folder says of its weights: sizes, mean and std of images, number of classes.

    `timm.models._hub.load_model_config_from_path`: timm has a public name for the same from the hub alone.
    """
    from timm.models._hub import load_model_config_from_path

    found: dict[str, Any] = load_model_config_from_path(folder)[0]
    return found


def write_settings(
    model: nn.Module, file: Path, class_names: Sequence[str] | None, data_config: Mapping[str, Any]
) -> None:
    """Write the config.json from which `timm.create_model("local-dir:…")` makes the same model.

    `timm.models._hub.save_config_for_hf`: the public `save_for_hf` also writes the weights, and not of every model.
    """
    from timm.models._hub import save_config_for_hf

    labels = {"label_names": list(class_names)} if class_names else None
    save_config_for_hf(model, str(file), model_config=labels, data_config=dict(data_config))


def numbers_by_matcher(names: Iterable[str], matcher: Any) -> dict[str, int]:
    """The number of the group of each name, by what a model's `group_matcher` returns.

    `timm.models._manipulate.group_with_matcher`: the public `group_parameters` numbers parameters alone, no buffers.
    """
    from timm.models._manipulate import group_with_matcher

    found: dict[str, int] = group_with_matcher(((name, None) for name in names), matcher, reverse=True)
    return found
