"""The exponential that the simulator uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SQUARINGS = 8
_LIMIT = 60.0


def growth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + x / 256)^256, which is nearly e^x: above 0, rising, and the same in every digit on every machine.

    `np.exp` differs in the last digits between processors, and one digit can decide between two items; eight squarings
    are rounded alike everywhere. Beyond -60 and 60 it is constant.
    """
    grown = np.clip(x, -_LIMIT, _LIMIT) / 2**_SQUARINGS + 1
    for _ in range(_SQUARINGS):
        grown *= grown
    return np.asarray(grown)
