"""Does the class token's attention separate land from water?

    python scripts/benchmarks/attention_water.py [--model FOLDER …]

Tiles of the shipped imagery that are between a quarter and three quarters water. A head's attention to the patches is
cut where the patches above hold a share of what all get together (Caron et al. 2021, arXiv 2104.14294, figure 4), and
what is above, or what is below, is taken for water. Head, side and share are chosen on tiles of the training blocks;
then the intersection over union with the water of the land-cover map is told for tiles of the test blocks, which no
pretraining here reads. Beside it the same, choice and all, of a network with random weights and of the patches'
darkness in place of attention; and calling all of a tile water. Intervals draw whole blocks, differences are paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.sets.land_cover_map import BLOCK_PIXELS, CELLS_PER_PIXEL, LandCoverMap
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.backbones.class_token_attention import ClassTokenAttention
from lightning_tl.contracts.batches import ImageSpec
from lightning_tl.metrics import bootstrap_difference, bootstrap_mean

WATER = 0  # the map's code
LEAST, MOST = 0.25, 0.75  # share of a tile that is water
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the attention that the patches above the cut hold
STRIDE = 8  # pixels between tiles

Maps = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Coast:
    """Tiles with land and water.

    Args:
        tiles: [tiles, side, side, 3].
        water: [tiles, rows, columns], whether most of a patch is water.
        blocks: [tiles] in which block of the map each lies.
    """

    tiles: NDArray[np.uint8]
    water: NDArray[np.bool_]
    blocks: NDArray[np.int64]


def water_shares(land_cover: LandCoverMap, top: int, left: int, side: int, patch: int) -> NDArray[np.float64]:
    """[rows, columns] share of each patch whose pixels have their centre in a cell of water."""
    at = [((np.arange(start, start + side) + 0.5) * CELLS_PER_PIXEL).astype(int) for start in (top, left)]
    wet = (land_cover.igbp[np.ix_(*at)] == WATER).astype(float)
    found: NDArray[np.float64] = wet.reshape(side // patch, patch, side // patch, patch).mean((1, 3))
    return found


def coasts(land_cover: LandCoverMap, blocks: list[int], side: int, patch: int) -> Coast:
    """Tiles of these blocks, each wholly within its block."""
    across = land_cover.image.shape[1] // BLOCK_PIXELS
    places, water, found = [], [], []
    for block in blocks:
        row, column = (number * BLOCK_PIXELS for number in divmod(block, across))
        for top in range(row, row + BLOCK_PIXELS - side + 1, STRIDE):
            for left in range(column, column + BLOCK_PIXELS - side + 1, STRIDE):
                shares = water_shares(land_cover, top, left, side, patch)
                if LEAST <= shares.mean() <= MOST:
                    places.append((top + side // 2, left + side // 2))
                    water.append(shares >= 0.5)
                    found.append(block)
    corners = np.array(places, np.int64)
    return Coast(land_cover.tiles(corners[:, 0], corners[:, 1], side), np.stack(water), np.array(found, np.int64))


def attention_of(backbone: HuggingFaceVision) -> Maps:
    """[tiles, heads, rows, columns] of tiles, attention of the last block."""
    spec, maps = backbone.input_spec, ClassTokenAttention(backbone)
    assert isinstance(spec, ImageSpec), "it is a ViT"
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))

    def read(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        images: Tensor = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std
        return np.concatenate([maps(images[k : k + 256]).patches.numpy() for k in range(0, len(images), 256)])

    return read


def darkness_of(patch: int) -> Maps:
    """[tiles, 1, rows, columns]: how dark each patch is."""

    def read(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        count, side = len(tiles), tiles.shape[1] // patch
        dark = 255 - tiles.mean(3).reshape(count, side, patch, side, patch).mean((2, 4))
        return np.asarray(dark[:, None], np.float32)

    return read


def above(maps: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """The fewest patches of each map [tiles, rows, columns] that hold this share of it."""
    flat = maps.reshape(len(maps), -1)
    order = np.argsort(-flat, 1, kind="stable")
    sums = np.cumsum(np.take_along_axis(flat, order, 1), 1)
    taken = np.concatenate([np.zeros((len(flat), 1)), sums[:, :-1]], 1) < share * sums[:, -1:]
    found = np.zeros(flat.shape, bool)
    np.put_along_axis(found, order, taken, 1)
    return found.reshape(maps.shape)


def overlap(said: NDArray[np.bool_], water: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[tiles] intersection over union."""
    both, either = (kind.reshape(len(said), -1).sum(1) for kind in (said & water, said | water))
    return np.asarray(both / np.maximum(either, 1))


def chosen(maps: NDArray[np.float32], water: NDArray[np.bool_]) -> tuple[int, bool, float]:
    """Head, whether water is what is above the cut, and share, with the highest mean overlap."""
    ways = [(head, up, share) for head in range(maps.shape[1]) for up in (True, False) for share in SHARES]
    return max(ways, key=lambda way: overlap(above(maps[:, way[0]], way[2]) == way[1], water).mean())


def main() -> None:
    """Choose, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["lightning_tl/satellite-vit-tiny"], help="folders of weights")
    parser.add_argument("--draws", type=int, default=5, help="of random weights")
    args = parser.parse_args()
    networks = {name: HuggingFaceVision(name) for name in args.model}
    first = next(iter(networks.values()))
    spec, patch = first.input_spec, int(first.model.config.patch_size)
    assert isinstance(spec, ImageSpec), "it is a ViT"
    land_cover = LandCoverMap()
    split = land_cover.manifest.groupby("split")["block"].unique()
    known, asked = (
        coasts(land_cover, sorted(split[name].tolist()), spec.image_size, patch) for name in ("train", "test")
    )
    readers = {name: attention_of(network) for name, network in networks.items()}
    for draw in range(args.draws):
        torch.manual_seed(draw)
        fresh = HuggingFaceVision(args.model[0])
        fresh.reinitialise()
        readers[f"random weights {draw + 1}"] = attention_of(fresh)
    readers["darkness"] = darkness_of(patch)
    right = {}
    count = len(np.unique(asked.blocks))
    print(f"{len(known.tiles):,} tiles to choose on, {len(asked.tiles):,} of {count} test blocks")
    for name, read in readers.items():
        head, up, share = chosen(read(known.tiles), known.water)
        right[name] = overlap(above(read(asked.tiles)[:, head], share) == up, asked.water)
        print(f"{name}: head {head}, water is {'above' if up else 'below'} a cut at {share:.0%}", flush=True)
    drawn = [right.pop(f"random weights {draw + 1}") for draw in range(args.draws)]
    right["random weights"] = np.mean(drawn, 0)
    right["all is water"] = overlap(np.ones_like(asked.water), asked.water)
    for name, found in right.items():
        ends = bootstrap_mean(found, asked.blocks, bounds=(0.0, 1.0))
        gap = bootstrap_difference(found, right["random weights"], asked.blocks)
        beside = "" if name == "random weights" else f"   {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] to random"
        print(f"{name:36} IoU {ends.mean:.3f} [{ends.low:.3f}, {ends.high:.3f}]{beside}")


if __name__ == "__main__":
    main()
