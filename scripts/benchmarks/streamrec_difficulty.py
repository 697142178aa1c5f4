"""How hard is StreamRec? Ranks all items for the last tenth of what was taken, by what needs no gradient.

    python scripts/benchmarks/streamrec_difficulty.py
    python scripts/benchmarks/streamrec_difficulty.py --seed 1

The defaults of `StreamRecSettings` were chosen by such a table, before any two-tower model was trained on the data.
Windows, queries and ranking are those of the recipes: 80 % of what was taken trains, a query is a test event in which a
user takes an item for the first time, and what the user took before is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules import StreamRecDataModule
from datamodules.sets.streamrec import StreamRecSettings, text_scores
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.contracts.interactions import Queries
from lightning_tl.retrieval.baselines import EASE, ItemSimilarity, Popularity
from lightning_tl.retrieval.ranking.ranking import Scorer, ranks
from lightning_tl.retrieval.towers.item_texts import ItemTexts, encode_all

EASE_L2, EASE_HISTORY = 300.0, 500  # the best on validation of 30, 100, 300 and 1000; the whole history


class Computed:
    """A ranking of all items at once, as a scorer.

    Args:
        name: of the row.
        compute: queries to [queries, items].
    """

    def __init__(self, name: str, compute: Callable[[Queries], NDArray[np.float64]]) -> None:
        self.name, self.compute = name, compute

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice]"""
        return torch.from_numpy(self.compute(queries)).float()[:, items]


def rankings(data: StreamRecDataModule) -> list[Scorer]:
    """The rows of the table."""
    log, count, world = data.training_log, len(data.item_texts), data.world
    noise, popular, encoder = np.random.default_rng(0), Popularity(log, count), HuggingFaceText()
    texts = encode_all(encoder, ItemTexts(encoder, data.item_texts))
    return [
        Computed("random", lambda queries: noise.random((len(queries), count))),
        popular,
        ItemSimilarity("zero-shot text", texts, fallback=popular),
        EASE(log, count, l2=EASE_L2, history=EASE_HISTORY),
        Computed("oracle, text part", lambda asked: text_scores(world, asked.users.astype(np.int64), asked.times)),
        data.oracle,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    data = StreamRecDataModule(StreamRecSettings(seed=parser.parse_args().seed))
    data.setup()
    queries = data.queries("test")
    cold = data.world.item_truth.released[queries.targets] >= data.training_log.times.max()
    users = len(np.unique(queries.users))
    print(f"{len(data.log):,} events taken, {len(queries):,} test queries of {users:,} users", end="")
    print(f"; {cold.mean():.1%} ask for items released after training")
    print(f"{'':20} {'HR@10':>7} {'HR@100':>7}")
    for scorer in rankings(data):
        found = ranks(scorer, queries, len(data.item_texts))
        print(f"{scorer.name:20} {(found <= 10).mean():7.3f} {(found <= 100).mean():7.3f}", flush=True)


if __name__ == "__main__":
    main()
