"""Write what `lightning-tl distance --source backbone` reads for the shipped ViT: features of its pretraining tiles.

    python scripts/tools/make_pretraining_features.py            # beside the weights; half a minute
    python scripts/tools/make_pretraining_features.py --check    # exit 1 if the committed file differs

The tiles are the first of those that `pretrain_satellite_contrastive` draws, without its augmentation, at most
`PER_BLOCK` of each block of 5 degrees. They go through the backbone as `embed` would read them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from datamodules import UnlabelledLandCoverDataModule
from datamodules.sets.land_cover_map import BLOCK_PIXELS, LandCoverMap
from lightning_tl.backbones import HuggingFaceVision
from lightning_tl.choosing.distance.domain_samples import DomainSamples
from lightning_tl.choosing.distance.kept_features import FILE, write_features

DRAWN, PER_BLOCK, AT_ONCE, PRETRAINED_ON = 20_000, 2, 500, 512_000  # tiles
FOLDER = Path(__file__).resolve().parent.parent.parent / "lightning_tl" / "backbones" / "weights" / "satellite-vit-tiny"


def features() -> tuple[DomainSamples, HuggingFaceVision]:
    """Of some tiles of each block, with the backbone that made them."""
    data = UnlabelledLandCoverDataModule(seed=0)
    data.setup("fit")
    centres = data.centres(np.arange(DRAWN), epoch=0)
    rows, columns = (centres // BLOCK_PIXELS).T
    blocks = rows * 10_000 + columns
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(blocks[order]) != 0])
    rank = np.arange(DRAWN) - np.repeat(starts, np.diff(np.r_[starts, DRAWN]))
    kept = np.sort(order[rank < PER_BLOCK])
    pixels = LandCoverMap().tiles(centres[kept, 0], centres[kept, 1], data.tile_size)
    tiles = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    backbone = HuggingFaceVision().eval()
    spec = backbone.input_spec
    inputs = (tiles - torch.tensor(spec.mean).view(-1, 1, 1)) / torch.tensor(spec.std).view(-1, 1, 1)
    torch.set_num_threads(1)
    with torch.inference_mode():
        found = torch.cat([backbone(part) for part in torch.split(inputs, AT_ONCE)]).numpy()
    name = "the tiles that lightning_tl/satellite-vit-tiny was pretrained on"
    return DomainSamples(name, found, None, blocks[kept], PRETRAINED_ON), backbone


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, and write nothing")
    options = parser.parse_args()
    samples, backbone = features()
    if not options.check:
        write_features(FOLDER / FILE, samples, backbone)
        print(f"{FOLDER / FILE}: {len(samples.values):,} tiles, {(FOLDER / FILE).stat().st_size / 2**10:.0f} KiB")
        return
    with tempfile.TemporaryDirectory() as folder:
        write_features(Path(folder) / FILE, samples, backbone)
        if (Path(folder) / FILE).read_bytes() != (FOLDER / FILE).read_bytes():
            sys.exit(f"{FOLDER / FILE} differs from what this script writes")


if __name__ == "__main__":
    main()
