"""Write `datamodules/sets/land_cover/manifest.parquet`: which tiles of the land-cover sample exist.

    python scripts/tools/make_land_cover_manifest.py            # rewrites the manifest, prints the counts
    python scripts/tools/make_land_cover_manifest.py --check    # exit 1 if the committed manifest differs

There is no randomness: the manifest is a function of the two rasters and the constants below.

- A *centre* is a pixel corner of the 1/15 degree image. Its label is the class that covers most of the central
  0.25 degrees of the 0.05 degree land-cover map, where that is at least half (exact areas, not cell counts).
- Water counts only within 1.5 degrees of land, and only in blocks that hold a tile of another class.
- Blocks are 5 degrees wide (75 pixels); a centre stays 8 pixels away from its block's edge, so that the largest tile
  (16 pixels) lies wholly inside its block.
- Centres of one class are at least 3 pixels (0.2 degrees) apart in row or column. Of a class with more than
  `PER_CLASS` of them every n-th in reading order stays, so that its tiles stand for its area on the map.
- Blocks are dealt into five folds, largest first, each to the fold that keeps the classes most even.
  Fold 0 is test, fold 1 validation, folds 2 to 4 training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

FOLDER = Path(__file__).resolve().parent.parent.parent / "datamodules" / "sets" / "land_cover"
CLASSES = ("forest", "cropland", "urban", "water", "barren", "wetland")
IGBP = ((1, 2, 3, 4, 5), (12, 14), (13,), (0,), (16,), (11,))
PIXELS_PER_DEGREE, CELLS_PER_DEGREE = 15, 20
BLOCK_PIXELS, LARGEST_TILE_PIXELS, SPACING_PIXELS = 75, 16, 3
CENTRE_DEGREES, COAST_DEGREES, PER_CLASS, FOLDS = 0.25, 1.5, 900, 5


def central_fractions(cover: NDArray[np.uint8], igbp: tuple[int, ...]) -> NDArray[np.float64]:
    """Share of the central 0.25 degrees that the classes `igbp` cover, for every pixel corner: [2701, 5401].

    The integral of a piecewise constant map is piecewise bilinear in its corners, so interpolating the
    summed-area table gives exact areas. Corners whose window leaves the map get nan.
    """
    table = np.zeros((cover.shape[0] + 1, cover.shape[1] + 1))
    table[1:, 1:] = np.isin(cover, igbp).cumsum(0).cumsum(1)
    half = CENTRE_DEGREES / 2 * CELLS_PER_DEGREE

    def interpolated(axis: int, shift: float, values: NDArray[np.float64]) -> NDArray[np.float64]:
        size = (values.shape[axis] - 1) // CELLS_PER_DEGREE * PIXELS_PER_DEGREE + 1
        at = np.arange(size) * CELLS_PER_DEGREE / PIXELS_PER_DEGREE + shift
        low = np.clip(np.floor(at).astype(int), 0, values.shape[axis] - 2)
        weight = np.where((at < 0) | (at > values.shape[axis] - 1), np.nan, at - low)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        between: NDArray[np.float64] = (
            np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight
        )
        return between

    rows = interpolated(0, half, table) - interpolated(0, -half, table)
    fractions: NDArray[np.float64] = (interpolated(1, half, rows) - interpolated(1, -half, rows)) / (2 * half) ** 2
    return fractions


def near_land(cover: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixel corners within 1.5 degrees (of latitude and longitude, as the map lies) of a land cell: [2701, 5401]."""
    pad = int(2 * COAST_DEGREES * CELLS_PER_DEGREE)
    water = np.pad(cover == 0, ((0, 0), (pad, pad)), mode="wrap")
    distance = ndimage.distance_transform_edt(water)[:, pad:-pad] / CELLS_PER_DEGREE
    rows = np.minimum(np.arange(2701) * 4 // 3, cover.shape[0] - 1)
    columns = np.minimum(np.arange(5401) * 4 // 3, cover.shape[1] - 1)
    near: NDArray[np.bool_] = distance[np.ix_(rows, columns)] <= COAST_DEGREES
    return near


def spaced(candidates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Centres (row, column) in reading order, none within `SPACING_PIXELS` of an earlier one: [n, 2]."""
    free = candidates.copy()
    kept = []
    for row, column in zip(*np.nonzero(candidates), strict=True):
        if free[row, column]:
            kept.append((row, column))
            reach = SPACING_PIXELS - 1
            free[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = False
    return np.array(kept, dtype=np.int64)


def thinned(centres: NDArray[np.int64]) -> NDArray[np.bool_]:
    """At most `PER_CLASS` centres, every n-th in reading order: tiles stand for the class's area on the map."""
    keep = np.zeros(len(centres), bool)
    keep[np.linspace(0, len(centres) - 1, min(len(centres), PER_CLASS)).round().astype(int)] = True
    return keep


def deal(blocks: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[int, int]:
    """Block -> fold: largest block first, to the fold where the classes then stay most even."""
    names = np.unique(blocks)
    counts = np.stack([np.bincount(labels[blocks == b], minlength=len(CLASSES)) for b in names]).astype(float)
    share = counts / counts.sum(0)  # a rare class weighs as much as a common one
    totals = np.zeros((FOLDS, len(CLASSES)))
    fold_of = {}
    for i in sorted(range(len(names)), key=lambda i: (-share[i].max(), names[i])):
        after = [((np.delete(totals, f, 0) ** 2).sum() + ((totals[f] + share[i]) ** 2).sum()) for f in range(FOLDS)]
        fold = int(np.argmin(after))
        totals[fold] += share[i]
        fold_of[int(names[i])] = fold
    return fold_of


def manifest() -> pa.Table:
    cover = tifffile.imread(FOLDER / "modis_mcd12c1_2019_igbp_7200x3600.tif")
    fractions = np.stack([central_fractions(cover, igbp) for igbp in IGBP])  # [class, 2701, 5401]
    label_map = np.nan_to_num(fractions, nan=-1.0).argmax(0)
    coverage = np.nan_to_num(fractions.max(0), nan=0.0)
    coast = near_land(cover)
    half = LARGEST_TILE_PIXELS // 2
    inside = np.zeros(coverage.shape, bool)
    rows, columns = np.arange(2701) % BLOCK_PIXELS, np.arange(5401) % BLOCK_PIXELS
    inside[
        np.ix_((rows >= half) & (rows <= BLOCK_PIXELS - half), (columns >= half) & (columns <= BLOCK_PIXELS - half))
    ] = True

    parts: list[NDArray[np.int64]] = []
    for label, name in sorted(enumerate(CLASSES), key=lambda pair: pair[1] == "water"):  # water last
        candidates = inside & (coverage >= 0.5) & (label_map == label)
        if name == "water":
            candidates &= coast
        centres = spaced(candidates)
        block = centres[:, 0] // BLOCK_PIXELS * (5400 // BLOCK_PIXELS) + centres[:, 1] // BLOCK_PIXELS
        if name == "water":
            shared = np.isin(block, np.concatenate([part[:, 2] for part in parts]))
            centres, block = centres[shared], block[shared]
        keep = thinned(centres)
        parts.append(np.column_stack([centres[keep], block[keep], np.full(keep.sum(), label)]))
    table = np.concatenate(parts)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    row, column, block, label = table.T
    fold_of = deal(block, label)
    fold = np.array([fold_of[int(b)] for b in block])
    shares = fractions[:, row, column].T.astype(np.float32)  # [n, class]
    columns_out = {
        "id": [f"r{r:04d}c{c:04d}" for r, c in zip(row, column, strict=True)],
        "row": row.astype(np.int32),
        "column": column.astype(np.int32),
        "latitude": (90 - row / PIXELS_PER_DEGREE).astype(np.float32),
        "longitude": (column / PIXELS_PER_DEGREE - 180).astype(np.float32),
        "label": [CLASSES[k] for k in label],
        "coverage": shares[np.arange(len(label)), label],
        "block": block.astype(np.int32),
        "fold": fold.astype(np.int8),
        "split": [("test", "validation", "train", "train", "train")[f] for f in fold],
    }
    return pa.table(columns_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed manifest, write nothing")
    arguments = parser.parse_args()
    path = FOLDER / "manifest.parquet"
    table = manifest()
    if arguments.check:
        same = pq.read_table(path).equals(table)
        print("manifest is up to date" if same else f"{path} differs from what this script makes")
        raise SystemExit(0 if same else 1)
    pq.write_table(table, path, compression="zstd")
    frame = table.to_pandas()
    print(frame.pivot_table(index="label", columns="split", values="id", aggfunc="count", margins=True))
    print(frame.groupby("split").block.nunique().to_string())


if __name__ == "__main__":
    main()
