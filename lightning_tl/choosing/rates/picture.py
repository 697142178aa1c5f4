"""The picture of a range test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lightning_tl.choosing.rates.loss_curve import LossCurve
from lightning_tl.reports.pictures.picture_style import BLUE, GREY, ORANGE, picture


def draw_curve(curve: LossCurve, steps: int, suggested: float | None, path: Path) -> None:
    """The loss by factor, as it was and smoothed, with the suggested factor.

    Args:
        curve: of the test.
        steps: of the whole test.
        suggested: the factor; None where there is none.
        path: of the PNG file.
    """
    smoothed = curve.smoothed(steps)
    with picture(path, 6.4, 3.8) as figure:
        axes = figure.add_subplot()
        axes.plot(curve.factors, curve.losses, color=GREY, linewidth=0.8, label="loss of a step")
        axes.plot(curve.factors, smoothed, color=BLUE, label="smoothed")
        if suggested is not None:
            height = float(np.interp(np.log(suggested), np.log(curve.factors), smoothed))
            axes.plot([suggested], [height], "o", color=ORANGE, markersize=7, label=f"falls fastest: × {suggested:.3g}")
        axes.set_xscale("log")
        low, high = min(smoothed), max(smoothed[: max(2, len(smoothed) // 2)])
        axes.set_ylim(low - 0.3 * (high - low) - 1e-6, high + 1.2 * (high - low) + 1e-6)
        axes.set_xlabel("factor of every group's own learning rate")
        axes.set_ylabel("training loss")
        axes.legend(fontsize=8)
