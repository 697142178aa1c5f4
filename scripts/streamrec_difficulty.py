"""How hard is StreamRec? Ranks all items for the last tenth of what was taken, by what needs no gradient.

    python scripts/streamrec_difficulty.py
    python scripts/streamrec_difficulty.py --seed 1

The defaults of `StreamRecSettings` were chosen by this table, before any two-tower model was trained on the data. The
first 80 % of taken events by time are for training, the next 10 % for validation, the last 10 % for the test.
A query is a test event in which a user takes an item for the first time; what the user took before is its history and
is left out of the ranking. Every other item is ranked, and an equal score counts as ahead of the target.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.streamrec import StreamRec, StreamRecSettings, oracle_scores, simulate, text_scores
from lightning_tl.backbones import HuggingFaceText
from lightning_tl.interactions import NO_ITEM, InteractionLog, Queries

TAKEN = 0.5  # completion from which an item counts as taken
NEWEST = 20  # items of the history that speak for a user in the zero-shot ranking
EASE_PENALTY = 300.0  # the best on validation of 30, 100, 300 and 1000
_QUERIES_AT_ONCE = 512

Ranking = Callable[[Queries], NDArray[np.floating[Any]]]  # [queries, items]


@dataclass(frozen=True)
class Task:
    """A world split by time.

    Args:
        world: what was simulated.
        log: everything that was taken.
        train: [events of the log] what a model may be trained on.
        validation: first takings of the next tenth.
        test: first takings of the last tenth.
    """

    world: StreamRec
    log: InteractionLog
    train: NDArray[np.bool_]
    validation: Queries
    test: Queries

    @classmethod
    def of(cls, world: StreamRec) -> Task:
        """Split where 80 % and 90 % of what was taken is past."""
        taken = world.events[world.events["completion"] >= TAKEN]
        users, items = world.users["user"].tolist(), world.items["item"].tolist()
        log = InteractionLog(
            np.searchsorted(users, taken["user"].tolist()).astype(np.int32),
            np.searchsorted(items, taken["item"].tolist()).astype(np.int32),
            taken["time"].to_numpy(),
            users,
            items,
        )
        first = np.zeros(len(log), bool)
        first[np.unique(log.users.astype(np.int64) * len(items) + log.items, return_index=True)[1]] = True
        ordered = np.sort(log.times)
        cuts = ordered[len(log) * 8 // 10], ordered[len(log) * 9 // 10]
        between = first & (log.times >= cuts[0]) & (log.times < cuts[1])
        return cls(
            world,
            log,
            log.times < cuts[0],
            Queries.of(log, np.flatnonzero(between)),
            Queries.of(log, np.flatnonzero(first & (log.times >= cuts[1]))),
        )


def target_ranks(ranking: Ranking, queries: Queries) -> NDArray[np.int64]:
    """[queries] how many items are ahead of the target, from 0."""
    found = []
    for part in _parts(queries):
        scores = np.array(ranking(part), dtype=np.float64)
        rows = np.arange(len(part))
        wanted = scores[rows, part.targets].copy()
        scores[part.seen()] = -np.inf
        scores[rows, part.targets] = -np.inf
        found.append(np.count_nonzero(scores >= wanted[:, None], axis=1))
    return np.concatenate(found)


def rankings(task: Task, texts: NDArray[np.float32]) -> dict[str, Ranking]:
    """The rankings of the table by their names.

    Args:
        texts: [items, dim] embeddings of the items' texts, of unit norm.
    """
    world, items = task.world, len(task.log.item_ids)
    counts = np.bincount(task.log.items[task.train], minlength=items).astype(np.float64)
    ease = _ease_weights(task)
    noise = np.random.default_rng(0)
    return {
        "random": lambda queries: noise.random((len(queries), items)),
        "popularity": lambda queries: np.tile(counts, (len(queries), 1)),
        f"zero-shot text, newest {NEWEST}": lambda queries: _mean_of_newest(queries, texts) @ texts.T,
        "EASE": lambda queries: _taken(queries, items) @ ease,
        "oracle, text part": lambda queries: text_scores(world, queries.users.astype(np.int64), queries.times),
        "oracle": lambda queries: oracle_scores(world, queries.users.astype(np.int64), queries.times),
    }


def text_embeddings(world: StreamRec) -> NDArray[np.float32]:
    """[items, dim] of unit norm, from the model that the text recipes start from, as it was published."""
    table = world.items
    texts = [
        f"{title}. {said} {tags}" for title, said, tags in zip(table.title, table.description, table.tags, strict=True)
    ]
    with torch.inference_mode():
        found = HuggingFaceText().eval().embed_texts(texts).float().cpu().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def _mean_of_newest(queries: Queries, texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """[queries, dim]; of no norm, which changes no order. Users without a history get zeros, hence ties."""
    newest = queries.history(NEWEST)
    known = (newest != NO_ITEM)[..., None]
    return np.asarray((texts[newest] * known).sum(axis=1), np.float32)


def _ease_weights(task: Task) -> NDArray[np.float32]:
    """[items, items] item-to-item weights of EASE (Steck 2019, arXiv 1905.03375, equation 8)."""
    taken = np.zeros((len(task.log.user_ids), len(task.log.item_ids)), np.float32)
    taken[task.log.users[task.train], task.log.items[task.train]] = 1
    inverse = np.linalg.inv(taken.T @ taken + EASE_PENALTY * np.eye(taken.shape[1], dtype=np.float32))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return np.asarray(weights, np.float32)


def _taken(queries: Queries, items: int) -> NDArray[np.float32]:
    """[queries, items] 1 where the history has the item."""
    taken = np.zeros((len(queries), items), np.float32)
    taken[queries.seen()] = 1
    return taken


def _parts(queries: Queries) -> Iterator[Queries]:
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        yield queries[start : start + _QUERIES_AT_ONCE]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    world = simulate(StreamRecSettings(seed=parser.parse_args().seed))
    task = Task.of(world)
    cold = world.item_truth.released[task.test.targets] >= task.log.times[task.train].max()
    print(f"{len(world.events):,} events, {len(task.log):,} taken, {len(task.test):,} test queries", end="")
    print(f" of {len(np.unique(task.test.users)):,} users; {cold.mean():.1%} ask for items released after training")
    print(f"{'':28} {'HR@10':>7} {'HR@100':>7}")
    for name, ranking in rankings(task, text_embeddings(world)).items():
        ranks = target_ranks(ranking, task.test)
        print(f"{name:28} {(ranks < 10).mean():7.3f} {(ranks < 100).mean():7.3f}")


if __name__ == "__main__":
    main()
