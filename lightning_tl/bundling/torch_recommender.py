"""`torch_recommender`: recommendations by torch, where a user tower has no graph."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lightning_tl.bundling.item_thumbnails import thumbnails_of
from lightning_tl.bundling.recommender_card import recommender_facts
from lightning_tl.bundling.two_towers import reads_of_users, write_answering_files
from lightning_tl.contracts.interactions import NO_ITEM
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.retrieval import Recommender, TwoTower
from lightning_tl.search import ItemIndex
from lightning_tl.serving.answering import RecommendingModel
from lightning_tl.serving.bundle.manifest import Manifest, file_sha256
from lightning_tl.serving.models.profile_codes import ProfileCodes
from lightning_tl.serving.opening import INDEX, recommender_of
from lightning_tl.storage.tensor_digest import tensor_digest

_AT_ONCE = 256


class TorchUserTower:
    """The run's own user tower in the place of `UserTower`. It may be called from several threads.

    Args:
        module: built for all of the data, with its weights.
        items: ids of the data's items, by their numbers.
        codes: of profiles.
        length: the most items of a history.
    """

    def __init__(self, module: TwoTower, items: Sequence[str], codes: ProfileCodes, length: int) -> None:
        self.module, self.codes, self.length = module.eval(), codes, length
        self.numbers = {item: number for number, item in enumerate(items)}
        with torch.no_grad():
            module.items.refresh()
            self.vectors = module.item_vectors()  # [items, dim]

    def reads(self, ids: Sequence[str]) -> list[bool]:
        """Whether each is an item that histories are read by."""
        return [name in self.numbers for name in ids]

    def __call__(
        self, histories: Sequence[Sequence[str]], profiles: Sequence[Mapping[str, str] | None]
    ) -> NDArray[np.float32]:
        """[queries, dim], unit norm; see `UserTower`."""
        codes = torch.tensor([self.codes.codes(profile) for profile in profiles], dtype=torch.int64)
        codes = codes.reshape(len(profiles), len(self.codes.vocabulary))
        starts = range(0, len(histories), _AT_ONCE)
        parts = [self._some(histories[k : k + _AT_ONCE], codes[k : k + _AT_ONCE]) for k in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self.vectors.shape[1]), np.float32)

    @torch.no_grad()
    def _some(self, histories: Sequence[Sequence[str]], codes: torch.Tensor) -> NDArray[np.float32]:
        known = [[self.numbers[item] for item in history if item in self.numbers] for history in histories]
        items = torch.full((len(known), self.length), NO_ITEM, dtype=torch.int64)
        for row, history in enumerate(known):
            read = history[-self.length :]
            items[row, : len(read)] = torch.tensor(read, dtype=torch.int64)
        vectors = self.vectors[items.clamp(min=0)] * (items != NO_ITEM)[..., None]
        lengths = (items != NO_ITEM).sum(1)
        found = self.module.users(items, vectors, codes, torch.arange(len(known)), lengths)
        result: NDArray[np.float32] = F.normalize(found.float(), dim=-1).numpy()
        return result


def torch_recommender(
    module: TwoTower, data: Any, description: RunDescription, run: Path, checkpoint: Path, why: str
) -> RecommendingModel:
    """What recommends as a bundle does, with the run's own user tower.

    Args:
        module: built for the data, with its weights.
        data: the run's event log, all of it.
        description: of the run.
        run: its folder, with the index that its test wrote.
        checkpoint: that the weights are of.
        why: no graph answers in its place.

    Raises:
        ValueError, OSError: there is no index of these weights.
    """
    module.eval()
    index = ItemIndex.open(run / INDEX, tensor_digest(module.state_dict()))
    recommender = Recommender(module, data, index, data.log)
    facts = recommender_facts(run, description, module, index, recommender.missing, len(data.log.user_ids))
    weights = {"name": checkpoint.name, "sha256": file_sha256(checkpoint)}
    manifest = Manifest(
        kind="recommendations",
        task="retrieval",
        class_names=(),
        reads=reads_of_users(module, data),
        activation="none",
        card={**facts, "checkpoint": weights, "by": "torch", "no_graph": why},
    )
    with tempfile.TemporaryDirectory(prefix="lightning-tl-") as made:
        folder = Path(made)
        write_answering_files(module, data, recommender, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
        manifest = dataclasses.replace(manifest, sha256={**hashes, "checkpoint": weights["sha256"]})
        length = int(data.history_length)
        shown: Mapping[str, bytes] = thumbnails_of(data, recommender.index.places) or {}  # made when they are asked for
        return recommender_of(
            folder, manifest, lambda codes, names: TorchUserTower(module, names, codes, length), pictures=shown
        )
