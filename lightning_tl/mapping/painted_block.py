"""`PaintedBlock`: classes and confidence of one block of a map."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_tl.mapping.plans import DensePlan, MapPlan, TilePlan, Window
from lightning_tl.mapping.scene_source import Pixels

NO_CLASS = 255
NO_CONFIDENCE = 255  # of percent
NO_PROBABILITY = 65_535  # of 1/10,000


@dataclass(frozen=True)
class PaintedBlock:
    """What a map says of a block.

    Args:
        classes: [height, width] class numbers, `NO_CLASS` where there is none.
        confidence: [height, width], the probability of that class in percent.
        probabilities: [classes, height, width] in 1/10,000; None where they are not asked for.
    """

    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    probabilities: NDArray[np.uint16] | None

    @classmethod
    def of(cls, found: NDArray[np.float32], there: NDArray[np.bool_], keep: bool) -> PaintedBlock:
        """From probabilities [classes, height, width] and where they count [height, width].

        Raises:
            ValueError: some are no numbers, which would be painted as the first class.
        """
        if broken := int((~np.isfinite(found).all(0) & there).sum()):
            raise ValueError(
                f"the model gives no numbers for {broken:,} of {there.sum():,} pixels of a block (nan): its training "
                "diverged, or its weights are damaged; train it again, at a lower rate"
            )
        classes = np.where(there, found.argmax(0), NO_CLASS).astype(np.uint8)
        confidence = np.where(there, np.rint(found.max(0) * 100), NO_CONFIDENCE).astype(np.uint8)
        kept = np.where(there, np.rint(found * 10_000), NO_PROBABILITY).astype(np.uint16) if keep else None
        return cls(classes, confidence, kept)


@dataclass(frozen=True)
class BlockPainter:
    """Scores the windows of a block and paints what they say.

    Args:
        plan: where windows lie.
        scorer: gives probabilities of windows, [classes] or of a dense model [classes, height, width], in their order.
        classes: how many there are.
        most_missing: windows with a larger share of pixels without data are not scored.
        probabilities: whether all of them are kept.
    """

    plan: MapPlan
    scorer: Callable[[list[Pixels]], Iterable[NDArray[np.float32]]]
    classes: int
    most_missing: float
    probabilities: bool

    def paint(self, block: Window, place: Window, pixels: Pixels, valid: NDArray[np.bool_]) -> PaintedBlock:
        """Paint a block.

        Args:
            block: of the map.
            place: what was read: all its windows.
            pixels: [height, width, channels] of that place.
            valid: [height, width], where there are data that are to be mapped.
        """
        windows = self.plan.windows(block)
        views = [
            (slice(r - place[0], r - place[0] + h), slice(c - place[1], c - place[1] + w)) for r, c, h, w in windows
        ]
        asked = [k for k, view in enumerate(views) if 1 - valid[view].mean() <= self.most_missing and valid[view].any()]
        answers = self.scorer([pixels[views[k]] for k in asked])
        if isinstance(self.plan, TilePlan):
            found, scored = self._cells(self.plan, block, asked, list(answers))
        else:
            assert isinstance(self.plan, DensePlan)
            found, scored = self._blended(self.plan, block, windows, asked, answers)
        inside = slice(block[0] - place[0], block[0] - place[0] + block[2])
        across = slice(block[1] - place[1], block[1] - place[1] + block[3])
        return PaintedBlock.of(found, scored & valid[inside, across], self.probabilities)

    def _cells(
        self, plan: TilePlan, block: Window, asked: list[int], answers: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        rows, columns = plan.cells(block)
        found = np.zeros((rows * columns, self.classes), np.float32)
        scored = np.zeros(rows * columns, bool)
        if asked:
            found[asked], scored[asked] = np.stack(answers), True
        planes = found.T.reshape(self.classes, rows, columns).repeat(plan.stride, 1).repeat(plan.stride, 2)
        where = scored.reshape(rows, columns).repeat(plan.stride, 0).repeat(plan.stride, 1)
        return planes[:, : block[2], : block[3]], where[: block[2], : block[3]]

    def _blended(
        self,
        plan: DensePlan,
        block: Window,
        windows: list[Window],
        asked: list[int],
        answers: Iterable[NDArray[np.float32]],
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        weights = plan.weights()
        total = np.zeros((self.classes, block[2], block[3]), np.float32)
        weight = np.zeros((block[2], block[3]), np.float32)
        for k, answer in zip(asked, answers, strict=True):  # always in this order, so that the sums are the same
            row, column = windows[k][0] - block[0], windows[k][1] - block[1]
            top, left = max(0, row), max(0, column)
            bottom, right = min(block[2], row + plan.window), min(block[3], column + plan.window)
            part = slice(top - row, bottom - row), slice(left - column, right - column)
            total[:, top:bottom, left:right] += answer[:, part[0], part[1]] * weights[part]
            weight[top:bottom, left:right] += weights[part]
        return np.asarray(total / np.maximum(weight, 1e-12), np.float32), weight > 0
