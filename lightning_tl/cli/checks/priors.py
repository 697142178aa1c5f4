"""Predictions under other shares of classes than those of the training: `predict --priors`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.choosing.shift.label_shift import LabelShift, check_confusion, label_shift, reweighted
from lightning_tl.cli.errors import UserError, nearest
from lightning_tl.cli.options import Options
from lightning_tl.cli.run_folder import is_first_process
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.reports.predictions import read_class_names
from lightning_tl.storage.partial_file import fresh_file

ESTIMATED = "estimated"
_SUM = 0.01  # by which named shares may miss 1


def prior_correction(options: Options) -> PriorCorrection | None:
    """What `--priors` asks for; None where it is not given."""
    return None if options.priors is None or options.run is None else PriorCorrection(options.run, options.priors)


class PriorCorrection:
    """Checks what is asked for before anything is predicted, and corrects the file of predictions afterwards.

    Args:
        run: folder of the run that predicts.
        wanted: `ESTIMATED`, or `name:share,…` for every class.

    Raises:
        UserError: a run of another task than one label, a class without training samples, shares that are none, or for
            `ESTIMATED` a run without predictions of its test.
        ValueError: a confusion matrix by which shares cannot be estimated.
    """

    def __init__(self, run: Path, wanted: str) -> None:
        description = RunDescription.read(run)
        if description is None or description.task != "one label" or len(description.class_names) < 2:
            task = getattr(description, "task", None) or "not known"
            raise UserError(f"--priors corrects predictions of one label a sample, and the task of {run} is {task}")
        self.file, self.started = run / "predictions" / "predict.parquet", time.time()
        self.names = description.class_names
        counts = description.splits.get("train", {}).get("classes", {})
        self.trained = np.array([float(counts.get(name, 0)) for name in self.names])
        if empty := [name for name, count in zip(self.names, self.trained, strict=True) if not count > 0]:
            raise UserError(f"--priors needs each class's share in training, and {run} has no samples of {empty[0]}")
        self.trained /= self.trained.sum()
        self.given = None if wanted == ESTIMATED else read_shares(wanted, self.names)
        if self.given is None:
            self._read_test(run / "predictions" / "test.parquet", run)

    def _read_test(self, file: Path, run: Path) -> None:
        if not file.is_file():
            raise UserError(f"--priors=estimated needs what {run} said of labelled samples, and it was not tested")
        table = pq.read_table(file)
        numbers = {name: k for k, name in enumerate(self.names)}
        if tuple(read_class_names(table.schema)) != self.names:
            raise UserError(f"{file} is of other classes than the run: test the run again")
        self.true, self.said = (
            np.array([numbers[name] for name in table[column].to_pylist()], dtype=np.int64)
            for column in ("label", "predicted")
        )
        self.blocks = table["block"].to_numpy() if "block" in table.column_names else None
        check_confusion(self.true, self.said, len(self.names))

    def finish(self) -> None:
        """Correct what has been predicted meanwhile, on the first process."""
        if not is_first_process():
            return
        if not self.file.is_file() or self.file.stat().st_mtime < self.started - 1:  # as of a trial run
            print("nothing was predicted, so there is nothing to correct", flush=True)
            return
        print("\n".join(self.correct(self.file)), flush=True)

    def correct(self, file: Path) -> list[str]:
        """Add the columns `corrected_probabilities` and `corrected_label`, and say what was corrected for.

        Args:
            file: of predictions, with `label` and `probabilities`.
        """
        table = pq.read_table(file)
        probabilities = np.stack(table["probabilities"].to_pylist())
        lines, priors = [], self.given
        if priors is None:
            found = self._estimated(table["label"].to_pylist())
            priors, lines = found.estimated, shift_lines(found, self.names)
        else:
            told = ", ".join(f"{name} {share:.1%}" for name, share in zip(self.names, priors, strict=True))
            lines = [f"shares of classes, as given: {told}"]
        better = reweighted(probabilities, self.trained, priors)
        labels = [self.names[k] for k in better.argmax(1).tolist()]
        changed = sum(new != old for new, old in zip(labels, table["label"].to_pylist(), strict=True))
        table = table.append_column(
            "corrected_probabilities", pa.array(list(better.astype(np.float32)), pa.list_(pa.float32()))
        ).append_column("corrected_label", pa.array(labels, pa.string()))
        content = {"estimated": self.given is None, "shares": dict(zip(self.names, priors.tolist(), strict=True))}
        noted = {**(table.schema.metadata or {}), b"corrected_for_priors": json.dumps(content).encode()}
        partial = file.with_name(file.name + ".part")
        with fresh_file(partial) as target:
            pq.write_table(table.replace_schema_metadata(noted), target)
        partial.replace(file)
        where = "corrected_probabilities and corrected_label"
        return [*lines, f"{where} are corrected for them: {changed:,} of {len(labels):,} labels change"]

    def _estimated(self, labels: list[str]) -> LabelShift:
        numbers = {name: k for k, name in enumerate(self.names)}
        new = np.array([numbers[name] for name in labels], dtype=np.int64)
        return label_shift(self.true, self.said, new, len(self.names), self.blocks)


def shift_lines(found: LabelShift, names: tuple[str, ...]) -> list[str]:
    """Label shift in words."""
    width = max(map(len, names))
    differs = "differ" if found.p_value <= 0.05 else "are not shown to differ"
    lines = [f"label shift: shares of classes {differs} from the test's (p {found.p_value:.2g})"]
    lines += [
        f"  {name:<{width}}  {was:6.1%} in the test, {now:6.1%} here (95% interval {low:.1%} to {high:.1%})"
        for name, was, now, low, high in zip(names, found.known, found.estimated, found.low, found.high, strict=True)
    ]
    if found.cut:
        lines.append("some shares came out below 0 and were set to 0: perhaps classes look different here, which is no")
        lines[-1] += " label shift"
    return [*lines, "that holds where each class looks as it did in training; distance tells of changed inputs"]


def read_shares(text: str, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Shares of all classes: [classes], of sum 1.

    Args:
        text: `name:share,…`; a name may hold commas and colons.
        names: of the classes.

    Raises:
        UserError: classes that are missing, named twice or unknown, and shares that are none or miss 1 in sum.
    """
    found: dict[str, float] = {}
    before = ""
    for piece in text.split(","):
        name, colon, value = (before + piece).rpartition(":")
        if not colon or (name not in names and before + piece + "," in text and _no_number(value)):
            before += piece + ","
            continue
        before, name = "", name.strip()
        if name not in names:
            raise UserError(f"--priors: there is no class '{name}'{nearest(name, names)}; classes: {', '.join(names)}")
        if name in found:
            raise UserError(f"--priors names {name} twice")
        if _no_number(value) or not 0 <= float(value) <= 1:
            raise UserError(f"--priors: the share of {name} must be in 0…1, got {value.strip() or 'nothing'}")
        found[name] = float(value)
    if before.strip(", ") or not text.strip():
        raise UserError(f"--priors is estimated, or name:share,… for every class, got {text}")
    if missing := [name for name in names if name not in found]:
        raise UserError(f"--priors must have a share for every class; there is none for {', '.join(missing)}")
    if abs(sum(found.values()) - 1) > _SUM:
        raise UserError(f"--priors: shares must be 1 in all, got {sum(found.values()):g}")
    shares: NDArray[np.float64] = np.array([found[name] for name in names])
    shares /= shares.sum()
    return shares


def _no_number(text: str) -> bool:
    try:
        return not np.isfinite(float(text))
    except ValueError:
        return True
