"""`UserTower`: histories and profiles as vectors to search with, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lightning_tl.serving.models.history_texts import HistoryTexts
from lightning_tl.serving.models.profile_codes import ProfileCodes

GRAPH = "user_tower.onnx"
VECTORS = "history_vectors.npy"
ITEMS = "history_items.parquet"
_AT_ONCE = 256  # histories that go through the graph together, which bounds memory


def write_history_items(folder: Path, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
    """Write what histories are read by.

    Args:
        folder: of the bundle.
        ids: [items], each once; those among them that the index lacks are read, and not offered.
        vectors: [items, dim], before they are scaled to length 1.
    """
    pq.write_table(pa.table({"item": pa.array(list(ids), pa.string())}), folder / ITEMS)
    np.save(folder / VECTORS, vectors)


def read_history_items(folder: Path, places: Sequence[str]) -> list[str]:
    """The ids of the items by their numbers in `history_vectors.npy`.

    Args:
        folder: of the bundle.
        places: ids of the index, which earlier versions numbered them by.

    Raises:
        ValueError: the file is damaged.
    """
    if not (folder / ITEMS).is_file():
        return list(places)
    try:
        found: list[str] = pq.read_table(folder / ITEMS).column("item").to_pylist()
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"the items in {folder} cannot be read ({error}): export the bundle again") from None
    return found


class UserTower:
    """The `encode` of an `IndexedRecommender`. It may be called from several threads.

    Args:
        folder: of the bundle.
        places: numbers of items in `history_vectors.npy` by their ids.
        codes: of profiles.
        length: the most items of a history.
        threads: of one answer.
        texts: of a tower that reads the titles of a history.

    Raises:
        ValueError: ONNX Runtime does not open the graph, or the vectors are damaged.
    """

    def __init__(
        self,
        folder: Path,
        places: Mapping[str, int],
        codes: ProfileCodes,
        length: int,
        threads: int,
        texts: HistoryTexts | None = None,
    ) -> None:
        self.texts = texts
        self.places, self.codes, self.length = dict(places), codes, length
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self.vectors: NDArray[np.float32] = np.load(folder / VECTORS, mmap_mode="r")
            self.session = onnxruntime.InferenceSession(
                str(folder / GRAPH), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own types derive from Exception alone
            raise ValueError(f"{folder} does not open: {error}") from None
        self.inputs = {each.name for each in self.session.get_inputs()}

    def reads(self, ids: Sequence[str]) -> list[bool]:
        """Whether each is an item that histories are read by."""
        return [name in self.places for name in ids]

    def __call__(
        self, histories: Sequence[Sequence[str]], profiles: Sequence[Mapping[str, str] | None]
    ) -> NDArray[np.float32]:
        """[queries, dim], unit norm.

        Args:
            histories: ids of items, oldest first; the last `length` are read.
            profiles: of each; None for unknown.

        Raises:
            BadInputError: a profile that the model does not read.
        """
        codes = np.array([self.codes.codes(profile) for profile in profiles], np.int64)
        codes = codes.reshape(len(profiles), len(self.codes.vocabulary))
        starts = range(0, len(histories), _AT_ONCE)
        parts = [self._some(histories[k : k + _AT_ONCE], codes[k : k + _AT_ONCE]) for k in starts]
        return np.concatenate(parts) if parts else np.zeros((0, self.vectors.shape[1]), np.float32)

    def _some(self, histories: Sequence[Sequence[str]], codes: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors = np.zeros((len(histories), self.length, self.vectors.shape[1]), np.float32)
        lengths = np.zeros(len(histories), np.int64)
        places, length = self.places, self.length
        known = [[places[item] for item in history if item in places][-length:] for history in histories]
        for row, read in enumerate(known):
            lengths[row] = len(read)
            vectors[row, : len(read)] = self.vectors[read]
        given: dict[str, Any] = {"vectors": vectors, "lengths": lengths, "profile": codes}
        if self.texts is not None:
            given |= self.texts.feeds(known)
        found: NDArray[np.float32] = self.session.run(
            ["query"], {name: value for name, value in given.items() if name in self.inputs}
        )[0]
        return found
