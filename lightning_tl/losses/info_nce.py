"""InfoNCE over candidates that were sampled or given, for retrieval by two towers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

_LOGITS_AT_ONCE = 2**22  # 16 MiB in float32


@dataclass(frozen=True)
class Candidates:
    """What each row of a batch must tell its own partner from.

    Args:
        embeddings: [columns, dim], unit norm.
        positive: [rows] int64, the column of each row's own partner.
        log_counts: [columns] logarithm of how often each candidate is expected among those that were sampled; 0 for
            candidates that were given and not sampled. None: no correction.
        masked: for some rows, [rows of the slice, columns], which candidates are no true negatives. The row's own
            partner counts in any case.
    """

    embeddings: Tensor
    positive: Tensor
    log_counts: Tensor | None = None
    masked: Callable[[slice], Tensor] | None = None


class InfoNCE(nn.Module):
    """Cross-entropy of finding the own partner among candidates (van den Oord et al. 2018, arXiv 1807.03748, eq. 4).

    The logit of candidate j is cos / temperature - log n(j), where n(j) says how often j is expected among the sampled
    candidates: a popular item, which is drawn often, is not pushed away more than a rare one (Yi et al. 2019,
    "Sampling-bias-corrected neural modeling", equation 3, with expected counts in place of probabilities, so that
    candidates which were given, n = 1, stand on the same scale). The correction belongs to training alone.

    Rows are worked on in chunks, and once more in the backward pass, so that the memory of a large batch is that of its
    embeddings and one chunk of logits.

    Args:
        temperature: divides the similarities; where it is learned, the value it starts from.
        learned: train log(1 / temperature), one number without weight decay, between `lowest` and `highest`.
        lowest: of a learned temperature.
        highest: of a learned temperature.
        row_chunk: the most rows whose logits are held at once; fewer where there are more than 4 million of them.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        learned: bool = True,
        lowest: float = 0.01,
        highest: float = 1.0,
        row_chunk: int = 1024,
    ) -> None:
        super().__init__()
        if not 0 < lowest <= temperature <= highest:
            raise ValueError(
                f"temperature must be between lowest ({lowest}) and highest ({highest}), and lowest above 0, "
                f"got {temperature}"
            )
        if row_chunk < 1:
            raise ValueError(f"row_chunk must be at least 1, got {row_chunk}")
        self.lowest, self.highest, self.row_chunk = lowest, highest, row_chunk
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)

    @property
    def scale(self) -> Tensor:
        """1 / temperature, scalar, with its gradient."""
        return self.log_scale.exp()

    @property
    def temperature(self) -> float:
        """As used now."""
        return min(self.highest, max(self.lowest, float(1 / self.scale.detach())))

    @torch.no_grad()
    def keep_in_bounds(self) -> None:
        """Set a temperature that a step took beyond its bounds back to them, where gradients can bring it back."""
        self.log_scale.clamp_(-math.log(self.highest), -math.log(self.lowest))

    def forward(self, queries: Tensor, candidates: Candidates, needs_negatives: bool = True) -> Tensor:
        """The loss of each row: [rows].

        Args:
            queries: [rows, dim], unit norm.
            candidates: what each query is compared with, and which of it is its own.
            needs_negatives: refuse a batch in which no row has any; otherwise its losses are 0.

        Raises:
            ValueError: shapes that do not go together, or no row has any negative.
        """
        _check(queries, candidates)
        self.keep_in_bounds()
        pieces, negatives = [], 0
        step = min(self.row_chunk, max(1, _LOGITS_AT_ONCE // len(candidates.embeddings)))
        for start in range(0, len(queries), step):
            rows = slice(start, min(start + step, len(queries)))
            masked = _masked(candidates, rows)
            negatives += int((~masked).sum()) - masked.shape[0]
            logits = (queries[rows], candidates.embeddings, self.scale, candidates.positive[rows], masked)
            if len(queries) > step and torch.is_grad_enabled():
                piece = checkpoint(_row_losses, *logits, candidates.log_counts, use_reentrant=False)
            else:
                piece = _row_losses(*logits, candidates.log_counts)
            pieces.append(piece)
        if needs_negatives and negatives == 0:
            raise ValueError(
                "every candidate of this batch is the row's own partner or masked as one that its user took too: there "
                "is nothing to learn from. Take a larger batch_size, or uniform_negatives"
            )
        return torch.cat(pieces)

    @torch.no_grad()
    def information_bound(self, queries: Tensor, candidates: Candidates) -> Tensor:
        """Lower bound on the mutual information of partners, in nats: mean of log K - loss (van den Oord, eq. 5).

        K counts a row's own partner and its candidates that are not masked. It is a bound where the candidates are
        drawn as partners are, and so without correction: leave negatives that were sampled otherwise out of it.
        """
        _check(queries, candidates)
        bounds = []
        step = min(self.row_chunk, max(1, _LOGITS_AT_ONCE // len(candidates.embeddings)))
        for start in range(0, len(queries), step):
            rows = slice(start, min(start + step, len(queries)))
            masked = _masked(candidates, rows)
            losses = _row_losses(
                queries[rows], candidates.embeddings, self.scale, candidates.positive[rows], masked, None
            )
            bounds.append((~masked).sum(1).log() - losses)
        return torch.cat(bounds).mean()


def _check(queries: Tensor, candidates: Candidates) -> None:
    columns, positive = candidates.embeddings, candidates.positive
    if queries.ndim != 2 or columns.ndim != 2 or queries.shape[1] != columns.shape[1]:
        raise ValueError(
            f"queries must be [rows, dim] and candidates [columns, dim], got {tuple(queries.shape)} and "
            f"{tuple(columns.shape)}"
        )
    if positive.shape != (len(queries),):
        raise ValueError(f"positive must name one column for each of {len(queries)} rows, got {tuple(positive.shape)}")
    if candidates.log_counts is not None and candidates.log_counts.shape != (len(columns),):
        raise ValueError(
            f"log_counts must have one number for each of {len(columns)} candidates, got "
            f"{tuple(candidates.log_counts.shape)}"
        )


def _masked(candidates: Candidates, rows: slice) -> Tensor:
    """[rows, columns] which candidates do not count; a row's own partner always does."""
    positive = candidates.positive[rows]
    if candidates.masked is None:
        return torch.zeros(len(positive), len(candidates.embeddings), dtype=torch.bool, device=positive.device)
    return candidates.masked(rows).scatter(1, positive[:, None], False)


def _row_losses(
    queries: Tensor, columns: Tensor, scale: Tensor, positive: Tensor, masked: Tensor, log_counts: Tensor | None
) -> Tensor:
    with torch.autocast(queries.device.type, enabled=False):  # half precision would round similarities to 1/256
        logits = queries.float() @ columns.float().T * scale
        if log_counts is not None:
            logits = logits - log_counts
        return F.cross_entropy(logits.masked_fill(masked, float("-inf")), positive, reduction="none")
