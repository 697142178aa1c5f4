"""What is said when weights do not fit the model that their configuration describes."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

# Parts of pretraining or of an old task that a backbone does without, and constants that old files repeat.
NOT_OF_THE_BACKBONE = re.compile(
    r"(^|\.)(classifier|cls_classifier|distillation_classifier|pooler|decoder|mask_token)(\.|$)"
    r"|^fc\.|relative_position_index$|position_ids$|num_batches_tracked$"
)


def check_keys(
    name: str, missing: Collection[str], unexpected: Collection[str], mismatched: Collection[tuple[str, object, object]]
) -> None:
    """Refuse weights that fit only in part.

    Args:
        name: of the weights, for the message.
        missing: keys of the model that the file lacks.
        unexpected: keys of the file that the model lacks; those of heads and decoders are let pass.
        mismatched: (key, shape in the file, shape in the model).

    Raises:
        ValueError: naming every key.
    """
    strangers = sorted(key for key in unexpected if not NOT_OF_THE_BACKBONE.search(key))
    shapes = [f"{key} is {_shape(file)} in the file, {_shape(model)} by the config" for key, file, model in mismatched]
    found = {"missing": sorted(missing), "unexpected": strangers, "of another shape": sorted(shapes)}
    problems = [f"{what} ({len(keys)}): {', '.join(keys)}" for what, keys in found.items() if keys]
    if problems:
        raise ValueError(
            f"the weights of {name} do not match its config.json; {'; '.join(problems)}. "
            "Take config.json and weights from the same model"
        )


def load_checked(name: str, model: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Load `state` into `model`, or say for every key why it does not fit.

    Raises:
        ValueError: as `check_keys`.
    """
    own = model.state_dict()
    shapes = [(key, state[key].shape, value.shape) for key, value in own.items() if key in state]
    differ = [(key, file, model) for key, file, model in shapes if file != model]
    absent = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    check_keys(name, absent, [key for key in state if key not in own], differ)
    model.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


@contextmanager
def damaged_file_errors(path: Path) -> Iterator[None]:
    """Turn what readers raise on a truncated or corrupt file into one message."""
    import pickle
    import zipfile

    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(_damaged(path, error)) from None
    except (RuntimeError, OSError) as error:  # torch's own zip reader raises nothing more specific
        if "PytorchStreamReader" not in str(error) and getattr(error, "errno", None) != errno.EINVAL:
            raise
        raise ValueError(_damaged(path, error)) from None


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors or a torch file, without running code from it."""
    from safetensors.torch import load_file

    with damaged_file_errors(path):
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    return dict(state.get("state_dict", state))


def _damaged(path: Path, error: BaseException) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"the weights in {path} are damaged or half-written ({reason}); copy or download them again"


def _shape(shape: object) -> str:
    return str(list(shape)) if isinstance(shape, (tuple, list, torch.Size)) else str(shape)
