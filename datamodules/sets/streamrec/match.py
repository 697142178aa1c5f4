"""How well a taste meets a style."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def match(taste: NDArray[np.float64], style: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products over the last dimension divided by the root of its length, for anything that broadcasts.

    Summed one dimension after the other: a library for linear algebra may add in another order elsewhere.

    Args:
        taste: [..., styles].
        style: [..., styles].
    """
    styles = taste.shape[-1]
    total = taste[..., 0] * style[..., 0]
    for k in range(1, styles):
        total = total + taste[..., k] * style[..., k]
    return np.asarray(total / np.sqrt(float(styles)))
