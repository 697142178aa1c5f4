"""Training rows that serve many queries at once, and evaluation rows that serve one each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.events.negatives import Negatives
from datamodules.loading.orders import Indices
from datamodules.loading.seeding import mix
from lightning_tl.contracts.batches import RetrievalBatch, query_batch
from lightning_tl.contracts.interactions import NO_ITEM, Queries

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Stretches of a user's events that are foretold together from one row of history.

    Args:
        first: [pieces] the first event to foretell.
        stop: [pieces] one past the last.
        begin: [pieces] the first event of the row's history.
    """

    first: Numbers
    stop: Numbers
    begin: Numbers

    def __len__(self) -> int:
        return len(self.first)

    def chances(self, most: int) -> NDArray[np.float64]:
        """[events of all pieces] with which chance each is foretold where a piece's are at most `most` an epoch."""
        sizes = self.stop - self.first
        return np.repeat(np.minimum(1.0, most / sizes), sizes)


def cut_pieces(starts: Numbers, counts: Numbers, length: int) -> Pieces:
    """Each event of the training window in exactly one piece, with up to `length` items of history in its row.

    The first piece of a user has `length + 1` events, later ones `length // 2`, so that they are foretold from at
    least half a row.

    Args:
        starts: [users] first event of each user.
        counts: [users] events of each in the training window, which are the user's first.
        length: the most items of a row's history, at least 1.
    """
    step = max(1, length // 2)
    more = np.where(counts > 0, 1 + -(-np.maximum(0, counts - length - 1) // step), 0)  # pieces of each user
    user = np.repeat(np.arange(len(counts)), more)
    number = np.arange(len(user)) - np.repeat(np.cumsum(more) - more, more)
    first = np.where(number == 0, 0, length + 1 + (number - 1) * step)
    stop = np.minimum(counts[user], length + 1 + number * step)
    begin = np.maximum(0, stop - 1 - length)
    return Pieces(starts[user] + first, starts[user] + stop, starts[user] + begin)


class TrainingRows:
    """`Samples` of pieces.

    A query reads the row's items up to the last one strictly before its own second. Where more than half a row lies in
    one second, the later events of that second are foretold without history.

    Args:
        queries: of all events of the log, in their order.
        pieces: of the training window.
        length: the most items of a history.
        negatives: drawn for each batch; None for none.
        most: queries of a row, others each epoch; None for all.
        seed: of the choice of queries.
    """

    def __init__(
        self,
        queries: Queries,
        pieces: Pieces,
        length: int,
        negatives: Negatives | None = None,
        most: int | None = None,
        seed: int = 0,
    ) -> None:
        self.queries, self.pieces, self.length, self.negatives = queries, pieces, length, negatives
        self.most, self.seed = most, seed

    def fetch(self, indices: Indices, epoch: int) -> RetrievalBatch:
        """See `RetrievalBatch`."""
        first, stop, begin = (column[indices] for column in (self.pieces.first, self.pieces.stop, self.pieces.begin))
        log = self.queries.log
        places = begin[:, None] + np.arange(self.length)
        history = np.where(places < stop[:, None] - 1, log.items[np.minimum(places, len(log) - 1)], NO_ITEM)
        events, row = self._events(indices, first, stop, epoch)
        batch: RetrievalBatch = {
            "history": _tensor(history),
            "user": _tensor(log.users[first]),
            "row": _tensor(row),
            "position": _tensor(np.maximum(0, self.queries.stops[events] - begin[row])),
            "target": _tensor(log.items[events]),
            "index": _tensor(events),
        }
        if log.weights is not None:
            batch["weight"] = torch.from_numpy(np.asarray(log.weights[events], np.float32))
        if self.negatives is not None:
            uniform, hard = self.negatives.draw(log.users[events], log.items[events], epoch, int(indices[0]))
            batch["uniform"], batch["hard"] = _tensor(uniform), _tensor(hard)
        return batch

    def _events(self, indices: Indices, first: Numbers, stop: Numbers, epoch: int) -> tuple[Numbers, Numbers]:
        """The events that are foretold, and the row of each."""
        chosen = []
        for piece, begin, end in zip(indices.tolist(), first.tolist(), stop.tolist(), strict=True):
            events = np.arange(begin, end)
            if self.most is not None and len(events) > self.most:
                generator = np.random.default_rng(mix(self.seed, "queries", epoch, piece))
                events = np.sort(generator.choice(events, self.most, replace=False))
            chosen.append(events)
        return np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(events) for events in chosen])


class QueryRows:
    """`Samples` of queries, each with a row of its own.

    Args:
        queries: what is to be foretold.
        length: the most items of a history.
    """

    def __init__(self, queries: Queries, length: int) -> None:
        self.queries, self.length = queries, length

    def fetch(self, indices: Indices, epoch: int) -> RetrievalBatch:
        """See `RetrievalBatch`."""
        return query_batch(self.queries[indices], self.length)


def _tensor(values: NDArray[np.integer]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
