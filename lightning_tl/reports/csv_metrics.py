"""`CsvMetrics`: the metrics of a run as one CSV file that survives a resume."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from lightning_tl.compat.lightning_csv import OpenedWriter
from lightning_tl.contracts.notice import Notice
from lightning_tl.storage.partial_file import write_whole


class _KeepingWriter(OpenedWriter):
    """Appends to the file that is there; Lightning's deletes it."""

    def open(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def save(self) -> None:
        try:
            super().save()
        except OSError as error:  # what was learned, or tested, must not be lost to a log
            why = error.strerror or str(error)
            warnings.warn(
                f"{self.metrics_file_path} could not be written ({why}); the run goes on", stacklevel=2, category=Notice
            )


class CsvMetrics(CSVLogger):
    """Lightning's `CSVLogger`, writing `<run folder>/metrics.csv` and keeping it when the run goes on later.

    Args:
        run_folder: where `metrics.csv` goes; created when the first metric is logged.
        flush_every: rows kept in memory before they are written.
    """

    def __init__(self, run_folder: str | os.PathLike[str], flush_every: int = 50) -> None:
        super().__init__(os.fspath(run_folder), name="", version="", flush_logs_every_n_steps=flush_every)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the table."""
        if self._experiment is None:
            os.makedirs(self.log_dir, exist_ok=True)
            self._experiment = _KeepingWriter(self.log_dir)
        return self._experiment

    @property
    def path(self) -> Path:
        """The CSV file."""
        return Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE

    def drop_from(self, step: int) -> None:
        """Forget rows of `step` and later: a run resumed at `step` writes them anew."""
        self.save()
        if not self.path.is_file():
            return
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            names, rows = list(reader.fieldnames or []), list(reader)
        kept = [row for row in rows if int(row["step"]) < step]
        if len(kept) == len(rows):
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(kept)
        write_whole(self.path, text.getvalue())


def read_metrics(loggers: Iterable[Logger]) -> pd.DataFrame | None:
    """The rows that the first CSV logger wrote so far; None, with a warning, when there is no such logger."""
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            logger.save()
            path = Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE
            return pd.read_csv(path) if path.is_file() else None
    advice = f"such as {CsvMetrics.__module__}.{CsvMetrics.__name__}"
    warnings.warn(f"no pictures of the training: it has no CSV logger, {advice}", stacklevel=3, category=Notice)
    return None
