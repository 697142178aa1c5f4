"""What transformers keeps to itself; seen in transformers 5.23.0."""

from __future__ import annotations

from typing import Any


def new_model(cls: Any, config: Any) -> Any:
    """A model of this class with fresh weights, in the number format and with the attention that its config names.

    `_from_config`: the public `from_config` is of the Auto classes alone, which choose the class themselves, and the
    constructor reads neither of the two.
    """
    return cls._from_config(config)
