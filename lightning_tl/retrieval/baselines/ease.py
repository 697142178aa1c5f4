"""A linear model of items by items, solved in closed form: the collaborative baseline that is hard to beat."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, lapack
from torch import Tensor

from lightning_tl.contracts.interactions import NO_ITEM, InteractionLog, Queries
from lightning_tl.retrieval.baselines.popularity import Popularity, event_counts

_ITEMS_AT_ONCE = 512  # columns of the Gram matrix at once


class EASE:
    """Embarrassingly shallow autoencoder (Steck 2019, arXiv 1905.03375).

    With X the binary matrix of users and items of the training window, P = (XᵀX + l2·I)⁻¹ and B = I - P·diag(1/P_jj),
    whose diagonal is 0 (equations 6 to 8). An item's score is the sum of B's rows at the items of the query's history.

    Two things differ from the paper, whose rows are those of the training users: a query's row of X is its history,
    cut to the newest events, so that users need not be known from training. And where no item of the
    history occurs in training all scores would be 0; there the order of popularity is used.

    Memory while it is made: items² × 8 bytes (3.2 GB for 20,000 items), and half of that more at the end; afterwards
    items² × 4 bytes. Time grows with items³.

    Args:
        log: of the training window, and of nothing later.
        item_count: size of the catalogue.
        l2: weight of the penalty, above 0; in units of users who took an item. Choose it, and `history`, on a
            validation window: the best value differs between logs by factors of ten.
        history: newest events of a query's history that count, at least 1; an item twice among them counts once.
        max_items: refuse larger catalogues.

    Raises:
        ValueError: arguments out of range, a log without events, or more items than `max_items`.
    """

    def __init__(
        self, log: InteractionLog, item_count: int, l2: float = 500.0, history: int = 20, max_items: int = 20_000
    ) -> None:
        if not (l2 > 0 and np.isfinite(l2)):
            raise ValueError(f"l2 must be above 0, got {l2}")
        if history < 1:
            raise ValueError(f"history must be at least 1 event, got {history}")
        if item_count > max_items:
            raise ValueError(
                f"EASE inverts a matrix of items by items, for {item_count:,} items {item_count**2 * 8 / 1e9:.1f} GB: "
                f"raise max_items ({max_items:,}) if that is meant"
            )
        self.name, self._history = "ease", history
        self._popularity = Popularity(log, item_count)
        known = event_counts(log, item_count) > 0
        # One row of zeros more, which stands for no item.
        self._weights = torch.zeros(item_count + 1, item_count)
        self._weights[:-1] = torch.from_numpy(_item_weights(log, item_count, l2))
        self._known = np.append(known, False)

    def scores(self, queries: Queries, items: slice) -> Tensor:
        """[queries, items of the slice] float32."""
        history = _each_once(queries.history(self._history))
        scores = torch.zeros(len(queries), len(range(*items.indices(self._weights.shape[1]))))
        for column in torch.from_numpy(history.astype(np.int64)).unbind(1):
            scores += self._weights[column, items]  # `NO_ITEM` is -1, the row of zeros
        cold = torch.from_numpy(np.flatnonzero(~self._known[history].any(axis=1)))
        scores[cold] = self._popularity.scores(queries[cold.numpy()], items)
        return scores


def _item_weights(log: InteractionLog, item_count: int, l2: float) -> NDArray[np.float64]:
    """B: [items, items], row of the item that was taken, column of the item that is scored."""
    ones = np.ones(len(log))
    taken = sparse.csc_array((ones, (log.users, log.items)), shape=(len(log.user_ids), item_count))
    taken.sum_duplicates()
    taken.data[:] = 1
    by_item = taken.T.tocsr()
    gram = np.empty((item_count, item_count), order="F")
    for start in range(0, item_count, _ITEMS_AT_ONCE):
        columns = slice(start, start + _ITEMS_AT_ONCE)
        gram[:, columns] = (by_item[columns] @ taken).toarray().T
    gram[np.diag_indices(item_count)] += l2
    try:
        factor, lower = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        raise ValueError(f"the matrix of items cannot be inverted with l2={l2}: raise l2") from None
    inverse, _ = lapack.dpotri(factor, lower=lower, overwrite_c=True)  # in place, in the lower half only
    scale = -1 / np.diag(inverse).copy()
    for column in range(item_count):  # the upper half from the lower, row by row, without a second matrix
        inverse[column, column + 1 :] = inverse[column + 1 :, column]
    inverse *= scale
    np.fill_diagonal(inverse, 0)
    result: NDArray[np.float64] = inverse
    return result


def _each_once(history: NDArray[np.int32]) -> NDArray[np.int32]:
    """The rows in order of their items, every item but the first of its kind `NO_ITEM`: [queries, length]."""
    in_order = np.sort(history, axis=1)
    again = in_order[:, 1:] == in_order[:, :-1]
    in_order[:, 1:][again] = NO_ITEM
    return in_order
