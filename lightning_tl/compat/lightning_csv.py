"""`OpenedWriter`: Lightning's writer of metrics.csv, told what to do with a file that is there."""

from __future__ import annotations

from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class OpenedWriter(ExperimentWriter):
    """Lets a subclass say what becomes of a file of before, which Lightning deletes; seen in lightning 2.6.6."""

    def open(self) -> None:
        """Called once, when `metrics_file_path` is known and before anything is written; does nothing.

        `_check_log_dir_exists`: the constructor calls it to warn and delete, and no public hook.
        """

    def _check_log_dir_exists(self) -> None:
        self.open()
