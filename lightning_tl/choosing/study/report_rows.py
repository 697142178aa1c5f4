"""The tables of a study's report, row by row."""

from __future__ import annotations

from lightning_tl.choosing.study.measures import Measure
from lightning_tl.choosing.study.plan import labels_text
from lightning_tl.choosing.study.scores import Difference, Score


def score_row(score: Score, measure: Measure) -> dict[str, object]:
    """A row of `scores.parquet`."""
    return {
        "arm": score.arm,
        "labels": labels_text(score.labels),
        "rate": score.rate,
        measure.column: score.quality.mean,
        "low": score.quality.low,
        "high": score.quality.high,
        "spread": score.spread,
        "trainable": score.trainable,
        "seconds": score.seconds,
        "peak_bytes": score.peak_bytes,
        "checkpoint_bytes": score.checkpoint_bytes,
        "on_front": score.on_front,
        **({"baseline": score.baseline} if not measure.has_labels else {}),
    }


def gap_row(gap: Difference) -> dict[str, object]:
    """A row of `differences.parquet`."""
    return {
        "first": gap.first,
        "second": gap.second,
        "labels": labels_text(gap.labels),
        "difference": gap.interval.mean,
        "low": gap.interval.low,
        "high": gap.interval.high,
        "corrected_low": gap.corrected.low,
        "corrected_high": gap.corrected.high,
        "verdict": gap.verdict,
        "would_settle": gap.would_settle,
    }
