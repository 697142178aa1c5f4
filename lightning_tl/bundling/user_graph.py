"""The ONNX graph of a user tower: vectors of a history and codes of a profile to a vector to search with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_tl.backbones import HuggingFaceText
from lightning_tl.bundling.traced import traced, why
from lightning_tl.retrieval import HistoryTransformer, TextHistory, TwoTower, UserTower


class UserGraph(nn.Module):
    """A user tower with plain tensors.

    Args:
        module: built and with its weights.

    Raises:
        ValueError: a tower that reads more than vectors and profiles.
    """

    def __init__(self, module: TwoTower) -> None:
        super().__init__()
        users = module.users
        if users.encoder is not None:
            _check_texts(users)
        self.users = users

    def forward(self, vectors: Tensor, lengths: Tensor, profile: Tensor, *tokens: Tensor) -> Tensor:
        """[queries, dim], unit norm.

        Args:
            vectors: [queries, length, dim] of the items of histories, oldest first, anything behind their ends.
            lengths: [queries] int64.
            profile: [queries, fields] int64 codes.
            *tokens: [queries, tokens] int64 of the texts of histories, by `token_names`, of a tower that reads them.
        """
        users = self.users
        if not isinstance(users, TextHistory):
            return F.normalize(_plain(users, vectors, lengths, profile).float(), dim=-1)
        inputs: Any = dict(zip(token_names(users.encoder), tokens, strict=True))
        found: Tensor = users.projection(users.encoder(inputs))
        if users.beside is not None:
            found = _plain(users.beside, vectors, lengths, profile) + found
        return F.normalize(found.float(), dim=-1)


def _check_texts(users: UserTower) -> None:
    changed = [name for name in ("forward", "texts") if getattr(type(users), name, 0) is not getattr(TextHistory, name)]
    if changed:
        raise ValueError(
            f"{type(users).__name__} reads a history by an encoder in a way of its own ({changed[0]}), which a bundle "
            "does not hold"
        )
    if users.encoder is not None and users.encoder.by_length:
        raise ValueError(
            f"the encoder of {type(users).__name__} reads texts of one length at a time, which a graph cannot"
        )


def _plain(users: UserTower, vectors: Tensor, lengths: Tensor, profile: Tensor) -> Tensor:
    rows = torch.arange(vectors.shape[0], device=vectors.device)
    if isinstance(users, HistoryTransformer):
        found: Tensor = users.projection(users.states(vectors, profile)[rows, lengths])
        return found
    found = users(torch.zeros_like(vectors[:, :, 0]).long(), vectors, profile, rows, lengths)
    return found


def token_names(encoder: HuggingFaceText) -> tuple[str, ...]:
    """What an encoder reads of texts."""
    return ("input_ids", "attention_mask", *(("token_type_ids",) if encoder.input_spec.segments else ()))


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
    names, shapes = ["vectors", "lengths", "profile"], [{0: batch}, {0: batch}, {0: batch}]
    users = module.users
    tokens: tuple[Tensor, ...] = ()
    if isinstance(users, TextHistory):
        made = users.encoder.example_inputs(3, 7)
        made["token_type_ids"] = torch.zeros_like(made["input_ids"])
        names += token_names(users.encoder)
        tokens = tuple(made[name] for name in names[3:])  # type: ignore[literal-required]
        shapes += [{0: batch, 1: torch.export.Dim("tokens", min=3)}] * len(tokens)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a kernel of torch's own, which ONNX has not
    try:
        traced(
            graph, (*given, *tokens), names, ["query"], (*shapes[:3], *([tuple(shapes[3:])] if tokens else [])), path
        )
    except Exception as error:  # torch.export and its translator raise classes of their own
        raise ValueError(f"{type(module.users).__name__} cannot be written as a graph: {why(error)}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
