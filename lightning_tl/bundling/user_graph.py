"""The ONNX graph of a user tower: vectors of a history and codes of a profile to a vector to search with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.bundling.traced import traced, why
from lightning_tl.retrieval import HistoryTransformer, TwoTower


class UserGraph(nn.Module):
    """A user tower with plain tensors.

    Args:
        module: built and with its weights.

    Raises:
        ValueError: a tower that reads more than vectors and profiles.
    """

    def __init__(self, module: TwoTower) -> None:
        super().__init__()
        if module.users.encoder is not None:
            raise ValueError(
                f"{type(module.users).__name__} reads the titles of a history with a text encoder, which a bundle of "
                "recommendations does not hold: take a user tower without an encoder, or answer with recommend --run"
            )
        self.users = module.users

    def forward(self, vectors: Tensor, lengths: Tensor, profile: Tensor) -> Tensor:
        """[queries, dim], unit norm.

        Args:
            vectors: [queries, length, dim] of the items of histories, oldest first, anything behind their ends.
            lengths: [queries] int64.
            profile: [queries, fields] int64 codes.
        """
        rows = torch.arange(vectors.shape[0], device=vectors.device)
        users = self.users
        if isinstance(users, HistoryTransformer):
            found = users.projection(users.states(vectors, profile)[rows, lengths])
        else:
            found = users(torch.zeros_like(vectors[:, :, 0]).long(), vectors, profile, rows, lengths)
        return F.normalize(found.float(), dim=-1)


def write_user_graph(module: TwoTower, length: int, path: Path) -> None:
    """Write the graph, for any number of queries.

    Args:
        module: built and with its weights.
        length: the most items of a history.
        path: of the `.onnx` file.

    Raises:
        ValueError: the tower cannot be written as a graph.
    """
    graph, batch = UserGraph(module.eval()).eval(), torch.export.Dim("batch")
    given = (
        torch.randn(3, length, module.items.dim, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, length]),
        torch.zeros(3, module.profiles.shape[1], dtype=torch.int64),
    )
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a kernel of torch's own, which ONNX has not
    try:
        names = ["vectors", "lengths", "profile"]
        traced(graph, given, names, ["query"], ({0: batch}, {0: batch}, {0: batch}), path)
    except Exception as error:  # torch.export and its translator raise classes of their own
        raise ValueError(f"{type(module.users).__name__} cannot be written as a graph: {why(error)}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
