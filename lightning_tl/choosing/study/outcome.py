"""What a run of a study came to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

LOSS = "val_loss"  # what runs are chosen by where their recipe monitors nothing


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Args:
        error: why it failed; None for a finished run.
        best: of the monitored metric's values that were logged; NaN where none was.
        curve: (step, monitored metric) of each look at validation.
        trainable: parameters that were trained.
        total: parameters.
        seconds: of training.
        peak_bytes: memory, of the GPU where there is one.
        checkpoint_bytes: size of the best checkpoint.
        samples: that were trained on; 0 where the data do not say.
        data: hash of the test samples, by which runs of other data are recognised.
        monitor: name of the validation metric by which the run chose its checkpoint.
        mode: "max" where more of it is better, else "min".
    """

    error: str | None = None
    best: float = math.nan
    curve: tuple[tuple[int, float], ...] = ()
    trainable: int = 0
    total: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    checkpoint_bytes: int = 0
    samples: int = 0
    data: str = ""
    monitor: str = LOSS
    mode: str = "min"

    @property
    def loss(self) -> float:
        """The best value with the sign by which less is better."""
        return -self.best if self.mode == "max" else self.best

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """What was written of an outcome, also before metrics other than the loss were looked at."""
        found = json.loads(text)
        if LOSS in found:
            found["best"] = found.pop(LOSS)
        return cls(**{**found, "curve": tuple(tuple(point) for point in found["curve"])})


def read_outcome(run: Path, judged_by: tuple[str, str] | None = None) -> Outcome:
    """The outcome of a finished run, from its summary and its metrics.

    Args:
        run: its folder.
        judged_by: a validation metric and its direction; default what the run monitored.
    """
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    monitor, mode = judged_by or monitored(run) or (LOSS, "min")
    curve: list[tuple[int, float]] = []
    if (run / "metrics.csv").is_file():
        table = pd.read_csv(run / "metrics.csv")
        if monitor in table:
            rows = table[["step", monitor]].dropna()
            curve = [(int(step), float(value)) for step, value in zip(rows["step"], rows[monitor], strict=True)]
    values = [value for _, value in curve if np.isfinite(value)]
    sizes = [path.stat().st_size for path in (run / "checkpoints").glob("best*.ckpt")]
    parameters = summary.get("parameters") or {}
    memory = summary.get("peak_gpu_memory_bytes") or summary.get("peak_memory_bytes") or 0
    splits = (summary.get("data") or {}).get("splits") or {}
    tested, trained = splits.get("test") or {}, splits.get("train") or {}
    return Outcome(
        best=(max if mode == "max" else min)(values) if values else math.nan,
        curve=tuple(curve),
        trainable=int(parameters.get("trainable", 0)),
        total=int(parameters.get("total", 0)),
        seconds=float(summary["seconds"]["training"]),
        peak_bytes=int(memory),
        checkpoint_bytes=max(sizes, default=0),
        samples=int(trained.get("samples") or 0),
        data=str(tested.get("sha256", "")),
        monitor=monitor,
        mode=mode,
    )


def monitored(run: Path) -> tuple[str, str] | None:
    """The validation metric by which a run chose its checkpoint, and its direction; None where it monitors none.

    Args:
        run: its folder.
    """
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except OSError:
        return None
    kept = (config.get("checkpoint") if isinstance(config, dict) else None) or {}
    return (str(kept["monitor"]), str(kept.get("mode", "min"))) if kept.get("monitor") else None


def mean_best(found: Sequence[Outcome]) -> float:
    """The mean of what several runs reached in validation; NaN where one reached no number."""
    return float(np.mean([outcome.best for outcome in found]))
