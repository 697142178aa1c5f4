"""Compares runs on the land-cover sample with each other and with random forests on colours.

    python scripts/benchmarks/compare_land_cover.py runs/satellite_vit/TIME runs/satellite_from_scratch/TIME

Prints one Markdown table. The forests (500 trees, seed 0) learn from the training split alone: one from all colours of
a tile, one from the central 4 × 4 pixels, which are the 0.25 degrees that a tile is labelled by. Intervals are 95%
block-bootstrap intervals over the 5° blocks of the test split, the differences (first run minus the row) in pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from datamodules import SatelliteDataModule
from lightning_tl.metrics import BootstrapInterval, bootstrap_difference, bootstrap_mean, class_scores, macro_f1
from lightning_tl.reports.resources import duration_text, memory_text
from lightning_tl.reports.summary import read_summary

Indices = NDArray[np.int64]
CENTRE = slice(6, 10)  # of the 16 pixels of a tile


@dataclass(frozen=True)
class Row:
    """One line of the table: class numbers [n] predicted for the test tiles, in the order of the sample."""

    name: str
    predicted: Indices
    seconds: float | None = None
    memory_bytes: int | None = None


def read_run(folder: Path, data: SatelliteDataModule) -> Row:
    """Predictions and costs of a run.

    Raises:
        FileNotFoundError: when the folder holds no tested run.
        ValueError: when the run was tested on other tiles, or with other labels, than the sample's test split.
    """
    path = folder / "predictions" / "test.parquet"
    if not path.is_file():
        kind = "has no predictions/test.parquet; test it first: lightning-tl test --run " + str(folder)
        if not (folder / "config.yaml").is_file():
            kind = "is not the folder of a run; give folders such as runs/satellite_vit/TIME"
        raise FileNotFoundError(f"{folder} {kind}")
    table = pd.read_parquet(path).set_index("id")
    test = data.indices["test"]
    ids = data.sample_ids(test.tolist())
    if set(table.index) != set(ids) or len(table) != len(ids):
        raise ValueError(
            f"{folder} was tested on {len(table)} samples, of which {len(set(table.index) & set(ids))} are among the "
            f"{len(ids)} test tiles of the land-cover sample; runs compare only on the same tiles (data.fold null)"
        )
    numbers = {name: number for number, name in enumerate(data.class_names)}
    rows = table.loc[ids, ["label", "predicted"]].map(lambda name: numbers.get(name, -1))
    if (rows["label"].to_numpy() != data.records.labels[test]).any():
        raise ValueError(f"{folder} has other labels for the test tiles than the land-cover sample")
    summary = read_summary(folder)
    seconds = sum(summary["seconds"].values()) if summary.get("seconds") else None
    return Row(
        folder.resolve().parent.name, rows["predicted"].to_numpy(np.int64), seconds, summary.get("peak_memory_bytes")
    )


def forest(name: str, features: NDArray[np.uint8], data: SatelliteDataModule, jobs: int) -> Row:
    """A random forest on features [tiles, d] of all tiles."""
    started = time.perf_counter()
    trees = RandomForestClassifier(500, random_state=0, n_jobs=jobs)
    trees.fit(features[data.indices["train"]], data.records.labels[data.indices["train"]])
    predicted = trees.predict(features[data.indices["test"]]).astype(np.int64)
    return Row(name, predicted, time.perf_counter() - started)


def forests(data: SatelliteDataModule, jobs: int) -> list[Row]:
    images = data.records.images  # [tiles, 16, 16, 3]
    assert images is not None
    centre = images[:, CENTRE, CENTRE]
    return [
        forest("random forest, colours of the whole tile", images.reshape(len(images), -1), data, jobs),
        forest("random forest, colours of the central pixels", centre.reshape(len(images), -1), data, jobs),
    ]


def markdown(rows: list[Row], data: SatelliteDataModule) -> str:
    test = data.indices["test"]
    target, blocks = data.records.labels[test], data.blocks(test.tolist())
    names = [row.name for row in rows]
    first = rows[0].predicted == target
    lines = [
        f"| test on {len(test):,} tiles | accuracy | macro-F1 | time | peak memory | {names[0]} minus this |",
        "|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        hits = row.predicted == target
        score = macro_f1(class_scores(target, row.predicted.clip(0), data.class_names))
        cells = [
            row.name if names.count(row.name) == 1 else f"{row.name} ({number + 1})",
            _interval(bootstrap_mean(hits, blocks), ".3f"),
            f"{score:.3f}",
            "" if row.seconds is None else duration_text(row.seconds),
            "" if row.memory_bytes is None else memory_text(row.memory_bytes),
            _interval(bootstrap_difference(first, hits, blocks), "+.3f") if number else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(found: BootstrapInterval, form: str) -> str:
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders; the others are compared with the first")
    parser.add_argument("--jobs", type=int, default=-1, help="processes for the forests; -1: one for each core")
    given: Any = parser.parse_args(arguments)
    data = SatelliteDataModule(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    data.setup("test")
    try:
        rows = [read_run(folder, data) for folder in given.runs]
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(markdown([*rows, *forests(data, given.jobs)], data))


if __name__ == "__main__":
    main()
